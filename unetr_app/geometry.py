"""Geometry: where the voxels of an array lie in the patient.

One frame inside the package: world coordinates are RAS+ millimetres (x grows to the patient's
right, y to the front, z to the head; NIfTI-1 standard, section "orientation and location in
space"). DICOM and ITK use LPS+ (DICOM PS3.3 C.7.6.2.1.1); `Geometry.from_lps` and
`Geometry.affine_lps` are the only conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetr_app.errors import UnsafeGeometry

Shape = tuple[int, int, int]
Triple = tuple[float, float, float]

_LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_AXIS_CODES = ("LR", "PA", "IS")  # negative, positive end of each RAS+ world axis
_SMALLEST_SINE = 1e-3  # columns closer to one plane than this span no volume


def _read_only(values: ArrayLike) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Geometry:
    """Shape and place of a voxel grid, valid from construction on.

    Args:
        shape: Voxels along i, j, k; each at least 1.
        affine: (4, 4), voxel index (i, j, k, 1) to RAS+ mm of that voxel's centre. The last row is
            (0, 0, 0, 1) and the columns span a volume. Shear is allowed (tilted CT gantries).

    Raises:
        UnsafeGeometry: If the affine is not finite, singular, or its last row is not (0, 0, 0, 1).

    Example:
        >>> Geometry((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0])).spacing
        (1.0, 1.0, 3.0)
    """

    shape: Shape
    affine: NDArray[np.float64]

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise UnsafeGeometry(f"the grid has shape {shape}; three axes of 1 or more are needed")
        affine = _read_only(self.affine)
        if affine.shape != (4, 4):
            raise UnsafeGeometry(f"the affine has shape {affine.shape}; (4, 4) is needed")
        if not np.isfinite(affine).all():
            raise UnsafeGeometry("the affine holds values that are not finite")
        if not np.array_equal(affine[3], (0.0, 0.0, 0.0, 1.0)):
            raise UnsafeGeometry(f"the affine's last row is {affine[3].tolist()}, not 0, 0, 0, 1")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if spacing.min() <= 0:
            raise UnsafeGeometry(f"the affine is singular: spacing {spacing.tolist()} mm")
        if abs(np.linalg.det(affine[:3, :3] / spacing)) < _SMALLEST_SINE:
            raise UnsafeGeometry("the affine is singular: its axes lie in one plane")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @classmethod
    def from_lps(cls, shape: Sequence[int], affine_lps: ArrayLike) -> Geometry:
        """Build from an affine into LPS+ mm, as DICOM and ITK state it."""
        return cls(tuple(shape), _LPS_FROM_RAS @ np.asarray(affine_lps, dtype=np.float64))  # pyright: ignore[reportArgumentType]

    @classmethod
    def from_parts(
        cls, shape: Sequence[int], spacing: ArrayLike, direction: ArrayLike, origin: ArrayLike
    ) -> Geometry:
        """Build from spacing (mm), direction (3, 3; unit columns) and origin (mm), all RAS+."""
        affine = np.eye(4)
        affine[:3, :3] = np.asarray(direction, dtype=np.float64) * np.asarray(spacing)
        affine[:3, 3] = np.asarray(origin)
        return cls(tuple(shape), affine)  # pyright: ignore[reportArgumentType]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Geometry):
            return NotImplemented
        return self.shape == other.shape and bool(np.array_equal(self.affine, other.affine))

    def __hash__(self) -> int:
        return hash((self.shape, (self.affine + 0.0).tobytes()))

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """(4, 4), voxel index to LPS+ mm."""
        return _LPS_FROM_RAS @ self.affine

    @property
    def spacing(self) -> Triple:
        """Millimetres between voxel centres along i, j, k."""
        i, j, k = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(i), float(j), float(k)

    @property
    def origin(self) -> Triple:
        """RAS+ mm of the centre of voxel (0, 0, 0)."""
        x, y, z = self.affine[:3, 3]
        return float(x), float(y), float(z)

    @property
    def direction(self) -> NDArray[np.float64]:
        """(3, 3); column n is the unit vector of array axis n in RAS+."""
        return self.affine[:3, :3] / np.asarray(self.spacing, dtype=np.float64)

    @property
    def extent_mm(self) -> Triple:
        """Field of view: shape times spacing, mm along i, j, k."""
        i, j, k = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return i, j, k

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def world_axes(self) -> Shape:
        """For each array axis, the world axis (0 x, 1 y, 2 z) that it runs along most closely."""
        cosine = np.abs(self.direction)
        i, j, k = max(permutations(range(3)), key=lambda p: sum(cosine[p[n], n] for n in range(3)))
        return i, j, k

    @property
    def orientation(self) -> str:
        """Axis codes: the anatomical direction in which each index grows, such as ``"RAS"``."""
        return "".join(
            _AXIS_CODES[w][int(self.affine[w, n] > 0)] for n, w in enumerate(self.world_axes)
        )

    @property
    def is_oblique(self) -> bool:
        """Is any array axis more than a hundredth of a degree off its world axis?"""
        aligned = [abs(self.direction[w, n]) for n, w in enumerate(self.world_axes)]
        return bool(min(aligned) < np.cos(np.deg2rad(0.01)))

    @property
    def is_sheared(self) -> bool:
        """Are the array axes not at right angles (a tilted gantry), by more than 1e-4?"""
        return bool(np.abs(self.direction.T @ self.direction - np.eye(3)).max() > 1e-4)

    def index_to_world(self, index: ArrayLike) -> NDArray[np.float64]:
        """RAS+ mm of voxel indices; (..., 3) to (..., 3), fractions allowed."""
        return np.asarray(index, dtype=np.float64) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def world_to_index(self, world: ArrayLike) -> NDArray[np.float64]:
        """Voxel indices (with fractions) of RAS+ mm points; (..., 3) to (..., 3)."""
        offset = np.asarray(world, dtype=np.float64) - self.affine[:3, 3]
        solved = np.linalg.solve(self.affine[:3, :3], offset[..., None])[..., 0]
        return np.asarray(solved, dtype=np.float64)

    def is_close(self, other: Geometry, tolerance_mm: float = 1e-3) -> bool:
        """Same shape, and no corner voxel further than ``tolerance_mm`` from the other's?"""
        if self.shape != other.shape:
            return False
        corners = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape]), axis=-1).reshape(-1, 3)
        apart = self.index_to_world(corners) - other.index_to_world(corners)
        return bool(np.linalg.norm(apart, axis=-1).max() <= tolerance_mm)

    def reorientation(self, codes: str) -> tuple[Shape, tuple[int, ...]]:
        """The permutation of axes, then the axes to flip, that bring the grid to ``codes``.

        Args:
            codes: Wanted axis codes, such as ``"RAS"``.

        Returns:
            Old axis for each new axis, and the new axes that are reversed.

        Raises:
            UnsafeGeometry: If ``codes`` does not name each world axis once.
        """
        wanted = [next((w for w, ends in enumerate(_AXIS_CODES) if c in ends), -1) for c in codes]
        if sorted(wanted) != [0, 1, 2]:
            raise UnsafeGeometry(f"{codes!r} are no axis codes; three such as 'RAS' are needed")
        here = self.orientation
        i, j, k = (self.world_axes.index(w) for w in wanted)
        flips = tuple(n for n, old in enumerate((i, j, k)) if here[old] != codes[n])
        return (i, j, k), flips

    def reoriented(self, codes: str) -> Geometry:
        """The same voxels with axes permuted and reversed towards ``codes``; exact."""
        order, flips = self.reorientation(codes)
        columns = self.affine[:3, :3][:, list(order)].copy()
        origin = self.affine[:3, 3].copy()
        shape = [self.shape[n] for n in order]
        for n in flips:
            origin += columns[:, n] * (shape[n] - 1)
            columns[:, n] *= -1
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = columns, origin
        return Geometry((shape[0], shape[1], shape[2]), affine)

    def cropped(self, start: Sequence[int], shape: Sequence[int]) -> Geometry:
        """The grid of the block that begins at index ``start``; negative starts extend it."""
        affine = self.affine.copy()
        affine[:3, 3] = self.index_to_world(start)
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)

    def respaced(self, spacing_mm: Sequence[float]) -> Geometry:
        """A grid over the same field of view with another spacing; outer voxel faces stay."""
        old = np.asarray(self.spacing)
        new = np.asarray(spacing_mm, dtype=np.float64)
        shape = np.maximum(np.round(np.asarray(self.shape) * old / new), 1).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] = self.direction * new
        affine[:3, 3] = self.index_to_world((new / old - 1) / 2)
        return Geometry((int(shape[0]), int(shape[1]), int(shape[2])), affine)
