"""Series: the voxels of one volume that DICOM files hold, slice by slice."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnevenSlices, UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.index import SeriesVolume, index_slices
from unetr_app.io.dicom.pixel_file import is_packed
from unetr_app.io.dicom.pixels import read_planes
from unetr_app.io.dicom.regularise import RegularGrid, regular_grid
from unetr_app.io.dicom.slice import Slice, read_slice
from unetr_app.io.dicom.stack import Stack
from unetr_app.io.dicom.suv import Tracer, to_suv, tracer_of
from unetr_app.io.limits import BOMB_BYTES, check_ratio, check_voxels
from unetr_app.io.raster import Raster

Frames = Sequence[tuple[str, int]]

_AIR_HU = -1000.0
_LOWEST_HU = -2048.0  # scanners clip at -1024 or here


def read_geometry(
    paths: Iterable[PathLike], *, frames: Frames = (), regularise: bool = False
) -> Geometry:
    """The grid of the one volume that the files hold; pixels are not read.

    Args:
        paths: As for `read`.
        frames: As for `read`.
        regularise: As for `read`.

    Raises:
        UnreadableInput: If a file is damaged, or there is no volume.
        UnsafeGeometry: If the slices make no grid.
        InvalidRequest: If there are several volumes.
    """
    return _grid(_only_volume(paths, frames).stack, regularise=regularise)[0]


def source_slices(paths: Iterable[PathLike], *, frames: Frames = ()) -> tuple[Slice, ...]:
    """The slices of the one volume that the files hold, in order along their normal.

    Args:
        paths: As for `read`.
        frames: As for `read`.

    Returns:
        One for each slice that there is, regularised or not; each with its file, frame and place.

    Raises:
        UnreadableInput: If a file is damaged, or there is no volume.
        InvalidRequest: If there are several volumes.
    """
    return _only_volume(paths, frames).stack.slices


def read(paths: Iterable[PathLike], *, frames: Frames = (), regularise: bool = False) -> Raster:
    """Read the one volume that the files hold.

    Values are rescaled slice by slice (HU for CT, SUV for PET where its tags allow), MONOCHROME1
    is inverted. Padding becomes air (-1000 HU) in CT and background elsewhere.

    Args:
        paths: Files of one series, in any order.
        frames: Path and frame number (from 0) of each slice wanted, where the files hold several
            volumes; empty where they hold one.
        regularise: Resample slices at uneven distances at even ones rather than refuse them.

    Raises:
        UnreadableInput: If a file is damaged, or there is no volume.
        UnsafeGeometry: If the slices make no grid.
        InvalidRequest: If there are several volumes.
    """
    volume = _only_volume(paths, frames)
    slices = volume.stack.slices
    geometry, grid = _grid(volume.stack, regularise=regularise)
    folder = _common_folder(slices)
    modality = slices[0].modality
    _check_packing(slices, folder)
    data = np.empty((*geometry.shape[:2], len(slices)), np.float32)
    padding: dict[int, NDArray[np.bool_]] = {}
    tracers: list[Tracer] = []
    for k, (plane, header) in enumerate(read_planes(slices)):
        data[..., k] = plane.values
        if plane.padding is not None:
            padding[k] = plane.padding
        if modality == "PT":
            tracers.append(tracer_of(header))
    _fill_padding(data, padding, folder, air=_AIR_HU if modality == "CT" else None)
    warnings = volume.warnings
    if modality == "CT":
        warnings += _implausible(data)
    if modality == "PT":
        warnings += (to_suv(data, tracers),)
    if grid is not None:
        data, warnings = grid.resample(data), (*warnings, grid.note)
    return Raster(data, geometry, folder, modality, warnings)


def _only_volume(paths: Iterable[PathLike], frames: Frames) -> SeriesVolume:
    slices = [read_slice(path) for path in paths]
    volumes = index_slices(slices).volumes
    if frames:
        wanted = set(frames)
        volumes = tuple(v for v in volumes if {(s.path, s.frame) for s in v.stack.slices} == wanted)
    if len(volumes) == 1:
        return volumes[0]
    if frames:
        raise UnreadableInput(
            "the files have changed: the frames that made a volume make none now",
            cure="Search the folder again.", path=slices[0].path if slices else None,
        )  # fmt: skip
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


def _grid(stack: Stack, *, regularise: bool) -> tuple[Geometry, RegularGrid | None]:
    """Where the slices lie, and how they come there if they must be resampled."""
    if regularise and isinstance(stack.problem, UnevenSlices):
        grid = regular_grid(stack)
        check_voxels(grid.geometry.shape, _common_folder(stack.slices))
        return grid.geometry, grid
    if stack.problem is not None:
        raise stack.problem
    assert stack.geometry is not None
    check_voxels(stack.geometry.shape, _common_folder(stack.slices))
    return stack.geometry, None


def _check_packing(slices: Sequence[Slice], folder: Path) -> None:
    """Refuse compressed files that promise many times as many pixels as any scan packs so small."""
    packed = {s.path for s in slices if is_packed(s.syntax)}
    promised = sum(2 * s.rows * s.columns for s in slices if s.path in packed)
    if promised > BOMB_BYTES:
        check_ratio(promised, sum(map(os.path.getsize, packed)), folder)


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
