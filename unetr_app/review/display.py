"""Display frame: where napari shows a voxel grid.

napari shows array axes straight: in 2D the slider runs along axis 0, axis 1 goes down and axis 2
goes right. So arrays are shown in the axis order ``"IPL"`` (indices grow to inferior, posterior
and left), a permutation and reversal of the voxels, exact. It gives the radiological convention in
all three planes: axial with the front up and the patient's left on the right of the screen,
coronal and sagittal with the head up. I, P, L is right-handed and so is napari's default camera:
3D shows no mirror image.

napari slices along its own world axes only. Were an oblique grid turned by an affine, 2D would
show another slice than the one under the cursor, and paint would land elsewhere. So a grid is
shown along its own axes: a display coordinate is a distance in mm along the grid's axis, counted
from the scanner's origin. On a grid that is not oblique these are the patient's own axes and the
display frame is RAS+ with its axes renamed and reversed: (-z, -y, -x). Grids that run along the
same axes share one display frame and lie in register; grids at an angle to each other do not.

The law, for every grid, oblique and sheared ones too, with v a voxel's index in display order::

    RAS+ mm of v  =  display_axes(geometry) @ (place.scale * v + place.translate)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry, Shape, Triple
from unetr_app.volume import reoriented_array

DISPLAY_CODES = "IPL"
PLANES = ("axial", "coronal", "sagittal")  # their slices lie along the axes of the display frame
SAME_AXES_DEG = 0.05  # 0.2 mm at 200 mm from the scanner's origin


@dataclass(frozen=True)
class Place:
    """Where napari puts an array in display order.

    Args:
        shape: Voxels along the display axes.
        scale: Spacing in mm along them.
        translate: Display coordinates in mm of the centre of the first voxel.
    """

    shape: Shape
    scale: Triple
    translate: Triple


def display_axes(geometry: Geometry) -> NDArray[np.float64]:
    """(3, 3); column n is display axis n as a unit vector in RAS+.

    Example:
        >>> display_axes(Geometry((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0]))).tolist()
        [[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]]
    """
    return geometry.reoriented(DISPLAY_CODES).direction + 0.0  # no negative zeros


def place(geometry: Geometry) -> Place:
    """Where napari shows a grid.

    Example:
        >>> place(Geometry((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0]))).scale
        (3.0, 1.0, 1.0)
    """
    shown = geometry.reoriented(DISPLAY_CODES)
    a, b, c = np.linalg.solve(shown.direction, np.asarray(shown.origin)) + 0.0
    return Place(shown.shape, shown.spacing, (float(a), float(b), float(c)))


def to_display(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(I, J, K) voxels on ``geometry`` brought to display order; a view, exact."""
    return reoriented_array(array, geometry, DISPLAY_CODES)


def from_display(array: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """Voxels in display order brought back to (I, J, K) on ``geometry``; a view, exact."""
    order, flips = geometry.reorientation(DISPLAY_CODES)
    return np.flip(array, flips).transpose(np.argsort(order))


def to_point(index: Sequence[float], geometry: Geometry) -> Triple:
    """Display coordinates in mm of a voxel, by its index (i, j, k) on ``geometry``.

    Example:
        >>> to_point((0, 0, 5), Geometry((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0])))
        (-15.0, 0.0, 0.0)
    """
    where = place(geometry)
    order, flips = geometry.reorientation(DISPLAY_CODES)
    shown = [float(index[old]) for old in order]
    for n in flips:
        shown[n] = where.shape[n] - 1 - shown[n]
    a, b, c = (
        v * scale + first + 0.0
        for v, scale, first in zip(shown, where.scale, where.translate, strict=True)
    )
    return a, b, c


def tilt_deg(geometry: Geometry) -> float:
    """The largest angle between a grid axis and the patient's axis nearest to it."""
    cosine = [abs(geometry.direction[w, n]) for n, w in enumerate(geometry.world_axes)]
    return float(np.rad2deg(np.arccos(min(1.0, *cosine))))
