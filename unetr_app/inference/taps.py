"""Taps: the voxels of an axis that places between them are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Taps:
    """The two voxels of an axis of the model grid that each place lies between.

    Args:
        low: The lower one (N,).
        high: The upper one, or the same.
        low_share: What the lower one counts (N,).
        high_share: What the upper one counts.
        exists: Does either count? (N,)
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_share: NDArray[np.float32]
    high_share: NDArray[np.float32]
    exists: NDArray[np.bool_]

    def moved(self, sign: int, shift: int, is_there: NDArray[np.bool_]) -> Taps:
        """On an axis that differs by whole voxels, for the places that are there."""
        exists = self.exists & is_there
        if sign > 0:
            return Taps(
                self.low + shift, self.high + shift, self.low_share, self.high_share, exists
            )
        return Taps(shift - self.high, shift - self.low, self.high_share, self.low_share, exists)

    def some(self, chosen: NDArray[np.int64]) -> Taps:
        """Those of some places."""
        return Taps(
            self.low[chosen], self.high[chosen], self.low_share[chosen], self.high_share[chosen],
            self.exists[chosen],
        )  # fmt: skip


@dataclass(frozen=True)
class Span:
    """An axis of the model grid.

    Args:
        known: The first voxel that counts and the one after the last; others are zero.
        limits: Of the places: one beyond them is at them. None for no limits.
    """

    known: tuple[int, int]
    limits: tuple[int, int] | None

    def taps(self, at: NDArray[np.float64]) -> Taps:
        """For places in voxels of the model grid (N,)."""
        first, stop = self.known
        if self.limits is not None:
            at = np.clip(at, self.limits[0], self.limits[1] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.ceil(at).astype(np.int64)
        share = (at - low).astype(np.float32)
        has_low = (low >= first) & (low < stop)
        has_high = (high >= first) & (high < stop)
        low_share = np.where(has_low, 1 - share, 0).astype(np.float32)
        high_share = np.where(has_high, share, 0).astype(np.float32)
        return Taps(
            np.where(has_low, low, high), np.where(has_high, high, low), low_share, high_share,
            (low_share > 0) | (high_share > 0),
        )  # fmt: skip
