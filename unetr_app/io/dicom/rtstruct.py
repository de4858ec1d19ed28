"""Writing of RTSTRUCT: labels as contours on the images that they were made from (PS3.3 A.19).

Each region of a slice is one closed contour through the half-way points between pixels inside and
outside, holes joined by a keyhole (see `unetr_app.io.dicom.outlines`). Implicit VR Little Endian,
because Contour Data may be longer than explicit VRs can say (PS3.3 C.8.8.6).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from scipy import ndimage

from unetr_app.errors import InvalidRequest, UnetrError, UnwritableOutput
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.io.dicom.codes import item_of
from unetr_app.io.dicom.heading import MAKER, begin
from unetr_app.io.dicom.outlines import outlines
from unetr_app.io.dicom.rtstruct_reader import read_rtstruct
from unetr_app.io.dicom.sources import Frames, SourceFrame, SourceSeries, read_sources
from unetr_app.io.dicom.structure_set import RTSTRUCT_CLASS
from unetr_app.labels import Label, LabelSet
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.volume import Segmentation

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"  # Detached Study Management; retired, and still asked for
_SERIES_NUMBER = 902
_LONGEST_NAME = 64  # ROI Name (LO)
_DECIMALS = 6  # of a contour's millimetres


def write_rtstruct(
    segmentation: Segmentation,
    sources: Sequence[PathLike],
    path: PathLike,
    *,
    edited: bool = False,
    frames: Frames = (),
) -> tuple[str, ...]:
    """Write labels as an RTSTRUCT file, read it back, and only then put it in place.

    What is read back, by `read_rtstruct` and by any reader that fills contours by the centres of
    pixels, is voxel for voxel what was written.

    Args:
        segmentation: The labels, on exactly the grid of the sources; they may overlap.
            ``provenance`` names the bundle.
        sources: The slices of the series, or one multi-frame file.
        path: The final name.
        edited: Has a person changed the labels?
        frames: As of `unetr_app.io.dicom.sources.read_sources`.

    Returns:
        What the user should know: empty labels, names that had to be cut, what a source lacks.

    Raises:
        UnreadableInput: If a source is damaged or lacks a UID.
        UnsafeGeometry: If the sources do not lie on the grid of the labels.
        InvalidRequest: If no label has a voxel.
        UnwritableOutput: If the file could not be written whole.
    """
    series = read_sources(sources, segmentation.geometry, frames=frames)
    notes = list(series.warnings)
    names = _names(segmentation.labels, notes)
    dataset = _begin(series)
    described = _description(segmentation, edited=edited)
    dataset.StructureSetROISequence = []
    dataset.ROIContourSequence = []
    dataset.RTROIObservationsSequence = []
    empty: list[str] = []
    for n, label in enumerate(segmentation.labels, start=1):
        contours = _contours(segmentation.mask(label.value), series)
        if not contours:
            empty.append(label.name)
        algorithm = "SEMIAUTOMATIC" if edited else "AUTOMATIC"
        dataset.StructureSetROISequence.append(
            _stated(label, names[label.value], series.frame_uid, algorithm, described)
        )
        dataset.ROIContourSequence.append(_drawn(label, contours))
        dataset.RTROIObservationsSequence.append(_observed(n, label))
    if len(empty) == len(segmentation.labels):
        raise InvalidRequest("no label has a voxel: there is nothing to draw", path=path)
    if empty:
        notes.append(f"written without contours, because they are empty: {', '.join(empty)}")
    with replacing(path) as part:
        dataset.save_as(part, enforce_file_format=True)
        _require_equal(part, segmentation, path)
    return tuple(notes)


def _begin(series: SourceSeries) -> Dataset:
    """The modules of PS3.3 A.19 but for the regions themselves."""
    dataset = begin(
        series.header, sop_class=RTSTRUCT_CLASS, modality="RTSTRUCT",
        series_description="Segmentation as contours", series_number=_SERIES_NUMBER,
        syntax=ImplicitVRLittleEndian,
    )  # fmt: skip
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = series.frame_uid
    dataset.PositionReferenceIndicator = str(series.header.get("PositionReferenceIndicator") or "")
    dataset.StructureSetLabel = MAKER
    dataset.StructureSetDescription = RESEARCH_NOTICE
    dataset.StructureSetDate = dataset.InstanceCreationDate
    dataset.StructureSetTime = dataset.InstanceCreationTime
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(series)]
    return dataset


def _referenced(series: SourceSeries) -> Dataset:
    """The images, as study, series and instances of one frame of reference."""
    instances = {frame.sop_uid: frame for frame in series.frames}
    of_series = Dataset()
    of_series.SeriesInstanceUID = series.series_uid
    of_series.ContourImageSequence = [_image(frame) for frame in instances.values()]
    of_study = Dataset()
    of_study.ReferencedSOPClassUID = _STUDY_CLASS
    of_study.ReferencedSOPInstanceUID = series.study_uid
    of_study.RTReferencedSeriesSequence = [of_series]
    item = Dataset()
    item.FrameOfReferenceUID = series.frame_uid
    item.RTReferencedStudySequence = [of_study]
    return item


def _image(frame: SourceFrame, *, numbered: bool = False) -> Dataset:
    """A reference to an image (PS3.3 10.3), with the frames at the place where ``numbered``."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = frame.sop_class, frame.sop_uid
    if numbered and frame.frames:
        item.ReferencedFrameNumber = list(frame.frames)
    return item


