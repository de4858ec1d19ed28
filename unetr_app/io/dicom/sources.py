"""SourceSeries: the images that an output was made from, place by place, without their pixels."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, generate_uid

from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.placed_frames import placed_frames, read_header
from unetr_app.io.dicom.slice import Slice, numbers_of, read_slice, text_of

Frames = Sequence[tuple[str, int]]
_ORIENTATION_TOLERANCE = 1e-4
_CURE = (
    "A DICOM output must name the images that it is made from: give them their UIDs back, or write "
    "NIfTI or NRRD."
)


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """The image at one place of the grid.

    Args:
        sop_class: Kind of object (SOP Class UID).
        sop_uid: SOP Instance UID.
        position: (3,) LPS+ mm of the first pixel's centre.
        frames: Numbers of the frames at this place, counted from 1; empty for a file of one slice.
    """

    sop_class: str
    sop_uid: str
    position: NDArray[np.float64]
    frames: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The images of one series, frame k at index k of the grid's third axis.

    Args:
        header: All headers of the first image; hold patient and study.
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        frame_uid: Frame of Reference UID; made up of the series' where it has none.
        modality: Modality code.
        geometry: The grid.
        orientation: (6,) unit vectors along a row and down a column, LPS+.
        pixel_spacing: mm between rows and between columns.
        thickness: Slice thickness, mm; the gap between slices where it is absent.
        frames: One for each index k.
        warnings: What was filled in.
        is_uneven: Do the images lie at uneven distances? Then only their own positions count.
    """

    header: Dataset = field(repr=False)
    study_uid: str
    series_uid: str
    frame_uid: str
    modality: str
    geometry: Geometry
    orientation: NDArray[np.float64]
    pixel_spacing: tuple[float, float]
    thickness: float
    frames: tuple[SourceFrame, ...]
    warnings: tuple[str, ...] = ()
    is_uneven: bool = False

    @property
    def gap(self) -> float:
        """Distance between neighbouring slices along their normal, mm; as positions have it."""
        normal = np.cross(self.orientation[:3], self.orientation[3:])
        return abs(float(normal @ self.geometry.affine_lps[:3, 2]))


def read_sources(
    paths: Sequence[PathLike], geometry: Geometry, *, uneven: bool = False, frames: Frames = (),
) -> SourceSeries:  # fmt: skip
    """Read the headers of the series that lies on a grid.

    Args:
        paths: The slices, or one file that holds them all.
        geometry: The grid, i along a row of pixels, j down the rows, k from slice to slice, as
            `read_volume` gives it.
        uneven: The images lie at uneven distances along the grid's k, of which each index is one.
        frames: Path and number (from 0) of each frame, where a multi-frame file holds several
            volumes; empty where it holds one.

    Raises:
        UnreadableInput: If a file is damaged, or lacks a UID that no output can do without.
        UnsafeGeometry: If the images do not lie on the grid.
        InvalidRequest: If there are no paths, or they are not of one series.
    """
    if not paths:
        raise InvalidRequest("no source images were given", cure="Name the files of the series.")
    header = read_header(paths[0])
    if numbers_of(header, "ImagePositionPatient", 3) is None and "NumberOfFrames" in header:
        if len(paths) > 1:
            raise InvalidRequest(
                f"{len(paths)} multi-frame files were given where one can be the source",
                cure="Give one of them.",
            )
        found = _planes_of_frames(header, paths[0])
        wanted = {number + 1 for _, number in frames}
        found = [plane for plane in found if not wanted or plane.number in wanted]
    else:
        found = [_plane_of(read_slice(path)) for path in paths]
    _require_uids(header, found, paths[0])
    places = (_in_order if uneven else _placed)(found, geometry)
    series = _series(header, found[0], places, geometry)
    return replace(series, is_uneven=True) if uneven else series


@dataclass(frozen=True, eq=False)
class _Plane:
    """Where one slice or frame lies, and whose it is."""

    path: str
    sop_class: str
    sop_uid: str
    series: tuple[str, str]
    size: tuple[int, int]
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]
    number: int = 0
    thickness: float | None = None


def _plane_of(slice_: Slice) -> _Plane:
    if slice_.missing:
        raise UnsafeGeometry(slice_.missing, cure="Give the slices of a volume.", path=slice_.path)
    assert slice_.position is not None
    assert slice_.orientation is not None
    assert slice_.spacing is not None
    return _Plane(
        slice_.path, slice_.sop_class, slice_.sop_uid, (slice_.study_uid, slice_.series_uid),
        (slice_.columns, slice_.rows), slice_.position, slice_.orientation, slice_.spacing,
    )  # fmt: skip


def _planes_of_frames(header: Dataset, path: PathLike) -> list[_Plane]:
    uids = {
        word: text_of(header, word)
        for word in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    }
    sizes = [numbers_of(header, word, 1) for word in ("Columns", "Rows")]
    columns, rows = (0 if size is None else int(size[0]) for size in sizes)
    return [
        _Plane(
            str(path), uids["SOPClassUID"], uids["SOPInstanceUID"],
            (uids["StudyInstanceUID"], uids["SeriesInstanceUID"]), (columns, rows),
            frame.position, frame.orientation, frame.spacing, frame.number, frame.thickness,
        )
        for frame in placed_frames(header, path)
    ]  # fmt: skip


