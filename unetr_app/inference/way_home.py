"""WayHome: which voxels of the model grid a native voxel is made of, as MONAI's `Invertd` has it.

A preprocessing turns, resamples, crops and pads an image, step by step; `Invertd` undoes the steps
in reverse. What was cropped is filled with zeros, what was padded is cut off, and beyond the grid
that was resampled its outermost voxels count. Here the steps are taken together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.resample import axes_between, index_map, whole_index_map

Ends = tuple[tuple[int, int], ...]  # for each axis the first voxel and the one after the last

_RESAMPLES = ("Resize", "SpatialResample", "Zoom")
_MOVES = (  # whole voxels
    "BorderPad", "CenterScaleCrop", "CenterSpatialCrop", "Crop", "CropForeground", "DivisiblePad",
    "Flip", "Orientation", "Pad", "ResizeWithPadOrCrop", "Rotate90", "SpatialCrop", "SpatialPad",
)  # fmt: skip
_STAYS = ("Lambda",)
_WHOLE = 1e-3  # voxels within which a step is one of whole voxels


@dataclass(frozen=True)
class Step:
    """An image on its way through a preprocessing.

    Args:
        geometry: Where its voxels lie after a step.
        operations: What MONAI has noted of the step: names and arguments.
    """

    geometry: Geometry
    operations: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class WayHome:
    """From the model grid to the native grid.

    Args:
        model: The model grid.
        native: The native grid.
        known: Voxels of the model grid that go home; others count as zero.
        resampled: The grid that the resampling made; the model grid where nothing was resampled.
        before: The grid that was resampled; the native grid where nothing was.
        covered: Voxels of the native grid that are made of known ones; others are background.
        replicates: Do the outermost voxels of ``resampled`` count beyond it? Else zeros do.
    """

    model: Geometry
    native: Geometry
    known: Ends
    resampled: Geometry
    before: Geometry
    covered: Ends
    replicates: bool = True

    @classmethod
    def plain(cls, model: Geometry, native: Geometry) -> WayHome:
        """Of a preprocessing that resamples alone."""
        return cls(model, native, _whole(model), model, native, _whole(native))

    @property
    def is_whole(self) -> bool:
        """Does each voxel of one grid lie on one of the other's?"""
        return _is_whole(self.resampled, self.before)

    @property
    def limits(self) -> Ends | None:
        """Of ``resampled`` in voxels of the model grid, where its outermost voxels count beyond."""
        return _ends_on(self.model, self.resampled) if self.replicates else None

    def within(self, start: Sequence[int], shape: Sequence[int]) -> WayHome:
        """The same for a box of the model grid, outside of which there is nothing.

        Args:
            start: Its first voxel along each axis.
            shape: Its voxels along each axis.
        """
        inside = [
            (low := min(max(first - s, 0), n), max(low, min(stop - s, n)))
            for (first, stop), s, n in zip(self.known, start, shape, strict=True)
        ]
        return replace(self, model=self.model.cropped(start, shape), known=tuple(inside))


def find_way_home(steps: Sequence[Step], *, nearest: bool = False) -> WayHome:
    """The way back through the steps of a preprocessing, the native grid first.

    Args:
        steps: Where the image was before the first step, and after each.
        nearest: Do labels go home by the nearest voxel?

    Raises:
        UnusableBundle: If a step is not understood, or two resample.
    """
    grids, made_by = [steps[0].geometry], 0
    replicates = True
    for step in steps[1:]:
        known = [op for op in step.operations if op["class"] not in _STAYS]
        if strange := [op for op in known if op["class"] not in (*_RESAMPLES, *_MOVES)]:
            raise UnusableBundle(f"its preprocessing has {strange[0]['class']}")
        if _same(step.geometry, grids[-1]):
            continue
        resampling = [op for op in known if op["class"] in _RESAMPLES]
        if resampling and (len(known) > 1 or _fills(resampling[0])):
            raise UnusableBundle("a step of its preprocessing resamples, and pads or crops as well")
        if resampling and made_by:
            raise UnusableBundle("its preprocessing resamples twice")
        if resampling:
            made_by, replicates = len(grids), _replicates(resampling[-1])
            if nearest and resampling[-1]["class"] != "SpatialResample":
                raise UnusableBundle("its preprocessing resizes, by shapes and not by places")
        elif not known or not _is_whole(step.geometry, grids[-1]):
            raise UnusableBundle("a step of its preprocessing moves voxels without a note of it")
        grids.append(step.geometry)
    native, model = grids[0], grids[-1]
    if not made_by:
        known_ends = _common(model, grids)
        return WayHome(model, native, known_ends, model, native, _whole(native), replicates=False)
    return WayHome(
        model, native, _common(model, grids[made_by:]), grids[made_by], grids[made_by - 1],
        _common(native, grids[:made_by]), replicates,
    )  # fmt: skip


def _fills(operation: dict[str, Any]) -> bool:
    """Does it bring the image back to its old shape?"""
    return bool(operation.get("extra_info", {}).get("do_padcrop"))


def _replicates(operation: dict[str, Any]) -> bool:
    """Do the outermost voxels count beyond? Zeros do where they do not."""
    way = str(operation.get("extra_info", {}).get("padding_mode", "border"))
    if operation["class"] == "SpatialResample" and way not in ("border", "zeros"):
        raise UnusableBundle(f"its preprocessing pads by {way}")
    return operation["class"] != "SpatialResample" or way == "border"


def _same(one: Geometry, other: Geometry) -> bool:
    return one.shape == other.shape and one.is_close(other)


def _is_whole(here: Geometry, there: Geometry) -> bool:
    """Does each voxel of one grid lie on one of the other's?"""
    matrix, offset = index_map(here, there)
    whole = np.rint(matrix)
    steps = np.abs(matrix - whole) * np.array(there.shape)
    return (
        axes_between(whole) is not None
        and bool((np.abs(whole) <= 1).all())
        and bool((steps < _WHOLE).all())
        and bool((np.abs(offset - np.rint(offset)) < _WHOLE).all())
    )


def _whole(geometry: Geometry) -> Ends:
    return tuple((0, n) for n in geometry.shape)


def _ends_on(here: Geometry, there: Geometry) -> Ends:
    """The ends of a grid in voxels of another that differs by whole voxels."""
    matrix, offset = whole_index_map(here, there)
    ends = np.sort([offset, matrix @ (np.array(there.shape) - 1) + offset], axis=0)
    return tuple((int(first), int(last) + 1) for first, last in ends.T)


def _common(here: Geometry, grids: Sequence[Geometry]) -> Ends:
    """What several grids have in common, in voxels of one of them; each side at least 0."""
    every = [_ends_on(here, grid) for grid in grids]
    inside = [(max(e[axis][0] for e in every), min(e[axis][1] for e in every)) for axis in range(3)]
    return tuple((first, max(first, stop)) for first, stop in inside)
