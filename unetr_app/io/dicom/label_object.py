"""LabelObject: a DICOM object that holds labels of other images, and which images those are."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from pydicom import Dataset

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.placed_frames import read_header
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, read_dataset, text_of
from unetr_app.io.dicom.structure_set import RTSTRUCT_CLASS, items_of, referenced_series
from unetr_app.io.formats import opening

LabelKind = Literal["seg", "rtstruct"]

_KINDS: dict[str, LabelKind] = {
    "1.2.840.10008.5.1.4.1.1.66.4": "seg",
    "1.2.840.10008.5.1.4.1.1.66.7": "seg",  # label map (Supplement 243)
    RTSTRUCT_CLASS: "rtstruct",
}
_OPENINGS = tuple(uid.encode() for uid in _KINDS)


@dataclass(frozen=True, eq=False)
class LabelObject:
    """What a SEG or RTSTRUCT file was drawn on.

    Args:
        path: The file.
        kind: Which of the two it is.
        series_uids: Series that it refers to; empty where it names none.
        sop_uids: Images that it refers to.
        frame_uid: Frame of Reference UID; empty where it has none.
    """

    path: str
    kind: LabelKind
    series_uids: frozenset[str] = field(repr=False)
    sop_uids: frozenset[str] = field(repr=False)
    frame_uid: str = field(default="", repr=False)


def label_kind(path: PathLike) -> LabelKind | None:
    """Which kind of labels a DICOM file holds; None where it holds none, or cannot be read."""
    try:
        head = opening(path)
        if not any(uid in head for uid in _OPENINGS):
            return None
        return _KINDS.get(text_of(read_dataset(path, pixels=False), "SOPClassUID"))
    except UnreadableInput:
        return None


def read_label_object(path: PathLike) -> LabelObject:
    """Which images a SEG or RTSTRUCT file refers to.

    Raises:
        UnreadableInput: If the file is damaged or neither of the two.
    """
    header = read_header(path)
    kind = _KINDS.get(text_of(header, "SOPClassUID"))
    if kind is None:
        raise UnreadableInput(
            "the DICOM file holds no labels", cure="Give a SEG or RTSTRUCT object.", path=path
        )
    try:
        if kind == "rtstruct":
            series, images = referenced_series(header), _images_of_structures(header)
        else:
            series, images = _series_of_seg(header), _images_of_seg(header)
        return LabelObject(
            str(path), kind, frozenset(filter(None, series)), frozenset(filter(None, images)),
            text_of(header, "FrameOfReferenceUID"),
        )  # fmt: skip
    except PYDICOM_ERRORS as error:
        raise UnreadableInput(
            "the DICOM headers are damaged", cure="Copy or export the file again.", path=path
        ) from error  # fmt: skip


def _series_of_seg(header: Dataset) -> Iterator[str]:
    for series in items_of(header, "ReferencedSeriesSequence"):
        yield text_of(series, "SeriesInstanceUID")


def _images_of_seg(header: Dataset) -> Iterator[str]:
    """PS3.3 C.12.1.4 (common instance reference) and C.7.6.16.2.6 (derivation image)."""
    for series in items_of(header, "ReferencedSeriesSequence"):
        yield from _instances(series, "ReferencedInstanceSequence")
    for groups in (
        *items_of(header, "SharedFunctionalGroupsSequence"),
        *items_of(header, "PerFrameFunctionalGroupsSequence"),
    ):
        for derived in items_of(groups, "DerivationImageSequence"):
            yield from _instances(derived, "SourceImageSequence")


def _images_of_structures(header: Dataset) -> Iterator[str]:
    for frame in items_of(header, "ReferencedFrameOfReferenceSequence"):
        for study in items_of(frame, "RTReferencedStudySequence"):
            for series in items_of(study, "RTReferencedSeriesSequence"):
                yield from _instances(series, "ContourImageSequence")
    for roi in items_of(header, "ROIContourSequence"):
        for contour in items_of(roi, "ContourSequence"):
            yield from _instances(contour, "ContourImageSequence")


def _instances(dataset: Dataset, keyword: str) -> Iterator[str]:
    for item in items_of(dataset, keyword):
        yield text_of(item, "ReferencedSOPInstanceUID")
