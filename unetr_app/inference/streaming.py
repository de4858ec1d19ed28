"""Streaming: a preprocessed image to labels on the native grid, window by window.

No array of logits of the whole image ever exists: blocks of blended logits are brought home and
reduced to labels as soon as no window to come adds to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.inferers.inferer import SlidingWindowInferer
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.blending import LogitsOf, blend
from unetr_app.inference.carries import Carries
from unetr_app.inference.flips import FlipInferer
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.window_plan import Member, Shape, WindowPlan, members_of

Network = Callable[[Tensor], Tensor]


def plan_windows(inferer: Any, shape: Shape) -> WindowPlan | None:
    """Where a bundle's inferer puts windows; None where it does something else than that.

    Args:
        inferer: As the bundle's config builds it.
        shape: Of the preprocessed image, in voxels.
    """
    if type(inferer) not in (SlidingWindowInferer, FlipInferer) or inferer.with_coord:
        return None
    roi = inferer.roi_size
    sizes = (roi,) * 3 if isinstance(roi, int) else tuple(int(n) for n in roi)
    if len(sizes) != 3:
        return None
    i, j, k = (r if r > 0 else n for r, n in zip(sizes, shape, strict=True))
    overlap = inferer.overlap
    shares = (overlap,) * 3 if isinstance(overlap, (int, float)) else tuple(overlap)
    return WindowPlan(
        shape, (i, j, k), shares, inferer.mode.value,  # pyright: ignore[reportArgumentType]
        sigma_scale=inferer.sigma_scale,
        members=members_of(getattr(inferer, "flip_axes", ())),
        padding_mode=str(getattr(inferer.padding_mode, "value", inferer.padding_mode)),
        cval=inferer.cval,
    )  # fmt: skip


def window_logits(
    plan: WindowPlan, image: Tensor, network: Network, device: torch.device
) -> LogitsOf:
    """What `unetr_app.inference.blending.blend` asks for, from a network.

    A window whose voxels all have one value in each channel gives the same logits as any other such
    window, since a network is a function of its input: it is computed once for each such value.

    Args:
        plan: Where windows lie.
        image: (C, shape...) on the CPU.
        network: (1, C, roi_size...) to logits (1, L, roi_size...).
        device: Where it runs.
    """
    known: dict[tuple[float, ...], Tensor] = {}

    def logits_of(member: Member, start: Shape) -> Tensor:
        window = plan.cut(image, member, start)
        value = _constant(window)
        if value is not None and value in known:
            return plan.place(known[value], member).clone()
        with torch.autocast("cuda", enabled=device.type == "cuda"):
            logits = network(window.to(device))
        logits = _checked(logits, window).float().cpu()[0]
        if value is not None:
            known.clear()  # windows of air and windows of padding come in runs
            known[value] = logits
            return plan.place(logits, member).clone()
        return plan.place(logits, member)

    return logits_of


def segment_streaming(
    plan: WindowPlan, logits_of: LogitsOf, model: Geometry, native: Geometry,
    carries: Carries | None = None,
) -> NDArray[np.unsignedinteger]:  # fmt: skip
    """The channel with the largest logit at each voxel of the native grid.

    Equal to `unetr_app.resample.restore_label_map` of the whole blended logits, but where two
    channels are equal within rounding.

    Args:
        plan: Where windows lie on the model grid.
        logits_of: Gives the logits of each window.
        model: The model grid.
        native: The native grid.
        carries: Where sums wait for windows to come.

    Returns:
        (I, J, K) channel numbers, the smallest unsigned integer; 0 outside the model grid.

    Raises:
        UnusableBundle: If a logit is not finite.
    """
    labels = np.zeros(native.shape, dtype=np.uint8)
    home = Homecoming(model, native, plan.order)
    for block in blend(plan, logits_of, carries):
        if not bool(torch.isfinite(block.logits.sum())):
            raise UnusableBundle(
                "the network gave values that are not finite",
                cure="Run it on the CPU (--device cpu), which computes in single precision.",
            )
        if len(block.logits) > 256 and labels.dtype == np.uint8:
            labels = labels.astype(np.uint16)
        for piece in home.pieces(block):
            piece.write(piece.logits.numpy().argmax(axis=0).astype(labels.dtype), labels)
    return labels


def _constant(window: Tensor) -> tuple[float, ...] | None:
    """The value of each channel, where a window (1, C, ...) has but one a channel."""
    channels = window.flatten(2)[0]
    first = channels[:, :1]
    return tuple(first[:, 0].tolist()) if bool((channels == first).all()) else None


def _checked(logits: object, window: Tensor) -> Tensor:
    """Refuse what is no map of logits of the window's own shape."""
    if isinstance(logits, (tuple, list)) and logits:
        logits = logits[0]  # deep supervision: the finest first
    if not isinstance(logits, Tensor) or logits.shape[2:] != window.shape[2:]:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UnusableBundle(
            f"the network gave {shape} for a window of {tuple(window.shape)}, no logits of its "
            "shape"
        )
    return logits
