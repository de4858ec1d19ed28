"""Margins: a label grown or shrunk by millimetres.

To grow by r takes every voxel within r mm of the label; to shrink by r gives up every voxel of the
label within r mm of a voxel that is not of it. The one is the other seen from the outside. Beyond
the edge of the grid is neither: a label cut off by the edge does not shrink away from it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from scipy.ndimage import distance_transform_edt

from unetr_app.geometry import Geometry
from unetr_app.review.editing.balls import ROUNDING_MM, ball, metric, near, reach, require_mm
from unetr_app.review.editing.boxes import Labels, Mask, box_of, change_in, widened
from unetr_app.review.editing.change import Change

# With more columns of voxels in the ball, a distance transform is quicker (measured on a liver of
# 1.8 litres in voxels of 0.6 mm³: about 9 s both; 5 mm take 1 s).
_MANY = 1500
_SQUARE = 1e-8  # cosine of axes that are as good as at right angles, for distances to 100 mm


def grow(
    labels: Labels,
    geometry: Geometry,
    value: int,
    mm: float,
    *,
    over_labels: bool = False,
    locked: Collection[int] = (),
) -> Change | None:
    """The label takes every voxel within ``mm`` of it.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        geometry: Where its voxels lie.
        value: The label.
        mm: Euclidean distance between voxel centres, above 0.
        over_labels: Does it take other labels too, not background alone?
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If ``mm`` is no distance.

    Example:
        >>> labels = np.zeros((5, 5, 5), np.uint8)
        >>> labels[2, 2, 2] = 1
        >>> step = grow(labels, Geometry((5, 5, 5), np.diag([1.0, 1.0, 3.0, 1.0])), 1, 1.0)
        >>> len(step.where)
        4
    """
    require_mm(mm)
    tight = box_of(labels, value)
    if tight is None:
        return None
    box = widened(tight, reach(geometry, mm), geometry.shape)
    view = labels[box]
    taken = _within(view == value, geometry, mm)
    if not over_labels:
        taken &= view == 0
    return change_in(box, labels, f"grow {mm:g} mm", taken, value, locked)


def shrink(
    labels: Labels, geometry: Geometry, value: int, mm: float, *, locked: Collection[int] = ()
) -> Change | None:
    """The label gives up every voxel within ``mm`` of one that is not of it, to background.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        geometry: Where its voxels lie.
        value: The label.
        mm: Euclidean distance between voxel centres, above 0.
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If ``mm`` is no distance.
    """
    require_mm(mm)
    tight = box_of(labels, value)
    if tight is None:
        return None
    box = widened(tight, reach(geometry, mm), geometry.shape)
    inside = labels[box] == value
    given = inside & _within(np.logical_not(inside), geometry, mm)
    return change_in(box, labels, f"shrink {mm:g} mm", given, 0, locked)


def _within(mask: Mask, geometry: Geometry, mm: float) -> Mask:
    """(I, J, K) bool: voxels within ``mm`` of the mask, the mask included."""
    steps = sorted(2 * n + 1 for n in reach(geometry, mm))
    if steps[0] * steps[1] <= _MANY or not _is_rectangular(geometry) or not mask.any():
        return near(mask, ball(geometry, mm))
    apart = np.asarray(distance_transform_edt(np.logical_not(mask), sampling=geometry.spacing))
    return apart <= mm + ROUNDING_MM


def _is_rectangular(geometry: Geometry) -> bool:
    cosines = metric(geometry) / np.outer(geometry.spacing, geometry.spacing)
    return bool(np.abs(cosines - np.eye(3)).max() <= _SQUARE)