def _require_uids(header: Dataset, found: Sequence[_Plane], path: PathLike) -> None:
    """Refuse where a UID is absent by which the output refers to its source."""
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not _is_uid(text_of(header, keyword)):
            raise UnreadableInput(f"{keyword} is absent or no UID", cure=_CURE, path=path)
    if len({plane.series for plane in found}) > 1:
        raise InvalidRequest(
            "the source images are of several series", cure="Give the files of one series."
        )
    for plane in found:
        for keyword, uid in (("SOPClassUID", plane.sop_class), ("SOPInstanceUID", plane.sop_uid)):
            if not _is_uid(uid):
                raise UnreadableInput(f"{keyword} is absent or no UID", cure=_CURE, path=plane.path)


def _is_uid(text: str) -> bool:
    return bool(text) and UID(text).is_valid


def _placed(found: Sequence[_Plane], geometry: Geometry) -> tuple[SourceFrame, ...]:
    """The image at each index k; every image must lie on the grid, and every k have one."""
    affine = geometry.affine_lps
    places: dict[int, list[_Plane]] = {}
    for plane in found:
        _require_parallel(plane, geometry)
        index = np.linalg.solve(affine[:3, :3], plane.position - affine[:3, 3])
        k = round(float(index[2]))
        off = float(np.linalg.norm(affine[:3] @ (0, 0, k, 1) - plane.position))
        if not 0 <= k < geometry.shape[2] or off > max(0.01, 0.01 * geometry.spacing[2]):
            raise _elsewhere("an image lies beside the grid", plane)
        places.setdefault(k, []).append(plane)
    empty = next((k for k in range(geometry.shape[2]) if k not in places), None)
    if empty is not None:
        raise UnsafeGeometry(
            f"no source image lies at index {empty} of the grid's {geometry.shape[2]} slices",
            cure="Give all files of the series that was segmented.",
        )
    twice = next((p[1] for p in places.values() if len(p) > 1 and not p[1].number), None)
    if twice is not None:
        raise _elsewhere("two images lie at the same place", twice)
    return tuple(_frame(places[k]) for k in range(geometry.shape[2]))


def _in_order(found: Sequence[_Plane], geometry: Geometry) -> tuple[SourceFrame, ...]:
    """The images along the grid's k, wherever each lies; as many as the grid has slices."""
    if len(found) != geometry.shape[2]:
        raise UnsafeGeometry(
            f"there are {len(found)} source images for {geometry.shape[2]} slices",
            cure="Give all files of the series that was segmented.",
        )
    for plane in found:
        _require_parallel(plane, geometry)
    step = geometry.affine_lps[:3, 2]
    ordered = sorted(found, key=lambda plane: float(plane.position @ step))
    return tuple(_frame([plane]) for plane in ordered)


def _require_parallel(plane: _Plane, geometry: Geometry) -> None:
    """Refuse an image of another size, orientation or spacing than the grid's planes."""
    if plane.size != geometry.shape[:2]:
        raise _elsewhere(
            f"images of {plane.size[0]} columns and {plane.size[1]} rows do not fit a grid of "
            f"{geometry.shape}", plane,
        )  # fmt: skip
    along = geometry.direction * ((-1.0,), (-1.0,), (1.0,))  # (3, 3), LPS+
    turned = np.abs(plane.orientation - along[:, :2].T.ravel()).max()
    stretched = np.abs(plane.spacing[::-1] / geometry.spacing[:2] - 1).max()
    if turned > _ORIENTATION_TOLERANCE or stretched > _ORIENTATION_TOLERANCE:
        raise _elsewhere("the images are turned or scaled against the grid", plane)


def _frame(planes: Sequence[_Plane]) -> SourceFrame:
    first = planes[0]
    numbers = tuple(plane.number for plane in planes if plane.number)
    return SourceFrame(first.sop_class, first.sop_uid, first.position, numbers)


def _elsewhere(what: str, plane: _Plane) -> UnsafeGeometry:
    return UnsafeGeometry(
        what, cure="Give the files of the series that was segmented, and a segmentation on exactly "
                   "their grid.",
        path=plane.path,
    )  # fmt: skip


def _series(
    header: Dataset, first: _Plane, frames: tuple[SourceFrame, ...], geometry: Geometry
) -> SourceSeries:
    notes: list[str] = []
    series_uid = text_of(header, "SeriesInstanceUID")
    frame_uid = text_of(header, "FrameOfReferenceUID")
    if not _is_uid(frame_uid):
        frame_uid = generate_uid(entropy_srcs=["unetr-app frame of reference", series_uid])
        notes.append(
            "the source has no FrameOfReferenceUID: one was made for this series, the same in "
            "every output"
        )
    normal = np.cross(first.orientation[:3], first.orientation[3:])
    gap = abs(float(normal @ geometry.affine_lps[:3, 2]))
    stated = numbers_of(header, "SliceThickness", 1)
    thickness = first.thickness if stated is None else float(stated[0])
    if thickness is None or thickness <= 0:
        thickness = gap
    down, along = (float(value) for value in first.spacing)
    return SourceSeries(
        header, text_of(header, "StudyInstanceUID"), series_uid, frame_uid,
        text_of(header, "Modality"), geometry, first.orientation, (down, along), thickness, frames,
        tuple(notes),
    )  # fmt: skip
