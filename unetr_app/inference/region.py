"""Region: where in an image there is anything to find, from a pass at half the resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from unetr_app.inference.blending import LogitsOf, blend
from unetr_app.inference.cells import cells_of
from unetr_app.inference.window_plan import Member, Shape, WindowPlan

_COARSER = 2  # times the spacing of the model grid


@dataclass(frozen=True)
class Region:
    """A box of the model grid.

    Args:
        start: First voxel along each axis.
        shape: Voxels along each axis.
    """

    start: Shape
    shape: Shape

    def of(self, image: Tensor) -> Tensor:
        """The box of an image (C, shape...)."""
        i, j, k = (slice(s, s + n) for s, n in zip(self.start, self.shape, strict=True))
        return image[:, i, j, k]


def find_region(
    plan: WindowPlan,
    image: Tensor,
    windows_of: Callable[[WindowPlan, Tensor], LogitsOf],
    is_found: Callable[[Tensor], Tensor],
) -> Region:
    """Where the network finds something when it looks at every second voxel.

    A window of the network then covers eight times the volume. Around what is found stays a margin
    of half a window. Where nothing is found, and where the image is hardly larger than a window,
    it is the whole image.

    Args:
        plan: Windows of the fine pass.
        image: (C, shape...) preprocessed.
        windows_of: Gives the logits of the windows of a plan.
        is_found: From logits (L, ...) to (...): is there anything but background?
    """
    whole = Region((0, 0, 0), plan.shape)
    if all(n <= _COARSER * r for n, r in zip(plan.shape, plan.roi_size, strict=True)):
        return whole
    coarse = functional.avg_pool3d(image[None], _COARSER, ceil_mode=True)[0]
    i, j, k = coarse.shape[1:]
    rough = replace(
        plan, shape=(i, j, k), overlap=(0.25,) * 3, members=(Member(),), padding_mode="constant"
    )
    low, high = np.array(plan.shape), np.zeros(3, dtype=int)
    for block in blend(cells_of(rough), windows_of(rough, coarse)):
        found = torch.nonzero(is_found(block.logits)).numpy()
        if len(found):
            low = np.minimum(low, (found.min(axis=0) + block.start) * _COARSER)
            high = np.maximum(high, (found.max(axis=0) + 1 + block.start) * _COARSER)
    if (high <= low).any():
        return whole
    margin = np.array(plan.roi_size) // 2
    start = np.maximum(low - margin, 0)
    stop = np.minimum(high + margin, plan.shape)
    a, b, c = (int(n) for n in start)
    i, j, k = (int(n) for n in stop - start)
    return Region((a, b, c), (i, j, k))
