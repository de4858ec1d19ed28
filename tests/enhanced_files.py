"""Enhanced multi-frame files, written group by group with pydicom alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from unetr_app.geometry import Geometry

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "MR": "1.2.840.10008.5.1.4.1.1.4.1",
    "PT": "1.2.840.10008.5.1.4.1.1.130",
}


@dataclass
class Frame:
    """One frame: stored pixels (rows, columns), LPS+ position, and groups by keyword."""

    pixels: NDArray[Any]
    position: Sequence[float]
    slope: float = 1.0
    intercept: float = 0.0
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _items(values: Mapping[str, Any]) -> Items:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, _items(value) if isinstance(value, Mapping) else value)
    return Items([item])


def frames_of_volume(
    stored: NDArray[np.integer[Any]], geometry: Geometry, **groups: Mapping[str, Any]
) -> list[Frame]:
    """A frame for each k of (I, J, K) stored values."""
    places = [geometry.affine_lps @ (0, 0, k, 1) for k in range(geometry.shape[2])]
    return [Frame(stored[..., k].T, places[k][:3], groups=groups) for k in range(len(places))]


def save_enhanced(
    path: Path, frames: Sequence[Frame], geometry: Geometry, *, modality: str = "MR",
    per_frame: bool = True, tags: Mapping[str, Any] | None = None, seed: int = 0,
) -> Path:  # fmt: skip
    """Write frames in the order given; orientation and measures once, or frame by frame."""
    axes = geometry.affine_lps[:3, :3] / np.asarray(geometry.spacing)
    fixed = {
        "PlaneOrientationSequence": {
            "ImageOrientationPatient": [f"{v:.9f}" for v in (*axes[:, 0], *axes[:, 1])]},
        "PixelMeasuresSequence": {
            "PixelSpacing": [f"{geometry.spacing[1]:.9g}", f"{geometry.spacing[0]:.9g}"],
            "SliceThickness": "1", "SpacingBetweenSlices": "17"},
    }  # fmt: skip
    file = Dataset()
    file.SOPClassUID = CLASSES[modality]
    file.SOPInstanceUID = generate_uid(entropy_srcs=[f"enhanced {seed} {path.name}"])
    file.StudyInstanceUID = generate_uid(entropy_srcs=[f"enhanced study {seed}"])
    file.SeriesInstanceUID = generate_uid(entropy_srcs=[f"enhanced series {seed}"])
    file.FrameOfReferenceUID = generate_uid(entropy_srcs=[f"enhanced frame {seed}"])
    file.Modality, file.SeriesNumber, file.InstanceNumber = modality, "7", "1"
    file.PatientID, file.PatientName = "SECRET-ID", "SECRET^NAME"
    file.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    rows, columns = frames[0].pixels.shape
    file.Rows, file.Columns, file.NumberOfFrames = rows, columns, str(len(frames))
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
    file.PixelRepresentation = int(frames[0].pixels.dtype.kind == "i")
    row = Dataset()
    row.DimensionIndexPointer = Tag("InStackPositionNumber")
    row.FunctionalGroupPointer = Tag("FrameContentSequence")
    file.DimensionIndexSequence = Items([row])
    file.SharedFunctionalGroupsSequence = _items({} if per_frame else fixed)
    file.PerFrameFunctionalGroupsSequence = Items([
        _items({
            **(fixed if per_frame else {}),
            "PlanePositionSequence": {"ImagePositionPatient": [f"{v:.9g}" for v in f.position]},
            "PixelValueTransformationSequence": {
                "RescaleSlope": str(f.slope), "RescaleIntercept": str(f.intercept),
                "RescaleType": "US"},
            **f.groups,
            "FrameContentSequence": {"FrameAcquisitionNumber": n + 1,
                                     **f.groups.get("FrameContentSequence", {})},
        })[0]
        for n, f in enumerate(frames)
    ])  # fmt: skip
    file.PixelData = b"".join(np.ascontiguousarray(f.pixels).tobytes() for f in frames)
    for keyword, value in (tags or {}).items():
        setattr(file, keyword, value)
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save_as(path, enforce_file_format=True)
    return path
