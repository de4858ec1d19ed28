"""Places: where the voxels of one grid lie along the axes of another, in MONAI's own numbers."""

from __future__ import annotations

import numpy as np
import torch
from monai.networks.utils import to_norm_affine
from numpy.typing import NDArray

from unetr_app.geometry import Geometry


def places_along_axes(here: Geometry, there: Geometry) -> list[NDArray[np.float64]]:
    """For each axis, the indices on ``here`` of the voxels of ``there``.

    MONAI's resampling computes them in double precision from -1 to 1, as torch's ``grid_sample``
    wants them, and so leaves a last digit by which ties are decided, and what lies exactly one
    voxel outside. The same steps leave the same digit.

    Args:
        here: The grid that is sampled.
        there: A grid whose axes have the same directions in the same order.
    """
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
