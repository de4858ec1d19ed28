"""Planes: the axial, coronal and sagittal slices that show a segmentation best.

Slices are shown in radiological convention: the patient's left on the picture's right, as if seen
from the feet (axial) or from the front (coronal); sagittal slices face left, the front of the
patient on the picture's left. With array axes that grow to the left, the back and the feet
(``"LPI"``), columns and rows of every plane follow the arrays. On oblique grids the nearest axes
are taken, without interpolation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry, Shape
from unetr_app.volume import Segmentation, Volume, reoriented_array

Block = tuple[slice, slice, slice]

CODES = "LPI"
_CONTEXT = 2.0  # a picture shows this many times the labels' extent ...
_LEAST_MM = 60.0  # ... and at least this much
_NEARLY_ALL = 0.75  # of the field of view: then all of it
_SLIMMEST = 0.4  # no side shorter than this share of the longest, where the image allows
_SAMPLE = 500_000  # voxels that an intensity window is estimated from
_CT_WINDOW = (-160.0, 240.0)  # HU; soft tissue: level 40, width 400


@dataclass(frozen=True)
class Plane:
    """One of the three anatomical planes.

    Args:
        name: ``"axial"``, ``"coronal"`` or ``"sagittal"``.
        axis: Axis of an ``"LPI"`` array that is cut.
        letters: Anatomical directions at the left, right, upper and lower edge.
        ends: Anatomical directions of the cut axis, towards negative and positive RAS+ mm.
    """

    name: str
    axis: int
    letters: str
    ends: str


PLANES = (
    Plane("axial", 2, "RLAP", "IS"),
    Plane("coronal", 1, "RLSI", "PA"),
    Plane("sagittal", 0, "APSI", "LR"),
)


@dataclass(frozen=True, eq=False)
class View:
    """What one plane shows: arrays as they are drawn, first row on top, first column on the left.

    Args:
        plane: Which plane.
        image: (rows, columns) intensities; None where there is no volume.
        masks: For each segmentation, (rows, columns) mask by label value; empty ones left out.
        size_mm: Width and height in mm.
        position: Where the slice lies, as in ``"S 12 mm"``; empty on oblique grids.
        is_cropped: Is there more of the volume than is shown?
    """

    plane: Plane
    image: NDArray[np.float32] | None
    masks: tuple[Mapping[int, NDArray[np.bool_]], ...]
    size_mm: tuple[float, float]
    position: str
    is_cropped: bool


def views(volume: Volume | None, segmentations: Sequence[Segmentation]) -> list[View]:
    """Cut the three planes through the labels, cropped to their surroundings.

    One segmentation is cut where most voxels are labelled; two are cut where most voxels differ.
    Without any such voxel the cuts go through the centre.

    Args:
        volume: Shown by its first channel; None where there is none.
        segmentations: One or two, on the volume's grid and on one another's.

    Returns:
        Axial, coronal and sagittal view.
    """
    geometry = segmentations[0].geometry.reoriented(CODES)
    maps = [reoriented_array(s.data, s.geometry, CODES) for s in segmentations]
    labelled = _any(maps)
    cut = _fullest(_differing(maps) if len(maps) == 2 else labelled, labelled)
    block = _surroundings(labelled, geometry)
    image = None
    if volume is not None:
        image = reoriented_array(volume.data[0], volume.geometry, CODES)
    values = [s.labels.values for s in segmentations]
    pairs = list(zip(maps, values, strict=True))
    return [_view(plane, cut, block, (geometry, image, pairs)) for plane in PLANES]


def views_at(volume: Volume, voxel: Sequence[int]) -> list[View]:
    """Cut the three planes through a voxel, uncropped and without labels.

    Args:
        volume: Shown by its first channel.
        voxel: Index i, j, k on its grid.

    Returns:
        Axial, coronal and sagittal view.
    """
    order, flips = volume.geometry.reorientation(CODES)
    geometry = volume.geometry.reoriented(CODES)
    image = reoriented_array(volume.data[0], volume.geometry, CODES)
    i, j, k = (
        geometry.shape[n] - 1 - int(voxel[old]) if n in flips else int(voxel[old])
        for n, old in enumerate(order)
    )
    a, b, c = geometry.shape
    block = (slice(0, a), slice(0, b), slice(0, c))
    return [_view(plane, (i, j, k), block, (geometry, image, [])) for plane in PLANES]


def intensity_window(volume: Volume, *, channel: int = 0) -> tuple[float, float]:
    """Lowest and highest intensity to show: soft tissue for CT, else 0.5 to 99.5 percent.

    Where nearly all voxels are alike, all intensities are shown; so is a CT by its percentiles
    that holds nothing of the soft-tissue window.

    Args:
        volume: Any grid.
        channel: Which channel is shown.

    Returns:
        Black and white intensity; white is above black.
    """
    data = volume.data[channel]
    low, high = (float(p) for p in np.percentile(_sample(data), (0.5, 99.5)))
    if looks_like_ct(volume) and low < _CT_WINDOW[1] and high > _CT_WINDOW[0]:
        return _CT_WINDOW
    if high <= low:
        low, high = float(data.min()), float(data.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def looks_like_ct(volume: Volume) -> bool:
    """Is it CT: said so, or of unknown modality with air at -1000 HU and tissue round 0 HU?"""
    if volume.modality:
        return volume.modality == "CT"
    low, high = np.percentile(_sample(volume.data[0]), (1, 99))
    return bool(-3100 <= low <= -800 and -100 <= high <= 4000)


def _sample(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Some of (I, J, K) voxels, spread evenly over the grid."""
    step = max(1, round((data.size / _SAMPLE) ** (1 / 3)))
    return data[::step, ::step, ::step]


