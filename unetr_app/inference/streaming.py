"""Streaming: a preprocessed image to what is kept of it on the native grid, window by window.

No array of logits of the whole image ever exists: blocks of blended logits are brought home and
reduced as soon as no window to come adds to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.inferers.inferer import SlidingWindowInferer, SlidingWindowInfererAdapt
from torch import Tensor

from unetr_app.errors import UnusableBundle
from unetr_app.inference.blending import Block, LogitsOf, blend
from unetr_app.inference.carries import Carries
from unetr_app.inference.cells import Cells
from unetr_app.inference.flips import FlipInferer
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.options import InferenceOptions
from unetr_app.inference.reductions import Reduction
from unetr_app.inference.window_plan import Shape, WindowPlan, members_of

_KNOWN = (SlidingWindowInferer, SlidingWindowInfererAdapt, FlipInferer)  # put windows alike
Activation = Callable[[Tensor], Tensor]
Route = tuple[Homecoming, Sequence[Reduction]]


def plan_windows(
    inferer: Any, shape: Shape, options: InferenceOptions | None = None
) -> WindowPlan | None:
    """Where a bundle's inferer puts windows; None where it does something else than that.

    Args:
        inferer: As the bundle's config builds it.
        shape: Of the preprocessed image, in voxels.
        options: What the user wants otherwise.
    """
    wanted = options or InferenceOptions()
    if type(inferer) not in _KNOWN or inferer.with_coord:
        return None
    roi = inferer.roi_size
    sizes = (roi,) * 3 if isinstance(roi, int) else tuple(int(n or 0) for n in roi)
    if len(sizes) != 3:
        return None
    i, j, k = (r if r > 0 else n for r, n in zip(sizes, shape, strict=True))
    overlap = inferer.overlap if wanted.overlap is None else wanted.overlap
    shares = (overlap,) * 3 if isinstance(overlap, (int, float)) else tuple(overlap)
    own_flips = getattr(inferer, "flip_axes", ())
    return WindowPlan(
        shape, (i, j, k), shares, inferer.mode.value,  # pyright: ignore[reportArgumentType]
        sigma_scale=inferer.sigma_scale,
        members=members_of(
            own_flips if wanted.flips is None else wanted.flips, max(1, len(wanted.weights))
        ),
        padding_mode=str(getattr(inferer.padding_mode, "value", inferer.padding_mode)),
        cval=inferer.cval,
    )  # fmt: skip


def reduce_streaming(
    cells: Cells, logits_of: LogitsOf, routes: Sequence[Route],
    activation: Activation | None = None, carries: Carries | None = None,
) -> None:  # fmt: skip
    """Bring blended logits home, block by block, and hand them to reductions.

    With a `unetr_app.inference.reductions.LabelMap` this is equal to
    `unetr_app.resample.restore_label_map` of the whole blended logits, but where two channels are
    equal within rounding.

    Args:
        cells: Where windows lie on the model grid.
        logits_of: Gives the logits of each window, in the order of ``cells.windows``.
        routes: Ways home, each with what is kept at its end.
        activation: Applied to blended logits (L, ...) before they go home.
        carries: Where sums wait for windows to come.

    Raises:
        UnusableBundle: If a logit is not finite.
    """
    for block in blend(cells, logits_of, carries):
        if not bool(torch.isfinite(block.logits.sum())):
            raise UnusableBundle(
                "the network gave values that are not finite",
                cure="Look for such values in weights and image; on a GPU, try --device cpu.",
            )
        if activation is not None:
            block = Block(block.start, activation(block.logits))
        for home, reductions in routes:
            for piece in home.pieces(block):
                for reduction in reductions:
                    reduction.add(piece)
