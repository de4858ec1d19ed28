"""StructureSet: the regions that an RTSTRUCT file states, as contours in patient millimetres."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataelem import RawDataElement

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.codes import code_in
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, read_dataset, text_of
from unetr_app.labels import Code, Colour

RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

_CLOSED = "CLOSED_PLANAR"
_EXCLUSIVE = ("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")  # the second is no term, but written
_COPY_AGAIN = "Copy or export the file again."
_FURTHEST_MM = 1e6


@dataclass(frozen=True, eq=False)
class Roi:
    """One region of interest.

    Args:
        number: ROI Number.
        name: ROI Name; empty where it has none.
        colour: Recommended colour; black where it states none.
        type: What it is, in codes; None where it does not say.
        frame_uid: Frame of Reference UID of its contours; empty where it does not say.
        contours: (N, 3) LPS+ mm, closed.
        exclusive: Whether its contours cancel each other (CLOSEDPLANAR_XOR).
        set_aside: Number of contours that enclose nothing: points and open lines.
    """

    number: int
    name: str
    colour: Colour = (0, 0, 0)
    type: Code | None = None
    frame_uid: str = ""
    contours: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)
    exclusive: bool = False
    set_aside: int = 0


@dataclass(frozen=True, eq=False)
class StructureSet:
    """What a structure set states.

    Args:
        rois: In the order of the file.
        series_uids: Series that it refers to.
        path: The file, for messages.
    """

    rois: tuple[Roi, ...]
    series_uids: frozenset[str]
    path: PathLike


def read_structure_set(path: PathLike) -> StructureSet:
    """Read an RTSTRUCT file of any maker.

    Raises:
        UnreadableInput: If the file is damaged or no structure set, or a contour is no list of
            points.
    """
    dataset = read_dataset(path, pixels=True)
    try:
        if text_of(dataset, "SOPClassUID") != RTSTRUCT_CLASS:
            raise UnreadableInput(
                "the DICOM file is no structure set (RTSTRUCT)",
                cure="Give a file of that kind.", path=path,
            )  # fmt: skip
        stated = _rows(dataset, "StructureSetROISequence", "ROINumber")
        drawn = _rows(dataset, "ROIContourSequence", "ReferencedROINumber")
        observed = _rows(dataset, "RTROIObservationsSequence", "ReferencedROINumber")
        rois = tuple(
            _roi(number, stated.get(number, ()), drawn.get(number, ()), observed.get(number, ()),
                 path)
            for number in dict.fromkeys([*stated, *drawn])
        )  # fmt: skip
        series = frozenset(referenced_series(dataset))
    except PYDICOM_ERRORS as error:
        raise UnreadableInput(
            "the structure set is damaged", cure=_COPY_AGAIN, path=path
        ) from error
    if not rois:
        raise UnreadableInput("the structure set names no regions", cure=_COPY_AGAIN, path=path)
    return StructureSet(rois, series, path)


def referenced_series(dataset: Dataset) -> Iterator[str]:
    """The Series Instance UIDs that a structure set refers to."""
    for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items_of(frame, "RTReferencedStudySequence"):
            for series in items_of(study, "RTReferencedSeriesSequence"):
                yield text_of(series, "SeriesInstanceUID")


def items_of(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none where it is absent, empty or no sequence."""
    value: Any = dataset.get(keyword)
    return [item for item in value or () if isinstance(item, Dataset)]


def _rows(dataset: Dataset, sequence: str, keyword: str) -> dict[int, list[Dataset]]:
    """The items of a sequence by ROI number."""
    rows: dict[int, list[Dataset]] = {}
    for item in items_of(dataset, sequence):
        number = numbers_of(item, keyword, 1)
        if number is not None:
            rows.setdefault(int(number[0]), []).append(item)
    return rows


def _roi(
    number: int, stated: Sequence[Dataset], drawn: Sequence[Dataset], observed: Iterable[Dataset],
    path: PathLike,
) -> Roi:  # fmt: skip
    about = stated[0] if stated else Dataset()
    contours: list[NDArray[np.float64]] = []
    kinds: list[str] = []
    for item in drawn:
        for contour in items_of(item, "ContourSequence"):
            kind = text_of(contour, "ContourGeometricType").upper() or _CLOSED
            points = _points(contour, number, path)
            if kind in (_CLOSED, *_EXCLUSIVE) and len(points) >= 3:
                contours.append(points)
                kinds.append(kind)
            else:
                kinds.append("")
    codes = (code_in(item, "RTROIIdentificationCodeSequence") for item in observed)
    colours = (numbers_of(item, "ROIDisplayColor", 3) for item in drawn)
    return Roi(
        number,
        text_of(about, "ROIName"),
        _colour(next((c for c in colours if c is not None), None)),
        next((code for code in codes if code is not None), None),
        text_of(about, "ReferencedFrameOfReferenceUID"),
        tuple(contours),
        any(kind in _EXCLUSIVE for kind in kinds),
        kinds.count(""),
    )


def _colour(found: NDArray[np.float64] | None) -> Colour:
    if found is None or found.min() < 0 or found.max() > 255:
        return 0, 0, 0
    red, green, blue = (int(value) for value in found)
    return red, green, blue


def _points(contour: Dataset, number: int, path: PathLike) -> NDArray[np.float64]:
    """(N, 3) LPS+ mm; a first point that is repeated at the end is left out."""
    try:
        flat = _decimals(contour)
    except (TypeError, ValueError) as error:
        raise _no_points(number, path) from error
    if len(flat) % 3 or not np.isfinite(flat).all() or np.abs(flat).max(initial=0) > _FURTHEST_MM:
        raise _no_points(number, path)
    points = flat.reshape(-1, 3)
    while len(points) > 1 and np.array_equal(points[0], points[-1]):
        points = points[:-1]
    return points


def _decimals(contour: Dataset) -> NDArray[np.float64]:
    """Contour Data, straight from the file's text where that is at hand: there may be millions."""
    if "ContourData" not in contour:
        return np.empty(0)
    element = contour.get_item("ContourData")
    value = element.value if isinstance(element, RawDataElement) else None
    if isinstance(value, bytes):
        text = value.strip(b" \0")
        return np.array(text.split(b"\\") if text else [], np.bytes_).astype(np.float64)
    found = contour.get("ContourData")
    return np.array([] if found is None else found, np.float64).reshape(-1)


def _no_points(number: int, path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        f"a contour of ROI {number} is no list of points in millimetres", cure=_COPY_AGAIN,
        path=path,
    )  # fmt: skip


def names_of(rois: Sequence[Roi]) -> Mapping[int, str]:
    """A name for each ROI, by its place in the sequence; unique, and never empty."""
    names: dict[int, str] = {}
    taken: set[str] = set()
    for n, roi in enumerate(rois):
        first = " ".join(roi.name.split()) or f"ROI {roi.number}"
        name, again = first, 1
        while name.casefold() in taken:
            again += 1
            name = f"{first} ({again})"
        taken.add(name.casefold())
        names[n] = name
    return names
