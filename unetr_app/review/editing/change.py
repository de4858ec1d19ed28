"""Change: one step of editing that can be undone."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest


@dataclass(frozen=True, eq=False)
class Change:
    """One undoable step: which voxels changed, from what, to what.

    Args:
        name: What was done, shown to the user: ``"brush"``, ``"grow 2 mm"``.
        where: (N,) int64; indices into the flat (C-order) array, ascending, unique; N at least 1.
        before: (N,) values before, in the array's dtype.
        after: (N,) values after, in the same dtype; each differs from the one before.

    Raises:
        InvalidRequest: If the three do not fit each other.

    Example:
        >>> step = Change("brush", np.array([3, 7]), np.uint8([0, 0]), np.uint8([1, 1]))
        >>> step.reversed.after.tolist()
        [0, 0]
    """

    name: str
    where: NDArray[np.int64]
    before: NDArray[Any]
    after: NDArray[Any]

    def __post_init__(self) -> None:
        where, before, after = self.where, self.before, self.after
        if where.ndim != 1 or not len(where) or not where.shape == before.shape == after.shape:
            raise InvalidRequest(
                f"a change of {where.shape} places has {before.shape} and {after.shape} values"
            )
        if before.dtype != after.dtype or where.dtype != np.int64:
            raise InvalidRequest(
                f"a change has {where.dtype} places and {before.dtype} and {after.dtype} values"
            )
        if where[0] < 0 or not (where[1:] > where[:-1]).all():
            raise InvalidRequest("a change's places are not ascending and unique")
        if (before == after).any():
            raise InvalidRequest("a change holds voxels that stay the same")

    @classmethod
    def between(
        cls, name: str, where: NDArray[np.int64], before: NDArray[Any], after: NDArray[Any]
    ) -> Change | None:
        """The change without the voxels that stay the same; None where none is left."""
        return kept(name, where, before, after, before != after)

    @property
    def reversed(self) -> Change:
        """The step back."""
        return Change(self.name, self.where, self.after, self.before)

    def write(self, data: NDArray[Any]) -> None:
        """Set the changed voxels of a C-contiguous array to what they are after the step."""
        data.reshape(-1)[self.where] = self.after

    def fits(self, data: NDArray[Any]) -> bool:
        """Does a C-contiguous array hold what it held before the step?"""
        if data.dtype != self.before.dtype or self.where[-1] >= data.size:
            return False
        return bool(np.array_equal(data.reshape(-1)[self.where], self.before))

    def without_values(self, locked: Collection[int]) -> Change | None:
        """The change without voxels of a label map that hold, or would get, a locked value."""
        if not locked:
            return self
        values = np.asarray(sorted(locked))
        stays = np.isin(self.before, values) | np.isin(self.after, values)
        return kept(self.name, self.where, self.before, self.after, ~stays)

    def without_rows(self, locked: Collection[int], row_size: int) -> Change | None:
        """The change without voxels in locked rows of (L, I, J, K) masks."""
        if not locked:
            return self
        stays = np.isin(self.where // row_size, np.asarray(sorted(locked)))
        return kept(self.name, self.where, self.before, self.after, ~stays)


def change_to(data: NDArray[Any], wanted: NDArray[Any], name: str) -> Change | None:
    """The change that makes an array equal to another one of its shape; None where it is.

    Args:
        data: (I, J, K) or (L, I, J, K), C-contiguous.
        wanted: Of the same shape; values that the dtype of ``data`` holds.
        name: Shown to the user.

    Raises:
        InvalidRequest: If the shapes differ.
    """
    if data.shape != wanted.shape:
        raise InvalidRequest(f"labels of shape {wanted.shape} cannot become {data.shape}")
    where = np.flatnonzero(data != wanted).astype(np.int64)
    after = np.ascontiguousarray(wanted).reshape(-1)[where].astype(data.dtype)
    return Change.between(name, where, data.reshape(-1)[where], after)


def kept(
    name: str,
    where: NDArray[np.int64],
    before: NDArray[Any],
    after: NDArray[Any],
    chosen: NDArray[np.bool_],
) -> Change | None:
    """The change of the chosen voxels alone; None where there are none."""
    if chosen.all():
        return Change(name, where, before, after) if len(where) else None
    where, before, after = where[chosen], before[chosen], after[chosen]
    return Change(name, where, before, after) if len(where) else None
