"""Line: logits interpolated along one axis, where the axes of both grids are parallel."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.inference.taps import Taps


class Line:
    """Where the voxels of one native axis lie along one axis of the model grid.

    Args:
        native: The native axis.
        taps: Of each of its voxels.
        covered: Its first voxel that is made of others and the one after the last.
    """

    def __init__(self, native: int, taps: Taps, covered: tuple[int, int]):
        self.native = native
        inside = covered[0] + np.flatnonzero(taps.exists[slice(*covered)])
        self._first = int(inside[0]) if len(inside) else 0
        self._end = int(inside[-1]) + 1 if len(inside) else 0
        self._taps = taps
        own = slice(self._first, self._end)
        self.is_whole = not taps.high_share[own].any() and bool((taps.low_share[own] == 1).all())

    def within(self, start: int, stop: int) -> tuple[int, int]:
        """First native voxel and the one after the last whose upper neighbour is in a block."""
        high = self._taps.high[self._first : self._end]
        found = np.flatnonzero((high >= start) & (high < stop))
        if not len(found):
            return 0, 0
        return self._first + int(found[0]), self._first + int(found[-1]) + 1

    def interpolate(self, logits: Tensor, axis: int, first: int, last: int, start: int) -> Tensor:
        """Logits (L, d0, d1, d2) from ``start`` on, at native voxels first to last along an axis.

        As a product with a matrix of two numbers a row, which is several times as fast as picking
        neighbours where they do not lie side by side in memory.
        """
        taps = self._taps
        low, high = taps.low[first:last] - start, taps.high[first:last] - start
        low_share, high_share = taps.low_share[first:last], taps.high_share[first:last]
        if not high_share.any() and (low_share == 1).all():
            return _picked(logits, axis, low)
        rows = np.arange(last - first)
        matrix = np.zeros((last - first, logits.shape[1 + axis]), dtype=np.float32)
        np.add.at(matrix, (rows, low), low_share)
        np.add.at(matrix, (rows, high), high_share)
        weights = torch.from_numpy(matrix)
        if axis == 2:
            return logits @ weights.T
        if axis == 1:
            return weights @ logits
        return (weights @ logits.flatten(2)).unflatten(2, logits.shape[2:])


def _picked(logits: Tensor, axis: int, at: NDArray[np.int64]) -> Tensor:
    """The voxels at some places along an axis; a view where they follow each other."""
    steps = np.diff(at)
    if (steps == 1).all():
        return logits.narrow(1 + axis, int(at[0]), len(at))
    if (steps == -1).all():
        return logits.narrow(1 + axis, int(at[-1]), len(at)).flip(1 + axis)
    return logits.index_select(1 + axis, torch.from_numpy(at))
