"""network_from_checkpoint: a whole segmentation network from a published file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.files import read_checkpoint, require_finite
from unetr_app.networks.pretrained.fit import fit
from unetr_app.networks.pretrained.monai_unetr import is_monai_unetr, unwrap_keys
from unetr_app.networks.pretrained.report import name_some
from unetr_app.networks.pretrained.segformer_network import (
    is_segformer_network,
    read_segformer_network,
)
from unetr_app.networks.pretrained.source import Checkpoint, unwrap
from unetr_app.networks.pretrained.unetr_arguments import unetr_arguments
from unetr_app.networks.pretrained.wording import errors_in_words
from unetr_app.networks.segmentation import SegmentationNetwork, build_network

PathLike = str | os.PathLike[str]


def network_from_checkpoint(path: PathLike, **overrides: Any) -> SegmentationNetwork:
    """Build the network that a checkpoint belongs to and fill it.

    Reads MONAI's UNETR, today's key layout and the older ones, and SegFormer with its decode head,
    of transformers (on disk and in memory) and of NVlabs and mmsegmentation. Sizes come from the
    tensors, the rest from ``config.json`` beside them (MONAI's arguments as its constructor takes
    them, under ``model_args`` or alone), from the published figures, or from ``overrides``.

    A SegFormer is one of images: ``spatial_dims=3`` inflates it, so that a volume that is constant
    along depth gives the image's logits in every slice, and another ``in_channels`` adapts the
    embedding (see `unetr_app.networks.inflation`).

    Args:
        path: A file, or a folder with ``config.json`` and ``model.safetensors``; see
            `read_checkpoint`.
        overrides: Arguments of `build_network` that win over all that was found, such as
            ``num_heads``, ``roi_size``, ``spatial_dims`` and ``in_channels``.

    Returns:
        The network in evaluation mode, in float32.

    Raises:
        InvalidRequest: If arguments contradict each other.
        UnusableWeights: If the file cannot be read, its layout is unknown, a tensor is missing or
            has another shape, or an argument can be found nowhere; the message names it.
    """
    state, config = read_checkpoint(path)
    require_finite(state, path)
    if is_monai_unetr(state):
        with errors_in_words(path, "UNETR"):
            return _unetr(unwrap_keys(state), config, overrides)
    if is_segformer_network(state):
        with errors_in_words(path, "SegFormer"):
            return _segformer(unwrap(state), config, overrides, path)
    raise UnusableWeights(
        f"the keys are of no layout that is known here; the first is {next(iter(state))!r}",
        cure="Known are: MONAI UNETR, SegFormer with its decode head. Encoders alone are read by "
        "encoder_from_checkpoint.",
        path=path,
    )


def _unetr(
    state: Mapping[str, Tensor], config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> SegmentationNetwork:
    arguments = dict(config.get("model_args", config))
    network = build_network(**unetr_arguments(state, arguments, overrides))
    try:
        network.load_state_dict(state)
    except UnusableWeights as error:
        raise UnusableWeights(
            error.what,
            cure="The file is not whole, or config.json and the arguments are of another network.",
        ) from error
    return network.eval()


def _segformer(
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    overrides: Mapping[str, Any],
    path: PathLike,
) -> SegmentationNetwork:
    spatial_dims = overrides.get("spatial_dims", 2)
    if spatial_dims not in (2, 3):
        raise InvalidRequest(f"spatial_dims {spatial_dims} must be 2 or 3")
    told = read_segformer_network(Checkpoint(state, config, overrides, spatial_dims, path))
    network = build_network(**told.arguments)
    filled, report = fit(network, told.source)
    if missing := report.of("missing"):
        raise UnusableWeights(
            f"the file lacks {name_some(record.name for record in missing)}",
            cure="It is not whole: get it again from its source.",
        )
    network.load_state_dict(filled)
    return network.eval()
