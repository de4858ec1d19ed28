"""Slice: the headers of one DICOM slice that decide which volume it belongs to, and where."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import config
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.deflated import open_dicom
from unetr_app.io.dicom.header import PYDICOM_ERRORS, Header
from unetr_app.io.dicom.moment import MOMENT_NUMBERS, MOMENT_TAGS, NO_MOMENT, Moment, moment_of
from unetr_app.io.integrity import unreadable
from unetr_app.io.limits import MAX_SLICE_PIXELS

# What a value may be is judged here. pydicom's own warnings would repeat it, and it may be a name;
# filters for warnings would not do, because threads share them.
config.settings.reading_validation_mode = config.IGNORE

_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_ENHANCED = {
    "1.2.840.10008.5.1.4.1.1.2.1",  # CT
    "1.2.840.10008.5.1.4.1.1.2.2",  # CT, legacy converted
    "1.2.840.10008.5.1.4.1.1.4.1",  # MR
    "1.2.840.10008.5.1.4.1.1.4.3",  # MR, colour
    "1.2.840.10008.5.1.4.1.1.4.4",  # MR, legacy converted
    "1.2.840.10008.5.1.4.1.1.128.1",  # PET, legacy converted
    "1.2.840.10008.5.1.4.1.1.130",  # PET
}
_SLICED = {
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.128",  # PET
    "1.2.840.10008.5.1.4.1.1.20",  # nuclear medicine
}
_UNPACKED = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"}
_KEYWORDS = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "PatientID", "PatientName", "Modality", "SeriesNumber",
    "InstanceNumber", "AcquisitionNumber", "EchoNumbers", "TemporalPositionIdentifier",
    "ImageType", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated",
    "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope",
    "SpecificCharacterSet", "SeriesDescription", *MOMENT_TAGS,
)  # fmt: skip


_TAGS: list[int] = [Tag(keyword) for keyword in _KEYWORDS]
_NUMERIC = {
    **dict.fromkeys(("Rows", "Columns", "SamplesPerPixel", "BitsAllocated"), "US"),
    **MOMENT_NUMBERS,
}


@dataclass(frozen=True, eq=False, slots=True)
class Slice:
    """The headers of one file, or of one frame; what is absent or not understood is None or empty.

    Args:
        path: The file.
        sop_class: Kind of object (SOP Class UID).
        sop_uid: The object's own UID.
        study_uid: Study Instance UID.
        series_uid: Series Instance UID.
        frame_uid: Frame of Reference UID.
        patient: Patient's id and name, to tell two patients apart; never shown.
        modality: Modality code.
        series_number: Series Number.
        instance: Instance Number.
        acquisition: Acquisition Number, as text.
        echo: Echo number and temporal position, as text.
        image_type: Values of Image Type.
        rows: Pixels along the second array axis.
        columns: Pixels along the first array axis.
        frames: Number of frames in the file; 1 for an ordinary slice.
        frame: Which of them this is, from 0.
        dimensions: What may tell frames at one place apart: names and values, in order of weight.
        samples: Values a pixel.
        is_truncated: Whether the file is smaller than the unpacked pixels that it promises.
        position: (3,) LPS+ mm of the first pixel's centre.
        orientation: (6,) unit vectors along a row and down a column, LPS+.
        spacing: (2,) mm between rows and between columns.
        slope: Rescale Slope; 1 where absent.
        is_rescaled: Is a Rescale Slope stated?
        syntax: Transfer Syntax UID.
        moment: When and how it was acquired.
        description: Series Description, to be matched by rules; never shown.
        member: Where it lies in an archive, if it does; the path is then that of a copy.
    """

    path: str
    sop_class: str = ""
    sop_uid: str = ""
    study_uid: str = ""
    series_uid: str = ""
    frame_uid: str = ""
    patient: tuple[str, str] = field(default=("", ""), repr=False)
    modality: str = ""
    series_number: int | None = None
    instance: int | None = None
    acquisition: str = ""
    echo: str = ""
    image_type: tuple[str, ...] = ()
    rows: int = 0
    columns: int = 0
    frames: int = 1
    frame: int = 0
    dimensions: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    samples: int = 1
    is_truncated: bool = False
    position: NDArray[np.float64] | None = None
    orientation: NDArray[np.float64] | None = None
    spacing: NDArray[np.float64] | None = None
    slope: float | None = 1.0
    is_rescaled: bool = False
    syntax: str = ""
    moment: Moment = NO_MOMENT
    description: str = field(default="", repr=False)
    member: str = ""

    @property
    def where(self) -> str:
        """Its path, or that of the archive with its place inside; the same in every run."""
        return self.member or self.path

    @property
    def name(self) -> str:
        """Its name in a message: the file, and the frame (from 1) where there are several."""
        name = os.path.basename(self.path)
        return f"{name} frame {self.frame + 1}" if self.frames > 1 else name

    @property
    def is_directory(self) -> bool:
        """Is it a DICOMDIR, a list of other files?"""
        return self.sop_class == _MEDIA_DIRECTORY

    @property
    def is_enhanced(self) -> bool:
        """Does the file hold several frames, each with a place of its own?"""
        return self.frames > 1 or self.sop_class in _ENHANCED

    @property
    def is_mosaic(self) -> bool:
        """Are many slices tiled into one picture (Siemens)?"""
        return "MOSAIC" in self.image_type

    @property
    def aside(self) -> str:
        """Why the object is no part of any volume; empty where it may be."""
        if "LOCALIZER" in self.image_type:
            return "localizer"
        if "SCREEN SAVE" in self.image_type:
            return "not an image of slices"
        if self.sop_class in _SLICED or self.sop_class in _ENHANCED:
            return ""
        placed = self.position is not None and self.orientation is not None
        pictured = self.samples == 1 and self.frames == 1 and self.rows and self.columns
        if pictured and (placed or not self.sop_class):
            return ""
        if self.frames > 1:
            return (f"{self.frames} frames of a kind that is no stack of slices, such as "
                    "angiography, ultrasound or a screen capture")  # fmt: skip
        return "not an image of slices"

    @property
    def missing(self) -> str:
        """The tag without which the slice has no place, or whose value cannot be; else empty."""
        if self.position is None:
            return "ImagePositionPatient is absent or not three numbers"
        if self.orientation is None:
            return "ImageOrientationPatient is absent or not six numbers"
        row, column = self.orientation[:3], self.orientation[3:]
        lengths = np.linalg.norm(row), np.linalg.norm(column)
        if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(row @ column)) > 1e-3:
            return "ImageOrientationPatient does not hold two perpendicular unit vectors"
        if self.spacing is None:
            return "PixelSpacing is absent or not two numbers"
        if self.spacing.min() <= 0:
            return f"PixelSpacing is {self.spacing[0]:g}, {self.spacing[1]:g} mm"
        if not 0 < self.rows * self.columns <= MAX_SLICE_PIXELS:
            return f"Rows and Columns are {self.rows} and {self.columns}"
        if self.samples != 1:
            return f"SamplesPerPixel is {self.samples} (colour)"
        if self.slope is None or self.slope == 0:
            return "RescaleSlope is 0 or not a number"
        return ""


def read_slice(path: PathLike, *, member: str = "") -> Slice:
    """Read the headers of a DICOM file; pixels are left where they are.

    Args:
        path: The file.
        member: Where it lies in an archive, if it is a copy from there.

    Raises:
        UnreadableInput: If the file is empty, damaged or no DICOM.
    """
    with open_dicom(path) as file:
        file_bytes = file.seek(0, os.SEEK_END)
        file.seek(0)
        if not file_bytes:
            raise UnreadableInput("the file is empty", cure="Copy or export it again.", path=path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _parsed(file, path, pixels=False)
            left = file_bytes - file.tell()  # parsing stopped where the pixels begin
            found = _slice_of(dataset, os.fspath(path), left, member)
    if not found.rows and not found.series_uid and not found.is_directory:
        raise UnreadableInput(
            "the DICOM headers are cut short or damaged", cure="Copy or export the file again.",
            path=path,
        )  # fmt: skip
    return found


def read_dataset(path: PathLike, *, pixels: bool) -> pydicom.Dataset:
    """Read a DICOM file; its data elements are parsed when they are asked for.

    Args:
        path: The file.
        pixels: Whether to read everything, or only what a `Slice` needs.

    Raises:
        UnreadableInput: If pydicom cannot read it.
    """
    with open_dicom(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _parsed(file, path, pixels=pixels)


def _parsed(file: BinaryIO, path: PathLike, *, pixels: bool) -> pydicom.Dataset:
    try:
        if pixels:
            return pydicom.dcmread(file, force=True)
        return pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
    except OSError as error:
        raise unreadable(error, path) from error
    except PYDICOM_ERRORS as error:
        raise UnreadableInput(
            "the DICOM headers are damaged", cure="Copy or export the file again.", path=path
        ) from error  # fmt: skip


def text_of(dataset: pydicom.Dataset, keyword: str) -> str:
    """A value as text; empty where it is absent or cannot be read."""
    value = _value(dataset, keyword)
    return "" if value is None else str(value).strip(" \0")


def numbers_of(dataset: pydicom.Dataset, keyword: str, count: int) -> NDArray[np.float64] | None:
    """``count`` finite numbers, or None."""
    value = _value(dataset, keyword)
    try:
        values = np.array(value, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return values if values.shape == (count,) and np.isfinite(values).all() else None


def _value(dataset: pydicom.Dataset, keyword: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dataset.get(keyword)
        except PYDICOM_ERRORS:
            return None


def _slice_of(dataset: pydicom.Dataset, path: str, pixel_bytes: int, member: str) -> Slice:
    header = Header(dataset, _NUMERIC)
    meta = Header(getattr(dataset, "file_meta", None) or FileMetaDataset(), {})
    text, whole = header.text, header.whole
    rows, columns = whole("Rows") or 0, whole("Columns") or 0
    samples, frames = whole("SamplesPerPixel") or 1, whole("NumberOfFrames") or 1
    syntax = meta.text("TransferSyntaxUID")
    size = rows * columns * samples * frames * (whole("BitsAllocated") or 0) // 8
    slope = header.numbers("RescaleSlope", 1)
    return Slice(
        path,
        sop_class=text("SOPClassUID") or meta.text("MediaStorageSOPClassUID"),
        sop_uid=text("SOPInstanceUID"),
        study_uid=text("StudyInstanceUID"),
        series_uid=text("SeriesInstanceUID"),
        frame_uid=text("FrameOfReferenceUID"),
        patient=(text("PatientID"), text("PatientName")),
        modality=text("Modality"),
        series_number=whole("SeriesNumber"),
        instance=whole("InstanceNumber"),
        acquisition=text("AcquisitionNumber"),
        echo=text("EchoNumbers") + "/" + text("TemporalPositionIdentifier"),
        image_type=header.values("ImageType"),
        rows=rows,
        columns=columns,
        frames=frames,
        samples=samples,
        is_truncated=syntax in _UNPACKED and pixel_bytes < size,
        position=header.numbers("ImagePositionPatient", 3),
        orientation=header.numbers("ImageOrientationPatient", 6),
        spacing=header.numbers("PixelSpacing", 2),
        slope=1.0 if not text("RescaleSlope") else None if slope is None else float(slope[0]),
        is_rescaled=bool(text("RescaleSlope")),
        syntax=syntax,
        moment=moment_of(header),
        description=text("SeriesDescription"),
        member=member,
    )
