"""Base bundle: the bundle that a fine-tuning starts from, checked without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from unetr_app.bundle import BundleCard, PathLike, read_card, require_trusted
from unetr_app.errors import UnusableBundle
from unetr_app.finetuning.workplace import RECORD

NEEDED = (  # what `overrides` of a training run sets
    "dataset_dir", "output_dir", "initial_weights", "progress_file", "train_folds", "val_folds",
    "train_cases", "val_cases", "val_interval", "max_epochs", "learning_rate", "warmup_epochs",
    "ema_momentum", "batch_size", "seed", "resume", "device",
)  # fmt: skip
_WEIGHTS = (".pt", ".pth")


@dataclass(frozen=True)
class BaseBundle:
    """A bundle that can be trained on.

    Args:
        card: What it says about itself.
        weights: Its weights, relative to its folder.
        batch_size: Cases of a training step, as its config says.
    """

    card: BundleCard
    weights: Path
    batch_size: int

    @property
    def seen(self) -> frozenset[str]:
        """Hashes of images that earlier fine-tunings of it have trained on."""
        try:
            found = json.loads((self.card.path / RECORD).read_text(encoding="utf-8"))
            return frozenset(map(str, found["trained_on"]))
        except (OSError, ValueError, KeyError, TypeError):
            return frozenset()


def open_base(name_or_dir: PathLike) -> BaseBundle:
    """Check that a bundle can be fine-tuned.

    Raises:
        InvalidRequest: If there is no such bundle, or it is not trusted.
        UnusableBundle: If its training config is missing or lacks keys, which are named.
        UnusableWeights: If it has no weights.
    """
    card = read_card(name_or_dir)
    require_trusted(card.path)
    weights = card.require_weights().relative_to(card.path)
    if weights.suffix not in _WEIGHTS:
        raise UnusableBundle(
            f"the weights of {card.name} are {weights.name}, and training starts from a .pt file",
            cure="Save them as a plain state dict, models/model.pt.",
        )
    config = _training_config(card)
    missing = [key for key in NEEDED if key not in config]
    if missing:
        raise UnusableBundle(
            f"configs/train.yaml of {card.name} lacks {', '.join(missing)}",
            cure="Add these keys as the bundles that ship with unetr-app have them.",
        )
    size = config["batch_size"]
    return BaseBundle(card, weights, size if isinstance(size, int) else 1)


def _training_config(card: BundleCard) -> dict[str, Any]:
    path = card.path / "configs" / "train.yaml"
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnusableBundle(
            f"{card.name} has no configs/train.yaml, so it cannot be trained",
            cure="Choose a bundle that brings its training.",
        ) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnusableBundle(
            f"configs/train.yaml of {card.name} cannot be read",
            cure="Open it in an editor and mend it.",
        ) from error
    if not isinstance(found, dict):
        raise UnusableBundle(f"configs/train.yaml of {card.name} holds no keys")
    return found
