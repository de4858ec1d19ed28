"""Series: the voxels of one volume that DICOM files hold, one file a slice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.index import SeriesVolume, index_slices
from unetr_app.io.dicom.pixels import read_planes
from unetr_app.io.dicom.slice import Slice, read_slice
from unetr_app.io.dicom.stack import Stack
from unetr_app.io.limits import check_voxels
from unetr_app.io.raster import Raster

_AIR_HU = -1000.0
_LOWEST_HU = -2048.0  # scanners clip at -1024 or here


def read_geometry(paths: Iterable[PathLike]) -> Geometry:
    """The grid of the one volume that the files hold; pixels are not read.

    Raises:
        UnreadableInput: If a file is damaged, or there is no volume.
        UnsafeGeometry: If the slices make no grid.
        InvalidRequest: If there are several volumes.
    """
    return _grid(_only_volume([read_slice(path) for path in paths]).stack)


def read(paths: Iterable[PathLike]) -> Raster:
    """Read the one volume that the files hold.

    Values are rescaled slice by slice (HU for CT), MONOCHROME1 is inverted. Padding becomes air
    (-1000 HU) in CT and background elsewhere.

    Args:
        paths: Files of one series, in any order.

    Raises:
        UnreadableInput: If a file is damaged, or there is no volume.
        UnsafeGeometry: If the slices make no grid.
        InvalidRequest: If there are several volumes.
    """
    volume = _only_volume([read_slice(path) for path in paths])
    slices = volume.stack.slices
    geometry = _grid(volume.stack)
    data = np.empty(geometry.shape, np.float32)
    padding: dict[int, NDArray[np.bool_]] = {}
    for k, (plane, _) in enumerate(read_planes(slices)):
        data[..., k] = plane.values
        if plane.padding is not None:
            padding[k] = plane.padding
    folder = _common_folder(slices)
    modality = slices[0].modality
    _fill_padding(data, padding, folder, air=_AIR_HU if modality == "CT" else None)
    warnings = (*volume.warnings, *(_implausible(data) if modality == "CT" else ()))
    return Raster(data, geometry, folder, modality, warnings)


def _only_volume(slices: Sequence[Slice]) -> SeriesVolume:
    volumes = index_slices(slices).volumes
    if len(volumes) == 1:
        return volumes[0]
    if volumes:
        raise InvalidRequest(
            f"there are {len(volumes)} volumes where one is needed",
            cure="Use find_cases, and read the one that you want.",
        )
    raise UnreadableInput(
        "there are DICOM files, but no slices of a volume among them "
        f"({slices[0].aside or 'directory' if slices else 'none at all'})",
        cure="Give the folder of a CT, MR or PET series.",
        path=slices[0].path if slices else None,
    )


def _grid(stack: Stack) -> Geometry:
    if stack.problem is not None:
        raise stack.problem
    assert stack.geometry is not None
    check_voxels(stack.geometry.shape, _common_folder(stack.slices))
    return stack.geometry


def _common_folder(slices: Sequence[Slice]) -> Path:
    return Path(os.path.commonpath([Path(s.path).absolute().parent for s in slices]))


def _fill_padding(
    data: NDArray[np.float32], padding: Mapping[int, NDArray[np.bool_]], folder: Path, *,
    air: float | None,
) -> None:  # fmt: skip
    """Replace padding in place, by ``air`` or the lowest real value.

    Outside CT, padding from 0 up to the lowest real value stays: it is background already, and
    normalisation over non-zero voxels counts on its zeros.
    """
    if not padding:
        return
    real = [
        data[..., k][~padding[k]] if k in padding else data[..., k] for k in range(data.shape[2])
    ]
    lowest = min((float(values.min()) for values in real if values.size), default=None)
    if lowest is None:
        raise UnreadableInput(
            "every pixel of the series is padding", cure="Export the series again.", path=folder
        )
    for k, where in padding.items():
        plane = data[..., k]
        if air is not None:
            plane[where] = air
        else:
            plane[where & ((plane < 0) | (plane > lowest))] = lowest


def _implausible(hu: NDArray[np.float32]) -> tuple[str, ...]:
    """Warnings about values that CT does not have."""
    lowest = float(hu.min())
    if lowest >= 0:
        return (f"the lowest value is {lowest:g} HU: the rescale intercept may be missing",)
    if lowest < _LOWEST_HU:
        return (f"the lowest value is {lowest:g} HU: padding may not be declared",)
    return ()
