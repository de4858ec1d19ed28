"""How many windows there will be."""

from __future__ import annotations

import math
from typing import Any


def window_count(shape: tuple[int, ...], inferer: Any) -> int:
    """How many windows an inferer will put through the network; 0 where it does not say.

    Args:
        shape: Voxels of the image along each axis.
        inferer: A `monai.inferers.SlidingWindowInferer` or one like it.
    """
    roi = getattr(inferer, "roi_size", None)
    if roi is None:
        return 0
    roi = [roi] * len(shape) if isinstance(roi, int) else list(roi)
    overlap = getattr(inferer, "overlap", 0.25)
    overlaps = [overlap] * len(shape) if isinstance(overlap, float | int) else list(overlap)
    count = len(getattr(inferer, "flips", [()]))
    if not len(roi) == len(overlaps) == len(shape):
        return 0  # slices, or what else it may be
    for size, window, share in zip(shape, roi, overlaps, strict=True):
        window = window if (window or 0) > 0 else size
        step = max(int(window * (1 - share)), 1)
        count *= max(math.ceil((size - window) / step) + 1, 1)
    return count
