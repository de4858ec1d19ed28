"""Bundle: an opened bundle, ready to be applied to images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr_app.bundle.card import BundleCard, read_card
from unetr_app.bundle.config import BundleConfig
from unetr_app.bundle.folders import PathLike
from unetr_app.bundle.keys import IMAGE, LABEL, PRED, is_for_inference, keys_of
from unetr_app.bundle.label_table import labels_from_channels, region_values
from unetr_app.bundle.own_modules import own_modules
from unetr_app.bundle.regions import merged_labels, merged_values
from unetr_app.bundle.restoration import Restoration
from unetr_app.bundle.steps import flattened, read_restoration
from unetr_app.bundle.trust import require_trusted
from unetr_app.bundle.weights import load_network
from unetr_app.errors import InvalidRequest, UnusableBundle
from unetr_app.labels import LabelSet

if TYPE_CHECKING:
    import torch
    from monai.inferers.inferer import Inferer
    from monai.transforms.compose import Compose


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: what the configs' ids build, weights loaded.

    Args:
        card: What it says about itself; its labels go by the postprocessing.
        network: In evaluation mode, on ``device``.
        preprocessing: From an image with its channels first to the model grid; reads nothing.
        inferer: Applies the network to a whole image.
        postprocessing: From logits to labels; writes nothing.
        device: Where the network runs.
        input_keys: Under which the preprocessing expects the image; where there are several, each
            takes one of its channels, in order.
        image_key: Under which the preprocessing leaves the image for the network.
        pred_key: Under which the postprocessing expects the logits.
        result_key: Under which it leaves the labels.
    """

    card: BundleCard
    network: torch.nn.Module
    preprocessing: Compose
    inferer: Inferer
    postprocessing: Compose
    device: torch.device
    input_keys: tuple[str, ...] = (IMAGE,)
    image_key: str = IMAGE
    pred_key: str = PRED
    result_key: str = PRED

    @cached_property
    def restoration(self) -> Restoration:
        """How the postprocessing turns logits into labels."""
        found = read_restoration(
            self.postprocessing, self.preprocessing, pred_key=self.pred_key,
            result_key=self.result_key, merges=lambda step: bool(self._merged(step)),
        )  # fmt: skip
        if found.kind != "overlapping" or not self.card.outputs:
            return found
        return replace(found, values=region_values(dict(self.card.outputs), self._channels))

    @property
    def _channels(self) -> int:
        """Channels of the network's output."""
        return self.card.output_count or len(self.card.outputs)

    def _merged(self, step: Any) -> dict[tuple[bool, ...], int]:
        key = next((k for k in (self.result_key, self.pred_key) if k in step.keys), self.pred_key)
        return merged_values(step, key, self._channels)

    def label_table(self) -> LabelSet:
        """The labels that come out, as the postprocessing makes the labels."""
        card, found = self.card, self.restoration
        if card.has_label_table or found.kind == "other" or not card.outputs:
            return card.labels
        channels = dict(card.outputs)
        if found.merges:
            names = [channels.get(n, f"channel {n}") for n in range(self._channels)]
            return merged_labels(self._merged(found.steps[-1].transform), names)
        return labels_from_channels(channels, overlapping=found.kind == "overlapping")


def open_bundle(
    name_or_dir: PathLike, *, device: str = "auto", ask_trust: bool = False,
    weights: PathLike | None = None,
) -> Bundle:  # fmt: skip
    """Build network, preprocessing, inferer and postprocessing of a bundle, and load its weights.

    A config is a program: opening a bundle runs what its ``configs/inference`` names. Open your
    own bundles, or those of people you trust.

    Args:
        name_or_dir: Name of a bundle that ships with the package, or a folder.
        device: ``"auto"`` (CUDA where there is one), ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        ask_trust: Refuse a folder that `unetr_app.bundle.trust` does not know. Without, the caller
            vouches for it.
        weights: A file of weights in place of the bundle's own, which then need not be there.

    Raises:
        InvalidRequest: If there is no such bundle or device, or it is not trusted.
        UnusableBundle: If a config is missing, or does not build.
        UnusableWeights: If the weights are missing, damaged, or belong to another network.
    """
    card = read_card(name_or_dir)
    if ask_trust:
        require_trusted(card.path)
    chosen = find_device(device)
    with own_modules(card.path):
        config = BundleConfig(card, chosen)
        named = None if weights is None else Path(weights)
        network, used = load_network(config, card, chosen, named)
        if used != card.weights:
            card = replace(card, weights_file=used)
        bundle = _assembled(config, card, network, chosen)
    return replace(bundle, card=replace(card, labels=bundle.label_table()))


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


def _assembled(
    config: BundleConfig, card: BundleCard, network: torch.nn.Module, device: torch.device
) -> Bundle:
    from monai.transforms.compose import Compose

    before = flattened(_part(config, card, "preprocessing", "dataset#transform"))
    after = flattened(_part(config, card, "postprocessing", "evaluator#postprocessing"))
    keys = keys_of(before, after)
    for step in before:
        if LABEL in getattr(step, "keys", ()):
            step.allow_missing_keys = True
    return Bundle(
        card=card,
        network=network,
        preprocessing=Compose(list(filter(is_for_inference, before))),
        inferer=_inferer(config, card),
        postprocessing=Compose(list(filter(is_for_inference, after))),
        device=device,
        input_keys=keys.input_keys,
        image_key=keys.image_key,
        pred_key=keys.pred_key,
        result_key=keys.result_key,
    )


def _part(config: BundleConfig, card: BundleCard, *ids: str) -> Any:
    found = config.first(*ids)
    if not found:
        raise UnusableBundle(
            f"{card.name} has no {ids[0]!r} in its configs/inference",
            cure=f"Add the id {ids[0]!r}: a Compose of MONAI's dictionary transforms.",
        )
    return config.build(found)


def _inferer(config: BundleConfig, card: BundleCard) -> Inferer:
    """The bundle's own, else one that gives the network the whole image."""
    if found := config.first("inferer", "evaluator#inferer"):
        return config.build(found)
    if card.roi_size and card.takes_patches:
        size = " x ".join(map(str, card.roi_size))
        raise UnusableBundle(
            f"{card.name} has no inferer, and its network takes windows of {size} voxels",
            cure="Add the id 'inferer' to configs/inference, such as a SlidingWindowInferer.",
        )
    from monai.inferers.inferer import SimpleInferer

    return SimpleInferer()
