"""RegularGrid: slices at uneven distances, resampled at even ones because the user asked for it.

The distance of the new slices is the one that all gaps are whole multiples of (slices are missing:
those that are there stay as they are, bit for bit), else the median gap. They begin at the first
slice and end within half a distance of the last. Values between two slices are linear in the
distance from each; beyond the last one they are its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnevenSlices, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import (
    STEEPEST,
    Stack,
    grid_of,
    line_through,
    normal_of,
    usual_distance,
)

_MOST_PER_SLICE = 2  # new slices for each that there is; with more, most of the image is made up
_DRIFT = 0.01  # of the distance: what a slice beside gaps may be off its place, as elsewhere
_SNAP = 1e-4  # of the distance: a slice nearer to a new one than this is that one


@dataclass(frozen=True, eq=False)
class RegularGrid:
    """Where slices lie on a grid of even distances.

    Args:
        geometry: The grid.
        at: (slices,) index along k of each slice, with fractions, growing.
        note: What is done, in one sentence.
    """

    geometry: Geometry
    at: NDArray[np.float64]
    note: str

    def resample(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values on the grid, linear between slices.

        Args:
            data: (I, J, slices), in order along the normal.

        Returns:
            (I, J, K).
        """
        out = np.empty(self.geometry.shape, np.float32)
        last = len(self.at) - 1
        for k in range(out.shape[2]):
            after = int(np.searchsorted(self.at, k))
            before = max(after - 1, 0)
            after = min(after, last)
            gap = self.at[after] - self.at[before]
            share = (k - self.at[before]) / gap if gap else 1.0
            if share >= 1 or k - self.at[before] <= 0:
                out[..., k] = data[..., after if share >= 1 else before]
            else:
                out[..., k] = (1 - share) * data[..., before] + share * data[..., after]
        return out


def regular_grid(stack: Stack) -> RegularGrid:
    """The grid of even distances for slices that `unetr_app.io.dicom.stack.arrange` found uneven.

    Args:
        stack: With a problem of the kind `UnevenSlices`.

    Raises:
        UnsafeGeometry: If most of the image would be made up.
    """
    assert isinstance(stack.problem, UnevenSlices)
    slices = stack.slices
    normal = normal_of(slices[0])
    direction, start = line_through(slices)
    along = np.array([s.position @ normal for s in slices if s.position is not None])
    along -= along[0]
    distance, missing = usual_distance(np.diff(along))
    at = along / distance
    if missing:  # each where it would be if none were missing, unless that adds up to a drift
        whole = np.concatenate([[0.0], np.cumsum(np.rint(np.diff(along) / distance))])
        if np.abs(along / along[-1] * whole[-1] - whole).max() <= _DRIFT:
            at, distance = whole, float(along[-1] / whole[-1])
    at = np.where(np.abs(at - np.rint(at)) < _SNAP, np.rint(at), at)
    count = int(np.floor(at[-1] + 0.5)) + 1
    sideways = float(np.linalg.norm(direction - normal))
    if count > _MOST_PER_SLICE * len(slices) or sideways > STEEPEST:
        raise UnsafeGeometry(
            f"{stack.problem.what}; {len(slices)} slices would become {count}, most of them made "
            "up", cure="Look for the missing files or export the series again.",
        )  # fmt: skip
    note = (
        f"regularised: {len(slices)} slices at uneven distances were resampled to {count} at "
        f"{distance:.4g} mm ({stack.problem.what})"
    )
    return RegularGrid(grid_of(slices[0], count, direction * distance, start), at, note)


def to_source_frames(
    data: NDArray[Any], geometry: Geometry, slices: Sequence[Slice]
) -> NDArray[Any]:
    """Labels on a grid as the slices that they came from have them: each takes the nearest plane.

    A border of a label moves along the normal by half the grid's distance at most. Slices of a
    regular or tilted series get exactly their own planes.

    Args:
        data: (..., I, J, K) on ``geometry``.
        geometry: The grid of the series as it was read, regularised or not.
        slices: The source slices, in any order.

    Returns:
        (..., I, J, slices), in their order.

    Raises:
        UnsafeGeometry: If the slices do not lie in the grid.

    Example:
        >>> import numpy as np
        >>> place = {"orientation": np.array([1, 0, 0, 0, 1, 0.]), "spacing": np.ones(2)}
        >>> slices = [Slice("a", position=np.array([0, 0, z]), **place) for z in (0., 2., 7.)]
        >>> geometry = Geometry.from_lps((1, 1, 4), np.diag([1, 1, 2, 1.]))
        >>> to_source_frames(np.arange(4).reshape(1, 1, 4), geometry, slices).tolist()
        [[[0, 1, 3]]]
    """
    places = np.array([s.position for s in slices if s.position is not None])
    index = geometry.world_to_index(places * (-1.0, -1.0, 1.0))  # (slices, 3)
    k = np.clip(np.floor(index[:, 2] + 0.5), 0, geometry.shape[2] - 1).astype(int)
    beside = np.abs(index[:, :2]).max() > 0.5 + _SNAP
    if len(places) != len(slices) or beside or np.abs(index[:, 2] - k).max() > 0.5 + _SNAP:
        raise UnsafeGeometry("the slices do not lie in the grid of these labels")
    return data[..., k]
