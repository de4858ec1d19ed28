"""A bundle's own inferer and postprocessing, on whole arrays, where they cannot be followed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor, nn

from unetr_app.bundle import Bundle
from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.labelling import label_values
from unetr_app.inference.watched import Progress, ShouldStop, WatchedNetwork
from unetr_app.inference.window_count import window_count


@torch.inference_mode()
def logits_of_all(
    bundle: Bundle, network: nn.Module, image: MetaTensor, progress: Progress | None,
    should_stop: ShouldStop | None,
) -> Tensor:  # fmt: skip
    """The bundle's inferer on an image.

    Args:
        bundle: Whose inferer.
        network: With the weights that are wanted.
        image: (C, i, j, k), preprocessed.
        progress: Told (windows done, windows in all) after each window.
        should_stop: Asked before each window.

    Returns:
        (L, i, j, k).

    Raises:
        Cancelled: If ``should_stop`` said so.
    """
    inputs = image.as_tensor()[None].to(bundle.device)
    total = window_count(tuple(inputs.shape[2:]), bundle.inferer)
    try:
        watched = WatchedNetwork(network, total, progress, should_stop)
        return _inferred(bundle.inferer, inputs, watched)
    except torch.OutOfMemoryError:
        fewer: Any = copy.copy(bundle.inferer)
        if getattr(fewer, "sw_batch_size", 1) == 1:
            raise
        fewer.sw_batch_size = 1
    torch.cuda.empty_cache()
    return _inferred(fewer, inputs, WatchedNetwork(network, total, progress, should_stop))


def labels_of_all(
    bundle: Bundle, data: Mapping[str, Any], logits: Tensor, native: Geometry
) -> NDArray[Any]:
    """What the bundle's postprocessing makes of logits.

    Args:
        bundle: Whose postprocessing.
        data: What its preprocessing gave.
        logits: (L, i, j, k).
        native: The grid of the image.

    Returns:
        Labels (I, J, K), or masks (labels, I, J, K), on the native grid.

    Raises:
        UnusableBundle: If it ends in what are no labels, or not on that grid.
    """
    steps = f"the postprocessing of {bundle.card.name}"
    pred = MetaTensor(logits, meta=data[bundle.image_key].meta)
    restored: Any = bundle.postprocessing({**data, bundle.pred_key: pred})
    labels = np.asarray(restored[bundle.result_key].squeeze(0).cpu())
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.rint(labels)):
        raise UnusableBundle(
            f"{steps} ends in numbers that are no labels", cure=bundle.restoration.reason
        )
    if labels.shape[-3:] != native.shape:
        raise UnusableBundle(
            f"{steps} ends in labels of shape {labels.shape}, not on the image's grid "
            f"{native.shape}",
            cure=bundle.restoration.reason or "Add an Invertd of the preprocessing to it.",
        )
    if labels.ndim == 3:
        return label_values(labels, steps)
    masks, count = labels > 0, len(bundle.card.labels)
    if len(masks) == 1 + count:  # one-hot: that of the background comes first
        return masks[1:]
    if len(masks) != count:
        raise UnusableBundle(
            f"{steps} ends in {len(masks)} channels for {count} labels",
            cure=bundle.restoration.reason,
        )
    return masks


def _inferred(inferer: Any, inputs: Tensor, network: WatchedNetwork) -> Tensor:
    """(1, C, i, j, k) to logits (L, i, j, k), by the bundle's own inferer."""
    with torch.autocast("cuda", enabled=inputs.is_cuda):
        logits: Tensor = inferer(inputs, network)
    return logits[0].float()
