"""Grid of frames: the grid that the frames of a SEG lie on, and each frame's place on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.placed_frames import PlacedFrame

_PARALLEL = 1e-4
_SAME_PLACE_MM = 1e-3
_STEEPEST = 1.0  # sideways part of a step over its forward part; more is no gantry tilt
_CURE = "Give the grid of the source images, or export the segmentation again."


def grid_of(frames: Sequence[PlacedFrame], shape: tuple[int, int], path: PathLike) -> Geometry:
    """The smallest grid that all frames lie on; places between them may have no frame.

    The step from slice to slice is the stated one where that fits the frames' places, else their
    smallest distance.

    Args:
        frames: At least one.
        shape: Columns and rows of a frame.
        path: The file, for messages.

    Raises:
        UnsafeGeometry: If the frames are not parallel, or lie on no regular grid.
    """
    first = frames[0]
    for frame in frames:
        turned = np.abs(frame.orientation - first.orientation).max()
        if turned > _PARALLEL or np.abs(frame.spacing / first.spacing - 1).max() > _PARALLEL:
            raise UnsafeGeometry("the frames are not parallel and alike", cure=_CURE, path=path)
    positions = np.stack([frame.position for frame in frames])
    along = positions @ first.normal
    order = np.argsort(along, kind="stable")
    positions, along = positions[order], along[order]
    new = np.concatenate([[True], np.diff(along) > _SAME_PLACE_MM])
    positions, along = positions[new], along[new]
    if len(along) == 1:
        step, count = first.normal * (first.gap or first.thickness or 1.0), 1
    else:
        step, count = _step(positions, along, first, path)
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]  # along a row: column index grows
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2], affine[:3, 3] = step, positions[0]
    return Geometry.from_lps((*shape, count), affine)


def _step(
    positions: NDArray[np.float64], along: NDArray[np.float64], first: PlacedFrame, path: PathLike
) -> tuple[NDArray[np.float64], int]:
    """(3,) step from slice to slice, LPS+ mm, and the number of slices."""
    smallest = float(np.diff(along).min())
    for unit in (first.gap, smallest):
        if unit is None:
            continue
        tolerance = max(0.01, 0.01 * unit)
        index = np.rint((along - along[0]) / unit)
        if np.diff(index).min() < 1:
            continue
        step = (positions[-1] - positions[0]) / index[-1]
        off = np.linalg.norm(positions - positions[0] - index[:, None] * step, axis=1)
        uneven = abs(float(step @ first.normal) - unit)
        if off.max() <= tolerance and uneven <= tolerance:
            forward = float(step @ first.normal)
            if np.linalg.norm(step - forward * first.normal) > _STEEPEST * forward:
                break
            return step, int(index[-1]) + 1
    raise UnsafeGeometry("the frames do not lie on one regular grid", cure=_CURE, path=path)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where a frame lies on a grid.

    Args:
        axes: Grid axis along which columns, rows, and frames are counted.
        start: (3,) grid index of the frame's first pixel, in the order of ``axes``.
        signs: -1 where the grid's index falls as columns or rows grow.
        shape: Columns and rows of the frame.
        grid: Shape of the grid.
    """

    axes: tuple[int, int, int]
    start: tuple[int, int, int]
    signs: tuple[int, int]
    shape: tuple[int, int]
    grid: tuple[int, int, int]

    def _spans(self) -> list[tuple[int, int]] | None:
        """Columns and rows that lie on the grid, first and one past the last; None for none."""
        if not 0 <= self.start[2] < self.grid[self.axes[2]]:
            return None
        spans: list[tuple[int, int]] = []
        for axis, start, sign, count in zip(
            self.axes[:2], self.start[:2], self.signs, self.shape, strict=True
        ):
            size = self.grid[axis]
            low, high = (-start, size - start) if sign > 0 else (start - size + 1, start + 1)
            spans.append((min(max(low, 0), count), max(min(high, count), 0)))
        return spans if all(low < high for low, high in spans) else None

    def inside(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The part of a (columns, rows) mask that lies on the grid."""
        spans = self._spans() or [(0, 0), (0, 0)]
        return mask[spans[0][0] : spans[0][1], spans[1][0] : spans[1][1]]

    def require_inside(self, mask: NDArray[np.bool_], path: PathLike) -> None:
        """Refuse a mask of which a voxel lies beside the grid.

        Raises:
            UnsafeGeometry: If one does.
        """
        if np.count_nonzero(mask) != np.count_nonzero(self.inside(mask)):
            raise UnsafeGeometry(
                "the segmentation reaches beyond the grid that it is to be put on",
                cure="Give the series that it was made of.", path=path,
            )  # fmt: skip

    def part_of(self, data: NDArray[Any]) -> NDArray[Any]:
        """The view of (I, J, K) data that `inside` belongs to."""
        plane = data.transpose(self.axes)
        spans = self._spans()
        if spans is None:
            return plane[:0, :0, 0]
        slices: list[slice] = []
        for start, sign, (low, high) in zip(self.start[:2], self.signs, spans, strict=True):
            if sign > 0:
                slices.append(slice(start + low, start + high))
            else:
                last = start - high
                slices.append(slice(start - low, None if last < 0 else last, -1))
        return plane[slices[0], slices[1], self.start[2]]


def place_on(
    grid: Geometry, frame: PlacedFrame, shape: tuple[int, int], path: PathLike
) -> Placement:
    """Where a frame lies on a grid, voxel on voxel; axes may be swapped and turned round.

    Raises:
        UnsafeGeometry: If its pixels lie between voxels.
    """
    inverse = np.linalg.inv(grid.affine_lps[:3, :3])
    across = inverse @ (frame.orientation[:3] * frame.spacing[1])  # (3,) voxels per column
    down = inverse @ (frame.orientation[3:] * frame.spacing[0])
    start = inverse @ (frame.position - grid.affine_lps[:3, 3])
    whole = [np.rint(v).astype(int) for v in (across, down, start)]
    axes = [int(np.abs(v).argmax()) for v in (across, down)]
    units = all(np.abs(v).sum() == 1 for v in whole[:2]) and axes[0] != axes[1]
    errors = [v - w for v, w in zip((across, down, start), whole, strict=True)]
    furthest = np.abs(errors[0]) * shape[0] + np.abs(errors[1]) * shape[1] + np.abs(errors[2])
    if not units or (furthest * grid.spacing).max() > max(0.01, 0.02 * min(grid.spacing)):
        raise UnsafeGeometry(
            f"frame {frame.number} of the segmentation does not lie on the grid's voxels",
            cure="Give the series that it was made of; nothing is resampled without being asked.",
            path=path,
        )
    third = 3 - sum(axes)
    order = (axes[0], axes[1], third)
    begin = (int(whole[2][order[0]]), int(whole[2][order[1]]), int(whole[2][order[2]]))
    signs = (int(whole[0][axes[0]]), int(whole[1][axes[1]]))
    return Placement(order, begin, signs, shape, grid.shape)
