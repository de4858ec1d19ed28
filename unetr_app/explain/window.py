"""Window: the part of an image that an encoder sees at a time, padded where it is short."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry, Shape
from unetr_app.volume import Volume


@dataclass(frozen=True, eq=False)
class Window:
    """A block of an image on the model grid.

    Args:
        data: (C, i, j, k); 0 outside the image, as sliding windows are padded.
        geometry: Where its voxels lie.
        start: Index on the image of its first voxel; negative where it is padded.
        fresh: Index on the image before which its voxels belong to an earlier window.
        image_shape: Shape of the image.
    """

    data: NDArray[np.float32]
    geometry: Geometry
    start: Shape
    fresh: Shape
    image_shape: Shape

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """The block of the window that lies in the image."""
        ends = zip(self.start, self.geometry.shape, self.image_shape, strict=True)
        i, j, k = (slice(max(0, -at), min(n, whole - at)) for at, n, whole in ends)
        return i, j, k

    def crop(self, array: NDArray[np.floating]) -> tuple[NDArray[np.floating], Geometry]:
        """The part inside of the image of an array (..., i, j, k) on the window, and its place."""
        inside = self.inside
        shape = [block.stop - block.start for block in inside]
        return array[(..., *inside)], self.geometry.cropped([b.start for b in inside], shape)

    def own_cells(self, grid: Sequence[int]) -> NDArray[np.bool_]:
        """Which cells of a grid over the window lie in the image, and in no earlier window.

        Args:
            grid: Cells along each axis.

        Returns:
            (grid): is the cell's middle there?
        """
        own = np.ones(tuple(grid), dtype=bool)
        for axis, cells in enumerate(grid):
            size = self.geometry.shape[axis] / cells
            middle = self.start[axis] + (np.arange(cells) + 0.5) * size - 0.5
            low, high = max(self.fresh[axis], 0) - 0.5, self.image_shape[axis] - 0.5
            along = (middle >= low) & (middle <= high)
            own &= along.reshape([-1 if n == axis else 1 for n in range(3)])
        return own


def window_at(
    image: Volume, roi_size: Sequence[int], middle: Sequence[int] | None = None
) -> Window:
    """The window round a voxel; it leaves the image only where that is shorter.

    Args:
        image: On the model grid.
        roi_size: Shape of the window.
        middle: Index of the voxel; the image's middle where absent.
    """
    shape = image.geometry.shape
    wanted = [n // 2 for n in shape] if middle is None else middle
    triples = zip(wanted, roi_size, shape, strict=True)
    start = [_start(at - size // 2, size, whole) for at, size, whole in triples]
    return _cut(image, start, start, roi_size)


def windows_over(image: Volume, roi_size: Sequence[int]) -> Iterator[Window]:
    """Windows side by side that cover an image; the last of each axis reaches back into it.

    Args:
        image: On the model grid.
        roi_size: Shape of the windows.
    """
    shape = image.geometry.shape
    along = [
        [(_start(at, size, whole), at) for at in range(0, whole, size)]
        for size, whole in zip(roi_size, shape, strict=True)
    ]
    for places in product(*along):
        yield _cut(image, [p[0] for p in places], [p[1] for p in places], roi_size)


def cell_geometry(geometry: Geometry, grid: Sequence[int]) -> Geometry:
    """The grid of cells that divide a window evenly, such as the voxels of a map.

    Args:
        geometry: Of the window.
        grid: Cells along each axis.
    """
    spacing = np.asarray(geometry.extent_mm) / np.asarray(grid)
    return geometry.respaced(spacing.tolist())


def _start(wanted: int, size: int, whole: int) -> int:
    """First voxel of a window: within the image, or as far outside on both sides."""
    if whole <= size:
        return -((size - whole) // 2)
    return min(max(wanted, 0), whole - size)


def _cut(
    image: Volume, start: Sequence[int], fresh: Sequence[int], roi_size: Sequence[int]
) -> Window:
    shape = image.geometry.shape
    data = np.zeros((len(image.data), *roi_size), dtype=np.float32)
    low = [max(at, 0) for at in start]
    high = [min(at + n, whole) for at, n, whole in zip(start, roi_size, shape, strict=True)]
    there = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    here = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    data[(slice(None), *here)] = image.data[(slice(None), *there)]
    return Window(
        data, image.geometry.cropped(start, roi_size), _triple(start), _triple(fresh), shape
    )


def _triple(values: Sequence[int]) -> Shape:
    i, j, k = (int(v) for v in values)
    return i, j, k