def _any(maps: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    found = np.zeros(maps[0].shape[-3:], dtype=bool)
    for labels in maps:
        found |= labels != 0 if labels.ndim == 3 else labels.any(axis=0)
    return found


def _differing(maps: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    first, second = maps
    if first.shape != second.shape:  # a label map and masks: no telling which differ
        return np.zeros(first.shape[-3:], dtype=bool)
    return first != second if first.ndim == 3 else (first != second).any(axis=0)


def _fullest(first: NDArray[np.bool_], otherwise: NDArray[np.bool_]) -> Shape:
    """For each axis, the index whose slice holds most voxels of ``first``, else ``otherwise``."""
    for mask in (first, otherwise):
        if mask.any():
            i, j, k = (int(np.argmax(count)) for count in _profiles(mask))
            return i, j, k
    i, j, k = (n // 2 for n in first.shape)
    return i, j, k


def _profiles(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """For each axis, how many voxels of the mask each slice holds."""
    columns = np.count_nonzero(mask, axis=2)
    return [columns.sum(axis=1), columns.sum(axis=0), np.count_nonzero(mask, axis=(0, 1))]


def _surroundings(labelled: NDArray[np.bool_], geometry: Geometry) -> Block:
    """The block of the grid that shows the labels with some of what lies round them."""
    spacing, shape = np.array(geometry.spacing), np.array(geometry.shape)
    there = [np.flatnonzero(profile) for profile in _profiles(labelled)]
    if not all(found.size for found in there):
        return slice(0, shape[0]), slice(0, shape[1]), slice(0, shape[2])
    first = np.array([found[0] for found in there])
    last = np.array([found[-1] for found in there]) + 1
    wanted = np.maximum((last - first) * spacing * _CONTEXT, _LEAST_MM)
    wanted = np.maximum(wanted, _SLIMMEST * wanted.max())
    wanted = np.where(wanted > _NEARLY_ALL * shape * spacing, shape * spacing, wanted)
    voxels = np.minimum(np.ceil(wanted / spacing), shape).astype(int)
    start = np.clip((first + last - voxels) // 2, 0, shape - voxels)
    i, j, k = (slice(int(s), int(s + n)) for s, n in zip(start, voxels, strict=True))
    return i, j, k


_Pairs = list[tuple[NDArray[Any], tuple[int, ...]]]


def _view(
    plane: Plane, cut: Shape, block: Block,
    shown: tuple[Geometry, NDArray[np.float32] | None, _Pairs],
) -> View:  # fmt: skip
    geometry, image, maps = shown
    where: list[Any] = list(block)
    where[plane.axis] = cut[plane.axis]
    rows, columns = [n for n in (2, 1, 0) if n != plane.axis]
    lengths = [(block[n].stop - block[n].start) * geometry.spacing[n] for n in (columns, rows)]
    size = [block[n].stop - block[n].start for n in (columns, rows)]
    return View(
        plane,
        None if image is None else np.asarray(image[tuple(where)].T),
        tuple(_masks(data, values, tuple(where)) for data, values in maps),
        (lengths[0], lengths[1]),
        _position(plane, cut, geometry),
        size != [geometry.shape[n] for n in (columns, rows)],
    )


def _masks(
    data: NDArray[Any], values: tuple[int, ...], where: tuple[Any, ...]
) -> dict[int, NDArray[np.bool_]]:
    if data.ndim == 4:
        cuts = {v: data[n][where].T for n, v in enumerate(values)}
        return {v: np.asarray(mask) for v, mask in cuts.items() if mask.any()}
    slice_ = np.asarray(data[where].T)
    return {int(v): slice_ == v for v in np.unique(slice_) if v != 0}


def _position(plane: Plane, cut: Shape, geometry: Geometry) -> str:
    if geometry.is_oblique:
        return ""
    mm = round(float(geometry.index_to_world(cut)[plane.axis]))
    return f"{plane.ends[int(mm > 0)]} {abs(mm)} mm"