def _description(segmentation: Segmentation, *, edited: bool) -> str:
    bundle, version = (
        str(segmentation.provenance.get(key) or "") for key in ("bundle", "bundle_version")
    )
    said = " ".join(filter(None, (bundle or MAKER, version, "edited" if edited else "")))
    return _text(said)


def _text(words: str) -> str:
    """Words as the value representation LO takes them."""
    plain = "".join(c if c.isprintable() and c != "\\" else " " for c in words)
    return plain.strip()[:_LONGEST_NAME].rstrip()


def _names(labels: LabelSet, notes: list[str]) -> dict[int, str]:
    """The name of each label as a ROI Name, unique as before."""
    names: dict[int, str] = {}
    for label in labels:
        name = _text(label.name) or f"label {label.value}"
        if name.casefold() in (other.casefold() for other in names.values()):
            ending = f" {label.value}"
            name = name[: _LONGEST_NAME - len(ending)] + ending
        if name != label.name:
            notes.append(f"the name of label {label.value} was cut or changed to fit DICOM")
        names[label.value] = name
    return names


def _stated(label: Label, name: str, frame_uid: str, algorithm: str, described: str) -> Dataset:
    item = Dataset()
    item.ROINumber = label.value
    item.ReferencedFrameOfReferenceUID = frame_uid
    item.ROIName = name
    item.ROIGenerationAlgorithm = algorithm
    item.ROIGenerationDescription = described
    return item


def _drawn(label: Label, contours: list[Dataset]) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(label.colour)
    item.ReferencedROINumber = label.value
    if contours:
        item.ContourSequence = contours
    return item


def _observed(number: int, label: Label) -> Dataset:
    item = Dataset()
    item.ObservationNumber = number
    item.ReferencedROINumber = label.value
    if label.type is not None:
        item.RTROIIdentificationCodeSequence = [item_of(label.type)]
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = ""
    return item


def _contours(mask: NDArray[np.bool_], series: SourceSeries) -> list[Dataset]:
    """The closed contours of a label, slice by slice."""
    boxes = ndimage.find_objects(mask.view(np.uint8))
    box = boxes[0] if boxes else None
    if box is None:
        return []
    offset = np.array([box[0].start, box[1].start])
    affine = series.geometry.affine_lps
    found: list[Dataset] = []
    for k in range(box[2].start, box[2].stop):
        for line in outlines(mask[box[0], box[1], k]):
            index = np.column_stack([line + offset, np.full(len(line), k), np.ones(len(line))])
            points = index @ affine[:3].T
            found.append(_contour(points, series.frames[k], len(found) + 1))
    return found


def _contour(points: NDArray[np.float64], frame: SourceFrame, number: int) -> Dataset:
    """One closed contour on its image."""
    item = Dataset()
    item.ContourNumber = number
    item.ContourImageSequence = [_image(frame, numbered=True)]
    item.ContourGeometricType = "CLOSED_PLANAR"
    item.NumberOfContourPoints = len(points)
    item.ContourData = [_decimal(value) for value in points.ravel().tolist()]
    return item


def _decimal(value: float) -> str:
    """A decimal string (PS3.5 6.2, DS): at most 16 characters."""
    return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _require_equal(part: Path, segmentation: Segmentation, path: PathLike) -> None:
    """Read the file and compare each label, voxel for voxel, with what was meant."""
    failed = UnwritableOutput(
        "what was read back from the disk is not what was written",
        cure="Check that there is space, and that the disk is sound; then run again.", path=path,
    )  # fmt: skip
    try:
        found = read_rtstruct(part, segmentation.geometry)
    except UnetrError as error:
        raise failed from error
    for label in segmentation.labels:
        meant = segmentation.mask(label.value)
        there = label.value in found.labels.values
        if not (np.array_equal(found.mask(label.value), meant) if there else not meant.any()):
            raise failed
