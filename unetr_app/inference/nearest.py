"""Labels from the model grid to the native grid, each voxel from the nearest one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry
from unetr_app.inference.places import places_along_axes
from unetr_app.inference.way_home import Ends, WayHome
from unetr_app.resample import axes_between, index_map, resample_array, whole_index_map


def nearest_home(labels: NDArray[Any], way: WayHome) -> NDArray[Any]:
    """Each native voxel takes the value of the nearest voxel of the model grid.

    Between two voxels that are equally near, as every other slice is where 3 mm came from 1.5 mm,
    it takes the one that MONAI's `Invertd` does: the same numbers are rounded in the same way.
    Grids that lie askew have no such slices.

    Args:
        labels: (i, j, k) on the model grid.
        way: From the model grid to the native grid.

    Returns:
        (I, J, K) of the same type, 0 where nothing is known.
    """
    here, there = way.resampled, way.before
    array = _moved(_cut(labels, way.known), way.model, here)
    if axes_between(index_map(here, there)[0]) is None:
        edge = np.inf if way.replicates else 0.5
        whole = array.astype(np.uint16)  # scipy takes no masks
        array = resample_array(whole, here, there, order=0, edge=edge).astype(labels.dtype)
    elif here != there:
        turned = there.reoriented(here.orientation)
        array = _picked(array, here, turned, replicates=way.replicates)
        array = _moved(array, turned, there)
    return np.ascontiguousarray(_cut(_moved(array, there, way.native), way.covered))


def _cut(array: NDArray[Any], ends: Ends) -> NDArray[Any]:
    """The array, 0 outside some ends."""
    inside = tuple(slice(*each) for each in ends)
    if array[inside].shape == array.shape:
        return array
    cut = np.zeros_like(array)
    cut[inside] = array[inside]
    return cut


def _moved(array: NDArray[Any], here: Geometry, there: Geometry) -> NDArray[Any]:
    """On a grid that differs by whole voxels; 0 beyond the array."""
    if here == there:
        return array
    matrix, offset = whole_index_map(here, there)
    axes = axes_between(matrix)
    assert axes is not None
    array = array.transpose(axes)
    for axis, (count, old) in enumerate(zip(there.shape, axes, strict=True)):
        at = matrix[old, axis] * np.arange(count) + offset[old]
        array = _taken(array, axis, at, is_inside=(at >= 0) & (at < here.shape[old]))
    return array


def _picked(
    array: NDArray[Any], here: Geometry, there: Geometry, *, replicates: bool
) -> NDArray[Any]:
    """From one grid to another whose axes have the same directions in the same order."""
    for axis, places in enumerate(places_along_axes(here, there)):
        last = here.shape[axis] - 1
        at = np.rint(places).astype(np.int64)  # halves to even numbers
        array = _taken(array, axis, at, is_inside=replicates | ((at >= 0) & (at <= last)))
    return array


def _taken(
    array: NDArray[Any], axis: int, at: NDArray[np.int64], *, is_inside: NDArray[np.bool_]
) -> NDArray[Any]:
    """The voxels at some places along an axis, those outside set to 0."""
    taken = array.take(np.clip(at, 0, array.shape[axis] - 1), axis=axis)
    taken[(slice(None),) * axis + (~is_inside,)] = 0
    return taken
