"""Bundles: a folder with configs, metadata and weights, opened into typed objects.

`read_card` and `list_bundles` read ``metadata.json`` alone and import neither torch nor MONAI;
`open_bundle` builds what inference needs. It is the only importer of `monai.bundle`.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import json
import logging
import os
import warnings
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr_app.errors import InvalidRequest, UnusableBundle, UnusableWeights
from unetr_app.labels import Code, Label, LabelSet
from unetr_app.training_range import TrainingRange

if TYPE_CHECKING:
    import torch
    from monai.inferers.inferer import Inferer
    from monai.transforms.compose import Compose

PathLike = str | os.PathLike[str]

_METADATA = Path("configs/metadata.json")
_WEIGHTS = Path("models/model.pt")


@dataclass(frozen=True)
class BundleCard:
    """What a bundle says about itself in ``configs/metadata.json``.

    Args:
        name: Name of the folder.
        path: The folder.
        version: The bundle's own version.
        description: One or two sentences.
        modality: DICOM modality code of the input.
        channels: Names of the input channels.
        labels: The label table.
        roi_size: Input shape of the network in voxels.
        training_range: What it was trained on; None where the bundle does not say.
        weights_advice: What to do where there are no weights.
        weights_licence: Licence of the weights; empty where the bundle does not say.
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

    @property
    def weights(self) -> Path | None:
        """The weights' file, where there is one."""
        path = self.path / _WEIGHTS
        return path if path.is_file() else None

    @property
    def weights_bytes(self) -> int:
        """Size of the weights' file; 0 where there is none."""
        return self.weights.stat().st_size if self.weights else 0

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights' file in hexadecimal; empty where there is none."""
        if self.weights is None:
            return ""
        with self.weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def require_weights(self) -> Path:
        """The weights' file.

        Raises:
            UnusableWeights: If there is none; the cure says where to get or train them.
        """
        if self.weights is None:
            raise UnusableWeights(
                f"the bundle {self.name} has no weights ({_WEIGHTS.as_posix()})",
                cure=self.weights_advice or "Train it, or put weights there.",
            )
        return self.weights


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: what the configs' four ids build, weights loaded.

    Args:
        card: What it says about itself.
        network: In evaluation mode, on ``device``.
        preprocessing: From a loaded image to the model grid.
        inferer: Applies the network to a whole image.
        postprocessing: From logits to labels on the native grid; writes nothing.
        device: Where the network runs.
    """

    card: BundleCard
    network: torch.nn.Module
    preprocessing: Compose
    inferer: Inferer
    postprocessing: Compose
    device: torch.device


def bundle_folders() -> list[Path]:
    """The folders that ship with the package, in order of name."""
    package = Path(str(importlib.resources.files("unetr_app")))
    for root in (package / "_bundles", package.parent / "bundles"):
        found = sorted(p.parent.parent for p in root.glob(f"*/{_METADATA.as_posix()}"))
        if found:
            return found
    return []


def list_bundles() -> list[BundleCard]:
    """The cards of the bundles that ship with the package."""
    return [read_card(folder) for folder in bundle_folders()]


def find_bundle(name_or_dir: PathLike) -> Path:
    """The folder of a bundle, by its name or by its path.

    Raises:
        InvalidRequest: If there is none; the message lists what there is.
    """
    folder = Path(name_or_dir)
    if (folder / _METADATA).is_file():
        return folder
    shipped = {p.name: p for p in bundle_folders()}
    name = os.fspath(name_or_dir)
    if name in shipped:
        return shipped[name]
    if folder.is_dir():
        raise InvalidRequest(
            f"the folder holds no {_METADATA.as_posix()}, so it is no bundle", path=folder
        )
    close = get_close_matches(name, shipped, n=1, cutoff=0.4)
    guess = f"Did you mean {close[0]}? " if close else ""
    raise InvalidRequest(
        f"there is no bundle {name!r}", cure=f"{guess}There are: {', '.join(shipped)}."
    )


def read_card(name_or_dir: PathLike) -> BundleCard:
    """What a bundle says about itself, without opening it.

    Raises:
        InvalidRequest: If there is no such bundle.
        UnusableBundle: If its metadata cannot be read or misses something.
    """
    folder = find_bundle(name_or_dir).resolve()
    path = folder / _METADATA
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        formats = metadata["network_data_format"]
        image = formats["inputs"]["image"]
        channels = image.get("channel_def", {})
        limits = metadata.get("training_range")
        return BundleCard(
            name=folder.name,
            path=folder,
            version=str(metadata["version"]),
            description=str(metadata["description"]),
            modality=str(image.get("modality", "")),
            channels=tuple(str(channels[key]) for key in sorted(channels, key=int)),
            labels=_labels(metadata.get("labels"), formats["outputs"]["pred"]["channel_def"]),
            roi_size=tuple(n for n in image.get("spatial_shape", ()) if isinstance(n, int)),
            training_range=TrainingRange.from_metadata(limits) if limits else None,
            weights_advice=str(metadata.get("weights_advice", "")),
            weights_licence=str(metadata.get("weights_licence", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableBundle(
            f"metadata.json of {folder.name} is damaged or incomplete ({error!r})",
            cure="`python -m monai.bundle verify_metadata` says what is wrong.",
        ) from error


def _labels(table: list[dict[str, Any]] | None, channel_def: dict[str, str]) -> LabelSet:
    """From the label table where there is one, else from the output channels."""
    if table is None:
        return LabelSet.from_names({int(key): str(name) for key, name in channel_def.items()})
    return LabelSet(
        tuple(
            Label(
                int(row["value"]),
                str(row["name"]),
                tuple(row.get("colour", (0, 0, 0))),
                **{key: Code(*row[key]) for key in ("type", "category", "modifier") if key in row},
            )
            for row in table
        )
    )


def open_bundle(name_or_dir: PathLike, *, device: str = "auto") -> Bundle:
    """Build network, preprocessing, inferer and postprocessing of a bundle, and load its weights.

    A config is a program: opening a bundle runs what its ``configs/inference`` names. Open your
    own bundles, or those of people you trust.

    Args:
        name_or_dir: Name of a bundle that ships with the package, or a folder.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.

    Raises:
        InvalidRequest: If there is no such bundle or device.
        UnusableBundle: If a config is missing, or does not build.
        UnusableWeights: If the weights are missing, damaged, or belong to another network.
    """
    from monai.transforms.compose import Compose

    logging.getLogger("monai").setLevel(logging.ERROR)  # it warns of optional decoders
    card = read_card(name_or_dir)
    card.require_weights()
    chosen = find_device(device)
    parser = _parser(card, chosen)
    parts: dict[str, Any] = {}
    for part in ("network_def", "preprocessing", "inferer", "postprocessing"):
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "NvImgCodec")  # a decoder that is optional
                parts[part] = parser.get_parsed_content(part)
        except Exception as error:  # a config may raise anything
            raise UnusableBundle(
                f"{part!r} of {card.name} does not build: {root_cause(error)}",
                cure=f"See configs/inference of the bundle: the id {part!r} is needed.",
            ) from error
    network = parts["network_def"]
    _load_weights(network, card)
    return Bundle(
        card=card,
        network=network.to(chosen).eval(),
        preprocessing=Compose(_without(parts["preprocessing"], ("LoadImage",))),
        inferer=parts["inferer"],
        postprocessing=Compose(_without(parts["postprocessing"], ("SaveImage", "Save"))),
        device=chosen,
    )


def find_device(wanted: str) -> torch.device:
    """The device of that name: ``"auto"`` is CUDA where there is one.

    Raises:
        InvalidRequest: If it is not there.
    """
    import torch

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidRequest(
            f"the device {wanted!r} is not there", cure="Use --device cpu or --device auto."
        ) from error
    return device


def _parser(card: BundleCard, device: torch.device) -> Any:
    from monai.bundle.config_parser import ConfigParser

    found = [
        card.path / "configs" / f"inference.{ending}"
        for ending in ("yaml", "yml", "json")
        if (card.path / "configs" / f"inference.{ending}").is_file()
    ]
    if not found:
        raise UnusableBundle(f"{card.name} has no configs/inference.yaml or .json")
    parser = ConfigParser()
    try:
        parser.read_config(str(found[0]))  # pyright: ignore[reportUnknownMemberType]
        parser.read_meta(str(card.path / _METADATA))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # YAML and JSON readers raise their own
        raise UnusableBundle(f"{found[0].name} cannot be read: {root_cause(error)}") from error
    parser["bundle_root"] = str(card.path)
    parser["device"] = device
    return parser


def root_cause(error: BaseException) -> str:
    """The first error of a chain in one line: MONAI wraps errors several times."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1] if lines else 'no message'}"


def _without(transforms: Any, prefixes: tuple[str, ...]) -> list[Any]:
    steps = getattr(transforms, "transforms", [transforms])
    return [step for step in steps if not type(step).__name__.startswith(prefixes)]


def _load_weights(network: torch.nn.Module, card: BundleCard) -> None:
    from unetr_app.networks.pretrained.files import read_checkpoint, require_finite

    path = card.require_weights()
    state, _ = read_checkpoint(path)
    require_finite(state, path)
    try:
        network.load_state_dict(state)
    except (UnusableWeights, RuntimeError) as error:
        what = error.what if isinstance(error, UnusableWeights) else str(error).strip()
        raise UnusableWeights(
            f"the weights are not those of {card.name}: {what}",
            cure="Use weights that were trained with this bundle's network_def.",
            path=path,
        ) from error
