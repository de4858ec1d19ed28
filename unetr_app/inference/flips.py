"""FlipInferer: sliding windows over a volume and its mirror images, averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import Tensor


class FlipInferer(SlidingWindowInferer):
    """Sliding windows, with the mean of the logits over mirror images (test-time flips).

    Args:
        flip_axes: Spatial axes (0, 1, 2) to mirror; all their combinations are averaged. Without
            any it is a plain `monai.inferers.SlidingWindowInferer`.
        options: Arguments of `monai.inferers.SlidingWindowInferer`: ``roi_size``, ``overlap``, ...
    """

    def __init__(self, *args: Any, flip_axes: Sequence[int] = (), **options: Any):
        super().__init__(*args, **options)
        self.flip_axes = tuple(flip_axes)
        self.flips = [
            chosen for n in range(len(flip_axes) + 1) for chosen in combinations(flip_axes, n)
        ]

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor:
        """(B, C, D, H, W) to mean logits (B, labels, D, H, W)."""
        total: Tensor | None = None
        for axes in self.flips:
            dims = [2 + n for n in axes]
            logits = super().__call__(torch.flip(inputs, dims), network, *args, **kwargs)
            home = torch.flip(logits, dims)  # pyright: ignore[reportArgumentType]
            total = home if total is None else total + home
        assert total is not None
        return total / len(self.flips)
