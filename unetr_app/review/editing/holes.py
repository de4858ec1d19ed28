"""Holes: what a label encloses, filled.

A hole is a connected piece (by faces; by edges in a slice) of what is not the label and does not
reach beyond the edge of the grid.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr_app.review.editing.boxes import Labels, Mask, box_of, change_in, require_axis
from unetr_app.review.editing.change import Change


def fill_holes(
    labels: Labels,
    value: int,
    *,
    axis: int | None = None,
    over_labels: bool = False,
    locked: Collection[int] = (),
) -> Change | None:
    """Background inside the label becomes the label.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        value: The label.
        axis: Look at each slice along array axis 0, 1 or 2 by itself; at all of 3D where absent.
        over_labels: Are other labels inside filled too, not background alone?
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If there is no such axis.
    """
    require_axis(axis)
    box = box_of(labels, value)
    if box is None:
        return None
    view = labels[box]
    inside = _enclosed(view == value, axis)
    if not over_labels:
        inside &= view == 0
    name = "fill holes" if axis is None else "fill holes in slices"
    return change_in(box, labels, name, inside, value, locked)


def _enclosed(mask: Mask, axis: int | None) -> Mask:
    """(I, J, K) bool: what is not of the mask and cannot reach the outside of the array."""
    links = ndimage.generate_binary_structure(3, 1)
    margin = [(1, 1)] * 3
    if axis is not None:
        links = np.moveaxis(links, axis, 0).copy()
        links[0] = links[2] = False
        links = np.moveaxis(links, 0, axis)
        margin[axis] = (0, 0)
    rest = np.logical_not(np.pad(mask, margin))
    numbered: Any = ndimage.label(rest, structure=links)
    pieces: NDArray[np.int32] = numbered[0]
    corner = tuple(slice(None) if n == axis else 0 for n in range(3))
    is_hole = np.ones(numbered[1] + 1, dtype=np.bool_)
    is_hole[0] = is_hole[pieces[corner]] = False
    core = tuple(slice(before, None if after == 0 else -after) for before, after in margin)
    return is_hole[pieces[core]]
