"""Balls: which voxels lie within some millimetres, on any grid.

The distance of two voxels is that of their centres by the grid's affine, so it is right where
spacings differ and where axes are not at right angles. A voxel counts as within a radius when it
is at most a hundred-thousandth of a millimetre beyond: affines in files are single precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry, Shape
from unetr_app.review.editing.boxes import Mask

ROUNDING_MM = 1e-5
MAX_MM = 100.0


def require_mm(mm: float) -> float:
    """A distance that can be meant.

    Raises:
        InvalidRequest: If it is not above 0 and at most 100 mm.
    """
    if not (math.isfinite(mm) and 0 < mm <= MAX_MM):
        raise InvalidRequest(
            f"{mm:g} mm is no distance to edit by",
            cure=f"Give more than 0 and at most {MAX_MM:g} mm.",
        )
    return float(mm)


def metric(geometry: Geometry) -> NDArray[np.float64]:
    """(3, 3) symmetric; a step d in voxels is sqrt(d @ metric @ d) mm long."""
    columns = geometry.affine[:3, :3]
    return columns.T @ columns


def reach(geometry: Geometry, mm: float) -> Shape:
    """Voxels along i, j, k that a ball of that radius reaches at most, within the grid's shape."""
    furthest = (mm + ROUNDING_MM) * np.sqrt(np.diag(np.linalg.inv(metric(geometry))))
    i, j, k = (
        min(int(steps + 1e-9), length - 1)
        for steps, length in zip(furthest, geometry.shape, strict=True)
    )
    return i, j, k


def ball(geometry: Geometry, mm: float) -> Mask:
    """(2a + 1, 2b + 1, 2c + 1) bool: steps within that distance, (a, b, c) being the `reach`.

    Example:
        >>> ball(Geometry((9, 9, 9), np.diag([1.0, 1.0, 3.0, 1.0])), 1.0).shape
        (3, 3, 1)
    """
    steps = np.ogrid[tuple(slice(-n, n + 1) for n in reach(geometry, mm))]
    return squared_mm(geometry, list(steps)) <= (mm + ROUNDING_MM) ** 2


def squared_mm(geometry: Geometry, steps: list[NDArray[Any]]) -> NDArray[np.float64]:
    """Squared length in mm of steps in voxels along i, j, k; arrays that broadcast."""
    return scalar_product(geometry, steps, steps)


def scalar_product(
    geometry: Geometry, left: list[NDArray[Any]], right: list[NDArray[Any]]
) -> NDArray[np.float64]:
    """Scalar product in mm² of steps in voxels along i, j, k; arrays that broadcast."""
    weights = metric(geometry)
    total: Any = 0.0
    for m, along in enumerate(left):
        for n, other in enumerate(right):
            if weights[m, n] != 0:
                total = total + weights[m, n] * along * other
    return np.asarray(total, dtype=np.float64)


def near(mask: Mask, around: Mask) -> Mask:
    """Voxels at one of the steps of ``around`` from a voxel of ``mask``.

    Runs along one axis are put together first, so that the time grows with the other two axes of
    ``around`` alone. Beyond the array there is nothing, and nothing comes back at the other side.

    Args:
        mask: (I, J, K).
        around: Odd sides; convex and symmetric about its middle, as a ball is.

    Returns:
        (I, J, K) bool; holds ``mask`` itself where ``around`` holds its middle.
    """
    reaches = [n // 2 for n in around.shape]
    axis = max(range(3), key=lambda n: (around.shape[n], n))
    padded = np.pad(mask, [(n, n) for n in reaches])
    source = np.moveaxis(padded, axis, 2)
    run = np.moveaxis(padded.copy(), axis, 2)  # any of the voxels from here to `length` further on
    found = np.zeros_like(mask)
    out = np.moveaxis(found, axis, 2)
    length = 0
    for columns in _columns(np.moveaxis(around, axis, 2)):
        while length < columns[0][3]:
            length += 1
            run[:, :, :-length] |= source[:, :, length:]
        for i, j, k, _ in columns:
            out |= run[i : i + out.shape[0], j : j + out.shape[1], k : k + out.shape[2]]
    return found


def _columns(around: Mask) -> list[list[tuple[int, int, int, int]]]:
    """Columns along the last axis, those of one length together, the shortest first.

    Each is its place on the first two axes, where it begins, and by how much it ends later.
    """
    by_length: dict[int, list[tuple[int, int, int, int]]] = {}
    for i, j in np.argwhere(around.any(axis=2)).tolist():
        inside = np.flatnonzero(around[i, j])
        further = int(inside[-1] - inside[0])
        by_length.setdefault(further, []).append((i, j, int(inside[0]), further))
    return [by_length[further] for further in sorted(by_length)]
