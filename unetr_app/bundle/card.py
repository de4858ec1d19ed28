"""BundleCard: what a bundle says about itself, read without torch and without running anything."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.bundle.config_text import copies_one_image, loaded_files
from unetr_app.bundle.folders import METADATA, PathLike, bundle_folders, find_bundle
from unetr_app.bundle.label_table import (
    counted_from_0,
    is_background,
    is_label_table,
    labels_from_channels,
    labels_from_table,
)
from unetr_app.checksum import sha256_of
from unetr_app.errors import UnetrError, UnusableBundle, UnusableWeights
from unetr_app.labels import LabelSet
from unetr_app.training_range import TrainingRange

_MODELS = Path("models")
_USUAL_WEIGHTS = ("model.pt", "model.ts")
_WEIGHT_ENDINGS = (".pt", ".pth", ".safetensors", ".ts")


@dataclass(frozen=True)
class BundleCard:
    """What a bundle says about itself in ``configs/metadata.json``.

    Args:
        name: Name of the folder.
        path: The folder.
        version: The bundle's own version.
        description: One or two sentences.
        modality: DICOM modality code of the input.
        channels: Names of the channels that an image must bring; further ones are made of it.
        labels: The label table. Where it is told by ``channel_def`` alone, a first channel of
            another name than background means that each channel is a label; an opened bundle's card
            goes by its postprocessing.
        roi_size: Input shape of the network in voxels.
        training_range: What it was trained on; None where the bundle does not say.
        weights_advice: What to do where there are no weights.
        weights_licence: Licence of the weights; empty where the bundle does not say.
        outputs: Number and name of each output channel.
        output_count: Channels of the network's output; 0 where the bundle does not say.
        has_label_table: The metadata hold a label table, and not only names of channels.
        takes_patches: The network takes windows of an image.
        weights_file: The weights that are loaded, where these are not the ones found here.
    """

    name: str
    path: Path
    version: str
    description: str
    modality: str
    channels: tuple[str, ...]
    labels: LabelSet
    roi_size: tuple[int, ...]
    training_range: TrainingRange | None
    weights_advice: str
    weights_licence: str
    outputs: tuple[tuple[int, str], ...] = ()
    output_count: int = 0
    has_label_table: bool = True
    takes_patches: bool = True
    weights_file: Path | None = None

    @property
    def weights(self) -> Path | None:
        """The weights' file, where there is one.

        It is what the config's `CheckpointLoader` names, else ``models/model.pt``, else the
        TorchScript program ``models/model.ts``, else the only file of weights in ``models/``.
        """
        if self.weights_file is not None:
            return self.weights_file
        for name in loaded_files(self.path):
            if (path := self.path / _MODELS / name).is_file():
                return path
        for name in _USUAL_WEIGHTS:
            if (path := self.path / _MODELS / name).is_file():
                return path
        found = [p for p in (self.path / _MODELS).glob("*") if p.suffix in _WEIGHT_ENDINGS]
        return found[0] if len(found) == 1 else None

    @property
    def labels_are_certain(self) -> bool:
        """Has the opened bundle these labels too, whatever its postprocessing does?"""
        return self.has_label_table or is_background(dict(self.outputs).get(0, "background"))

    @property
    def weights_bytes(self) -> int:
        """Size of the weights' file; 0 where there is none."""
        return self.weights.stat().st_size if self.weights else 0

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights' file in hexadecimal; empty where there is none."""
        return "" if self.weights is None else sha256_of(self.weights)

    def require_weights(self) -> Path:
        """The weights' file.

        Raises:
            UnusableWeights: If there is none; the cure says where to get or train them.
        """
        if self.weights is None:
            raise UnusableWeights(
                f"the bundle {self.name} has no weights ({(_MODELS / 'model.pt').as_posix()})",
                cure=self.weights_advice or "Train it, or put weights there.",
            )
        return self.weights


def list_bundles() -> list[BundleCard]:
    """The cards of the bundles that ship with the package."""
    return [read_card(folder) for folder in bundle_folders()]


def read_card(name_or_dir: PathLike) -> BundleCard:
    """What a bundle says about itself, without opening it.

    Raises:
        InvalidRequest: If there is no such bundle.
        UnusableBundle: If its metadata cannot be read or misses something.
    """
    folder = find_bundle(name_or_dir).resolve()
    try:
        return _card(folder, json.loads((folder / METADATA).read_text(encoding="utf-8")))
    except UnusableBundle:
        raise
    except KeyError as error:
        raise UnusableBundle(
            f"metadata.json of {folder.name} lacks {error.args[0]!r}",
            cure="Add it; `python -m monai.bundle verify_metadata` says what belongs there.",
        ) from error
    except (OSError, ValueError, TypeError, AttributeError, StopIteration, UnetrError) as error:
        raise UnusableBundle(
            f"metadata.json of {folder.name} is damaged, or its network_data_format is: {error}",
            cure='channel_def has the form {"0": "background", "1": "liver"}; '
            "`python -m monai.bundle verify_metadata` says more.",
        ) from error


def _card(folder: Path, metadata: Any) -> BundleCard:
    formats = metadata["network_data_format"]
    image, pred = _entry(formats["inputs"], "image"), _entry(formats["outputs"], "pred")
    inputs, outputs = _channels(image), _channels(pred)
    if not outputs:
        raise UnusableBundle(
            f"metadata.json of {folder.name} names no output channels",
            cure="Fill channel_def of network_data_format.outputs.pred with the labels' names.",
        )
    names = tuple(inputs[key] for key in sorted(inputs))
    found = metadata.get("labels")
    table = found if is_label_table(found) else None  # others may mean something else by it
    limits = metadata.get("training_range")
    shape = image.get("spatial_shape", ())
    return BundleCard(
        name=folder.name,
        path=folder,
        version=str(metadata["version"]),
        description=str(metadata.get("description", metadata.get("task", ""))),
        modality=str(image.get("modality", "")),
        channels=names[:1] if len(names) > 1 and copies_one_image(folder) else names,
        labels=_labels(table, outputs),
        roi_size=tuple(n for n in shape if isinstance(n, int)),
        training_range=TrainingRange.from_metadata(limits) if limits else None,
        weights_advice=str(metadata.get("weights_advice", "")),
        weights_licence=str(metadata.get("weights_licence", "")),
        outputs=tuple(sorted(outputs.items())),
        output_count=_count(pred),
        has_label_table=table is not None,
        takes_patches=bool(image.get("is_patch_data", True)),
    )


def _entry(formats: Any, usual: str) -> Any:
    """The entry of the usual name, else the first that is there."""
    return formats[usual] if usual in formats else next(iter(formats.values()))


def _channels(entry: Any) -> dict[int, str]:
    """Number to name; channels without a name are named by their number."""
    given: dict[str, Any] = entry.get("channel_def") or {}
    named = counted_from_0({int(key): str(name) for key, name in given.items()})
    count = _count(entry) if named else 0
    return {n: f"channel {n}" for n in range(count)} | named


def _count(entry: Any) -> int:
    count = entry.get("num_channels", 0)
    return count if isinstance(count, int) else 0


def _labels(table: Any, outputs: dict[int, str]) -> LabelSet:
    """From the label table where there is one, else from the output channels."""
    if table is not None:
        return labels_from_table(table)
    overlapping = not is_background(outputs.get(0, "background"))
    return labels_from_channels(outputs, overlapping=overlapping)
