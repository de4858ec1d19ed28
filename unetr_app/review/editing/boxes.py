"""Boxes: the block of a label map in which an operation works, and the change that it makes there.

Labels here are one (I, J, K) array: a label map, or one bool mask with the one value 1.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.review.editing.change import Change

Labels = NDArray[Any]
Mask = NDArray[np.bool_]
Box = tuple[slice, slice, slice]


def box_of(labels: Labels, value: int) -> Box | None:
    """The smallest block of the grid that holds every voxel of a value; None where there is none.

    Example:
        >>> labels = np.zeros((4, 5, 6), np.uint8)
        >>> labels[1, 2:4, 5] = 3
        >>> box_of(labels, 3)
        (slice(1, 2, None), slice(2, 4, None), slice(5, 6, None))
    """
    has = np.array([bool((plane == value).any()) for plane in labels])
    if not has.any():
        return None
    i = _span(has)
    found = labels[i] == value
    flat = found.any(axis=0)  # (J, K)
    return i, _span(flat.any(axis=1)), _span(flat.any(axis=0))


def require_axis(axis: int | None) -> None:
    """Check the number of an array axis, where there is one.

    Raises:
        InvalidRequest: If it is not 0, 1 or 2.
    """
    if axis not in (None, 0, 1, 2):
        raise InvalidRequest(f"there is no axis {axis}", cure="Axes are 0, 1 and 2.")


def widened(box: Box, by: Sequence[int], shape: Sequence[int]) -> Box:
    """The box with ``by`` voxels more on both sides of each axis, within the grid."""
    i, j, k = (
        slice(max(0, side.start - more), min(length, side.stop + more))
        for side, more, length in zip(box, by, shape, strict=True)
    )
    return i, j, k


def change_in(
    box: Box, labels: Labels, name: str, chosen: Mask, after: Any, locked: Collection[int] = ()
) -> Change | None:
    """The change that gives chosen voxels of a box another value.

    Args:
        box: Block of the grid.
        labels: (I, J, K) all voxels as they are; not written to.
        name: What was done.
        chosen: Voxels of the box.
        after: Their new value, or one for each voxel of the box.
        locked: Values that no voxel loses or gets.

    Returns:
        The change, of places in ``labels``; None where nothing would differ.
    """
    view = labels[box]
    after = np.asarray(after).astype(labels.dtype)
    i, j, k = np.nonzero(chosen & (view != after))
    values = np.broadcast_to(after, view.shape)[i, j, k]
    before = view[i, j, k]
    _, rows, columns = labels.shape
    where = ((i + box[0].start) * rows + (j + box[1].start)) * columns + (k + box[2].start)
    change = Change.between(name, where.astype(np.int64, copy=False), before, values)
    return None if change is None else change.without_values(locked)


def _span(has: Mask) -> slice:
    found = np.flatnonzero(has)
    return slice(int(found[0]), int(found[-1]) + 1)
