"""Recipe: what a short training from trained weights overrides in a bundle's training config."""

from __future__ import annotations

from typing import Any

from unetr_app.finetuning.base_bundle import BaseBundle
from unetr_app.finetuning.options import FinetuneOptions
from unetr_app.finetuning.workplace import Workplace

PROGRESS = "progress.json"
WEIGHTS = "model.pt"  # what a bundle's training writes when it completes
HELD_OUT, TRAINED = 0, 1  # folds of the data set that is made for the run
_WARMUP_SHARE = 0.1  # of all epochs, one epoch at most
_FORGETTING = 5.0  # time constants of the running average in a run: 0.7 % of the old weights stay


def overrides(
    base: BaseBundle, place: Workplace, options: FinetuneOptions, trained: int
) -> dict[str, Any]:
    """Keys of the training config and their values.

    The held-out cases choose nothing: no validation runs, and the weights are those of the last
    epoch. The running average of the weights is as short as the run, for the bundles' own is made
    for hundreds of epochs and would hardly leave the old weights.

    Args:
        base: To start from.
        place: Where the run works.
        options: The user's.
        trained: How many cases are trained on.
    """
    batch = min(base.batch_size, trained)
    steps = options.epochs * max(1, trained // batch)
    device = {} if options.device == "auto" else {"device": f"$torch.device('{options.device}')"}
    return device | {
        "dataset_dir": str(place.data),
        "output_dir": str(place.train),
        "initial_weights": str(place.bundle / base.weights),
        "progress_file": str(place.train / PROGRESS),
        "train_folds": [TRAINED],
        "val_folds": [HELD_OUT],
        "train_cases": None,
        "val_cases": 1,
        "val_interval": options.epochs + 1,
        "max_epochs": options.epochs,
        "learning_rate": options.learning_rate,
        "warmup_epochs": min(1.0, _WARMUP_SHARE * options.epochs),
        "ema_momentum": min(0.5, max(0.004, _FORGETTING / steps)),
        "batch_size": batch,
        "seed": options.seed,
        "resume": True,
    }
