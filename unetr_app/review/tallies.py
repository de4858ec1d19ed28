"""Tallies: how labels differ from others on the same grid, counted in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.volume import Segmentation

_PART = 2**22  # voxels counted at a time


@dataclass(frozen=True)
class Tally:
    """How one label differs from what it was.

    Args:
        value: The label.
        before: Voxels that it had.
        added: Voxels that it gained.
        removed: Voxels that it lost.
    """

    value: int
    before: int
    added: int
    removed: int

    @property
    def after(self) -> int:
        """Voxels that it has."""
        return self.before + self.added - self.removed

    @property
    def dice(self) -> float:
        """Dice coefficient of before and after; 1.0 where both are empty."""
        both = self.before + self.after
        return 2.0 * (self.before - self.removed) / both if both else 1.0


def tally(now: Segmentation, before: Segmentation) -> dict[int, Tally]:
    """Count, label by label of either, what differs.

    Args:
        now: Labels.
        before: Labels on the same grid, exclusive or overlapping as the others.

    Raises:
        UnsafeGeometry: If the two differ in shape, or in whether labels overlap.

    Example:
        >>> from unetr_app.geometry import Geometry
        >>> from unetr_app.labels import LabelSet
        >>> grid, names = Geometry((2, 2, 2), np.eye(4)), LabelSet.from_names({1: "all"})
        >>> full = Segmentation(np.ones((2, 2, 2), np.uint8), grid, names)
        >>> none = Segmentation(np.zeros((2, 2, 2), np.uint8), grid, names)
        >>> tally(full, none)[1].added
        8
    """
    if now.data.ndim != before.data.ndim or now.geometry.shape != before.geometry.shape:
        raise UnsafeGeometry("labels of different grids, or kinds, cannot be compared")
    values = sorted({*now.labels.values, *before.labels.values})
    if now.is_overlapping:
        return {value: _of_masks(value, now, before) for value in values}
    highest = max(values, default=0) + 1
    counts = np.zeros((3, highest), np.int64)
    flat, was = now.data.reshape(-1), before.data.reshape(-1)
    for begin in range(0, flat.size, _PART):
        new, old = flat[begin : begin + _PART], was[begin : begin + _PART]
        counts[0] += np.bincount(old, minlength=highest)
        differs = new != old
        counts[1] += np.bincount(new[differs], minlength=highest)
        counts[2] += np.bincount(old[differs], minlength=highest)
    return {v: Tally(v, *(int(n) for n in counts[:, v])) for v in values}


def _of_masks(value: int, now: Segmentation, before: Segmentation) -> Tally:
    new, old = (_mask(found, value) for found in (now, before))
    counts = (np.count_nonzero(mask) for mask in (old, new & ~old, old & ~new))
    return Tally(value, *(int(n) for n in counts))


def _mask(found: Segmentation, value: int) -> NDArray[np.bool_]:
    if value in found.labels.values:
        return found.mask(value)
    return np.zeros(found.geometry.shape, dtype=np.bool_)
