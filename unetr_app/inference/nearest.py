"""Labels from the model grid to the native grid, each voxel from the nearest one."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.networks.utils import to_norm_affine
from numpy.typing import NDArray

from unetr_app.geometry import Geometry
from unetr_app.resample import BORDER, axes_between, index_map, resample_array


def nearest_home(
    labels: NDArray[Any], model: Geometry, native: Geometry, *, edge: float = BORDER,
    turns_last: bool = False,
) -> NDArray[Any]:  # fmt: skip
    """Each native voxel takes the value of the nearest voxel of the model grid.

    Between two voxels that are equally near, as every other slice is where 3 mm came from 1.5 mm,
    it takes the one that MONAI's `Invertd` does: places are computed in the same numbers, and
    rounded as torch's ``grid_sample`` does. Grids that lie askew have no such slices.

    Args:
        labels: (i, j, k) on the model grid.
        model: Its grid.
        native: The grid wanted.
        edge: Voxels of the model grid beyond its outermost centres to where these count.
        turns_last: As of `unetr_app.bundle.restoration.Restoration`.

    Returns:
        (I, J, K) of the same type, 0 beyond the edge.
    """
    if axes_between(index_map(model, native)[0]) is None:
        whole = labels.astype(np.uint16)  # scipy takes no masks
        moved = resample_array(whole, model, native, order=0, edge=edge)
        return moved.astype(labels.dtype)
    if turns_last:
        labels, model = _turned(labels, model, native.orientation), _like(model, native)
        return _picked(labels, model, native, edge)
    picked = _picked(labels, model, _like(native, model), edge)
    return np.ascontiguousarray(_turned(picked, _like(native, model), native.orientation))


def _like(geometry: Geometry, other: Geometry) -> Geometry:
    return geometry.reoriented(other.orientation)


def _turned(array: NDArray[Any], here: Geometry, codes: str) -> NDArray[Any]:
    order, flips = here.reorientation(codes)
    return np.flip(array.transpose(order), flips)


def _picked(array: NDArray[Any], here: Geometry, there: Geometry, edge: float) -> NDArray[Any]:
    """From one grid to another whose axes have the same directions in the same order."""
    matrix, offset = index_map(here, there)
    for axis, places in enumerate(_places(here, there)):
        last = here.shape[axis] - 1
        nearest = np.rint(places).astype(np.int64)  # halves to even numbers
        array = array.take(np.clip(nearest, 0, last), axis=axis)
        at = matrix[axis, axis] * np.arange(len(places)) + offset[axis]
        array[(slice(None),) * axis + ((at < -edge) | (at > last + edge),)] = 0
    return array


def _places(here: Geometry, there: Geometry) -> list[NDArray[np.float64]]:
    """For each axis, the indices on ``here`` of the voxels of ``there``, as MONAI computes them."""
    affine = torch.from_numpy(np.linalg.solve(here.affine, there.affine))[None]
    theta = to_norm_affine(affine, here.shape, there.shape)[:, :3]
    theta = theta[:, [2, 1, 0]][:, :, [2, 1, 0, 3]]  # torch counts axes from the last
    found: list[NDArray[np.float64]] = []
    for axis, count in enumerate(there.shape):
        sizes = [1, 1, 1, 1, 1]
        sizes[2 + axis] = count
        grid = torch.nn.functional.affine_grid(theta, sizes, align_corners=False)
        share = grid[..., 2 - axis].flatten()
        found.append((((share + 1) * here.shape[axis] - 1) / 2).numpy())
    return found
