"""Brushes: a ball in millimetres, or a disc in one slice, painted along a path."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.editing.balls import (
    ROUNDING_MM,
    metric,
    require_mm,
    scalar_product,
    squared_mm,
)  # fmt: skip
from unetr_app.review.editing.boxes import Box, Labels, Mask, change_in, require_axis
from unetr_app.review.editing.change import Change


@dataclass(frozen=True)
class Brush:
    """What a stroke paints with.

    Args:
        value: What is painted; 0 erases.
        radius_mm: Voxels whose centre is within it are painted.
        axis: A disc in the slice across array axis 0, 1 or 2; a ball where absent.
        only: Paint over this value alone, such as 0 to spare other labels, or a label to erase no
            other; over every value where absent.

    Raises:
        InvalidRequest: If the radius is no distance, or there is no such axis.
    """

    value: int
    radius_mm: float
    axis: int | None = None
    only: int | None = None

    def __post_init__(self) -> None:
        require_mm(self.radius_mm)
        require_axis(self.axis)

    @property
    def name(self) -> str:
        """What a stroke with it is called."""
        return f"{'3D ' if self.axis is None else ''}{'brush' if self.value else 'erase'}"


def paint(
    labels: Labels,
    geometry: Geometry,
    brush: Brush,
    path: ArrayLike,
    *,
    locked: Collection[int] = (),
) -> Change | None:
    """What a stroke changes.

    Args:
        labels: (I, J, K) label map, or a bool mask with values 0 and 1.
        geometry: Where its voxels lie.
        brush: What is painted, and how wide.
        path: (3,) voxel index of the brush's middle, fractions allowed, or (N, 3) where it went in
            straight lines; a part beyond the grid paints what is within.
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If the path is none.

    Example:
        >>> grid = Geometry((5, 5, 5), np.diag([1.0, 1.0, 3.0, 1.0]))
        >>> step = paint(np.zeros((5, 5, 5), np.uint8), grid, Brush(1, 1.0), (2, 2, 2))
        >>> len(step.where)
        5
    """
    points = np.atleast_2d(np.asarray(path, dtype=np.float64))
    if points.ndim != 2 or points.shape[1] != 3 or not len(points) or not np.isfinite(points).all():
        raise InvalidRequest("a brush needs voxel indices (i, j, k) to go along")
    if brush.axis is not None:
        points = points.copy()
        points[:, brush.axis] = np.round(points[0, brush.axis])
    box = _box_around(geometry, brush, points)
    if box is None:
        return None
    chosen = np.zeros([side.stop - side.start for side in box], dtype=np.bool_)
    for n in range(max(1, len(points) - 1)):
        ends = points[[n, min(n + 1, len(points) - 1)]]
        _add_piece(chosen, box, geometry, brush, ends)
    if brush.only is not None:
        chosen &= labels[box] == brush.only
    return change_in(box, labels, brush.name, chosen, brush.value, locked)


def _box_around(geometry: Geometry, brush: Brush, points: NDArray[np.float64]) -> Box | None:
    """The block that the brush can reach; None where that is outside the grid."""
    weights = metric(geometry)
    wide = np.zeros(3)
    free = [n for n in range(3) if n != brush.axis]
    inverse = np.linalg.inv(weights[np.ix_(free, free)])
    wide[free] = (brush.radius_mm + ROUNDING_MM) * np.sqrt(np.diag(inverse)) + 1e-9
    low = np.maximum(np.ceil(points.min(axis=0) - wide), 0)
    high = np.minimum(np.floor(points.max(axis=0) + wide), np.asarray(geometry.shape) - 1.0)
    if (low > high).any():
        return None
    i, j, k = (slice(int(a), int(b) + 1) for a, b in zip(low, high, strict=True))
    return i, j, k


def _add_piece(
    chosen: Mask, box: Box, geometry: Geometry, brush: Brush, ends: NDArray[np.float64]
) -> None:
    """Add the voxels within the radius of a straight line to what is chosen in the box."""
    part = _box_around(geometry, brush, ends)
    if part is None:
        return
    steps = [n - at for n, at in zip(np.ogrid[part], ends[0], strict=True)]
    line = [np.asarray(n) for n in ends[1] - ends[0]]
    long = float(squared_mm(geometry, line))
    squared = squared_mm(geometry, steps)
    if long > 0:
        along = scalar_product(geometry, steps, line)
        share = np.clip(along / long, 0.0, 1.0)
        squared = squared - 2 * share * along + share**2 * long
    here = tuple(slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True))
    chosen[here] |= squared <= (brush.radius_mm + ROUNDING_MM) ** 2
