"""Put channels or labels onto another Geometry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr_app.geometry import Geometry
from unetr_app.volume import Segmentation, Volume

HALF = 0.5  # voxels: to where the outermost voxels reach
BESIDE = 1 - 1e-6  # voxels: to where linear interpolation with zeros leaves something of them
_SNAP = 1e-5  # index steps closer to a whole number than this are that number
_SLAB_VOXELS = 4_000_000  # voxels of the target computed at a time


def resample_to(volume: Volume, geometry: Geometry, *, outside: float = 0.0) -> Volume:
    """The volume on another grid, by linear interpolation in world coordinates.

    Args:
        volume: (C, I, J, K) on any grid, oblique or sheared ones too.
        geometry: The grid wanted.
        outside: Value of voxels whose centre lies outside the volume's voxels.

    Returns:
        (C, I', J', K') on ``geometry``. Where the grids' voxel centres coincide the values are
        the same, bit for bit.
    """
    data = np.stack(
        [resample_array(c, volume.geometry, geometry, outside=outside) for c in volume.data]
    )
    return Volume(
        data, geometry, volume.channel_names, volume.modality, volume.source, volume.warnings
    )


def resample_labels(segmentation: Segmentation, geometry: Geometry) -> Segmentation:
    """The segmentation on another grid, by the nearest voxel; no value is invented."""
    arrays = segmentation.data if segmentation.is_overlapping else segmentation.data[None]
    moved = [
        resample_array(a.astype(np.uint16), segmentation.geometry, geometry, order=0)
        for a in arrays
    ]
    data = np.stack(moved).astype(bool) if segmentation.is_overlapping else moved[0]
    return Segmentation(data, geometry, segmentation.labels, segmentation.provenance)


def resample_array(
    array: NDArray[Any], here: Geometry, there: Geometry, *, order: int = 1, outside: float = 0.0,
    edge: float = HALF,
) -> NDArray[Any]:  # fmt: skip
    """One channel on another grid.

    Args:
        array: (I, J, K) on ``here``.
        here: Its grid.
        there: The grid wanted.
        order: 1 linear, 0 nearest.
        outside: Value of voxels whose centre lies outside the voxels of ``here``.
        edge: Voxels of ``here`` beyond its outermost centres to where these count.

    Returns:
        (I', J', K') on ``there``, of the same type.
    """
    if here == there:
        return array.copy()
    matrix, offset = index_map(here, there)
    order_of_axes = axes_between(matrix)
    affine_transform: Any = ndimage.affine_transform  # its types know no offset for each axis
    if order_of_axes is None:
        moved = affine_transform(array, matrix, offset, there.shape, order=order, mode="nearest")
    else:  # axes stay parallel: scipy's separable path, several times as fast
        scale = matrix[list(order_of_axes), range(3)]
        moved = affine_transform(
            array.transpose(order_of_axes), scale, offset[list(order_of_axes)], there.shape,
            order=order, mode="nearest",
        )  # fmt: skip
    if np.isfinite(edge):
        moved[~_is_inside(matrix, offset, here.shape, there.shape, edge)] = outside
    return moved


def restore_label_map(
    logits: NDArray[np.floating[Any]], here: Geometry, native: Geometry, edge: float = np.inf
) -> NDArray[Any]:
    """From logits on the model grid to a label map on the native grid.

    The logits of each channel are resampled and the largest wins (the first of equal ones), slab
    by slab, so that memory does not grow with the number of channels.

    Args:
        logits: (L, i, j, k), channel 0 background.
        here: The model grid.
        native: The grid that the case was acquired on.
        edge: Voxels of the model grid beyond its outermost centres to where these count. A grid
            that was made to cover the native one may end some voxels too early all the same.

    Returns:
        (I, J, K) channel numbers, the smallest unsigned integer; 0 beyond the edge.
    """
    labels = np.zeros(native.shape, dtype=np.uint8 if len(logits) <= 256 else np.uint16)
    for start, slab in _slabs(native):
        winner = labels[start : start + slab.shape[0]]
        best = resample_array(logits[0], here, slab, outside=0.0, edge=edge)
        for channel in range(1, len(logits)):
            rival = resample_array(logits[channel], here, slab, outside=-np.inf, edge=edge)
            wins = rival > best
            winner[wins] = channel
            np.maximum(best, rival, out=best)
    return labels


def _slabs(geometry: Geometry) -> Iterator[tuple[int, Geometry]]:
    rows, *rest = geometry.shape
    step = max(1, _SLAB_VOXELS // int(np.prod(rest)))
    for start in range(0, rows, step):
        yield start, geometry.cropped((start, 0, 0), (min(step, rows - start), *rest))


def index_map(here: Geometry, there: Geometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """Matrix (3, 3) and offset (3,) that take an index on ``there`` to one on ``here``."""
    both = np.linalg.solve(here.affine, there.affine)
    whole = np.round(both)
    both = np.where(np.abs(both - whole) < _SNAP, whole, both)
    return both[:3, :3], both[:3, 3]


def whole_index_map(here: Geometry, there: Geometry) -> tuple[NDArray[Any], NDArray[Any]]:
    """As `index_map`, in whole numbers, for grids that differ by whole voxels."""
    matrix, offset = index_map(here, there)
    return np.rint(matrix).astype(int), np.rint(offset).astype(int)


def axes_between(matrix: NDArray[Any]) -> tuple[int, int, int] | None:
    """For each column the only row that is not zero, where that is a permutation; else None."""
    rows, columns = np.nonzero(matrix)
    if len(rows) != 3 or set(rows) != {0, 1, 2} or set(columns) != {0, 1, 2}:
        return None
    i, j, k = (int(rows[columns == n][0]) for n in range(3))
    return i, j, k


def _is_inside(
    matrix: NDArray[Any], offset: NDArray[Any], here: tuple[int, ...], there: tuple[int, ...],
    edge: float,
) -> NDArray[np.bool_]:  # fmt: skip
    """(I', J', K'): does the voxel's centre lie at most ``edge`` beyond those of ``here``?"""
    i, j, k = np.ogrid[: there[0], : there[1], : there[2]]
    inside = np.ones(there, dtype=bool)
    for axis, count in enumerate(here):
        index = matrix[axis, 0] * i + matrix[axis, 1] * j + matrix[axis, 2] * k + offset[axis]
        inside &= (index >= -edge) & (index <= count - 1 + edge)
    return inside
