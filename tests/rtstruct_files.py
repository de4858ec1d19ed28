"""RTSTRUCT files for the tests of reading: built tag by tag, apart from our own writer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from unetr_app.geometry import Geometry

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
Contour = tuple[str, NDArray[np.float64]]


@dataclass
class Roi:
    """A region to write: contours are (geometric type, (N, 3) LPS mm)."""

    name: str
    contours: Sequence[Contour] = ()
    number: int | None = None
    colour: Sequence[int] | None = (200, 30, 40)
    frame_uid: str = ""
    tags: dict[str, Any] = field(default_factory=dict)


def flat(geometry: Geometry, k: float, corners: Any, kind: str = "CLOSED_PLANAR") -> Contour:
    """A contour in the plane ``k`` of a grid, through corners (i, j)."""
    index = np.array([(i, j, k, 1) for i, j in corners], np.float64)
    return kind, (index @ geometry.affine_lps.T)[:, :3]


def box(
    geometry: Geometry, k: float, low: Sequence[float], high: Sequence[float], **options: str
) -> Contour:
    """A rectangle from corner ``low`` to corner ``high`` in the plane ``k``."""
    (a, b), (c, d) = low, high
    return flat(geometry, k, [(a, b), (c, b), (c, d), (a, d)], **options)


def save_rtstruct(
    path: Path, rois: Sequence[Roi], source: Path, *, digits: int = 4,
    syntax: UID = ExplicitVRLittleEndian, **tags: Any,
) -> Path:  # fmt: skip
    """Write a structure set that refers to the series of one of its slices."""
    first = pydicom.dcmread(source, stop_before_pixels=True)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTSTRUCT, generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName"):
        setattr(dataset, keyword, first.get(keyword, ""))
    dataset.ReferencedFrameOfReferenceSequence = [_referenced(first)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    for n, roi in enumerate(rois, start=1):
        number = n if roi.number is None else roi.number
        stated, drawn = Dataset(), Dataset()
        stated.ROINumber, stated.ROIName = number, roi.name
        stated.ReferencedFrameOfReferenceUID = roi.frame_uid or first.FrameOfReferenceUID
        drawn.ReferencedROINumber = number
        if roi.colour is not None:
            drawn.ROIDisplayColor = list(roi.colour)
        if roi.contours:
            drawn.ContourSequence = [_contour(c, digits, first) for c in roi.contours]
        for keyword, value in roi.tags.items():
            setattr(stated, keyword, value)
        dataset.StructureSetROISequence.append(stated)
        dataset.ROIContourSequence.append(drawn)
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
    return path


def _referenced(first: Dataset) -> Dataset:
    image, series, study, frame = (Dataset() for _ in range(4))
    image.ReferencedSOPClassUID = first.SOPClassUID
    image.ReferencedSOPInstanceUID = first.SOPInstanceUID
    series.SeriesInstanceUID, series.ContourImageSequence = first.SeriesInstanceUID, [image]
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _contour(contour: Contour, digits: int, first: Dataset) -> Dataset:
    kind, points = contour
    item, image = Dataset(), Dataset()
    image.ReferencedSOPClassUID = first.SOPClassUID
    image.ReferencedSOPInstanceUID = first.SOPInstanceUID
    item.ContourImageSequence = [image]
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [f"{value:.{digits}f}" for value in np.ravel(points)]
    return item
