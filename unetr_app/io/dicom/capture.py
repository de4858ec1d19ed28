"""Capture: a picture as a DICOM Secondary Capture image (PS3.3 A.8), in the study of its source."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.io.dicom.as_meant import not_as_meant
from unetr_app.io.dicom.heading import begin
from unetr_app.io.dicom.placed_frames import read_header
from unetr_app.io.dicom.references import instance_item
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, read_slice, text_of
from unetr_app.io.integrity import unreadable
from unetr_app.notice import RESEARCH_NOTICE

_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_SERIES_NUMBER = 302


def write_capture(
    picture: PathLike | NDArray[np.uint8], sources: Sequence[PathLike], path: PathLike
) -> None:
    """Write a picture as a secondary capture, read it back, and only then put it in place.

    Args:
        picture: A PNG file, or (rows, columns, 3) RGB; the research-use notice is in it, and
            nothing that tells who the patient is.
        sources: The images that it shows; the study and the patient are theirs.
        path: The final name.

    Raises:
        InvalidRequest: If the picture is not RGB, or there are no sources.
        UnreadableInput: If the picture or a source cannot be read, or a source has no study UID.
        UnwritableOutput: If the file could not be written whole.
    """
    pixels = _read_picture(picture) if not isinstance(picture, np.ndarray) else picture
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise InvalidRequest(
            f"a picture of shape {pixels.shape} and type {pixels.dtype} is not RGB of 8 bits",
            cure="Give (rows, columns, 3), uint8.",
        )
    if not sources:
        raise InvalidRequest("no source images were given", cure="Name the files of the series.")
    dataset = _described(sources)
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration, dataset.PixelRepresentation = 0, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB"
    with replacing(path) as part:
        dataset.save_as(part, enforce_file_format=True)
        _require_as_meant(part, pixels, path)


def _described(sources: Sequence[PathLike]) -> pydicom.Dataset:
    header = read_header(sources[0])
    if not text_of(header, "StudyInstanceUID"):
        raise UnreadableInput(
            "StudyInstanceUID is absent",
            cure="A DICOM output must name its study: give the images their UIDs back.",
            path=sources[0],
        )
    dataset = begin(
        header, sop_class=_SECONDARY_CAPTURE, modality="OT",
        series_description=f"Preview. {RESEARCH_NOTICE}", series_number=_SERIES_NUMBER,
    )  # fmt: skip
    dataset.ConversionType = "SYN"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.ContentDate = dataset.InstanceCreationDate
    dataset.ContentTime = dataset.InstanceCreationTime
    dataset.BurnedInAnnotation = "NO"  # nothing in the picture tells who or when
    dataset.DerivationDescription = f"Preview of a segmentation. {RESEARCH_NOTICE}"
    dataset.PatientOrientation = dataset.Laterality = None
    lossy = text_of(header, "LossyImageCompression") == "01"
    dataset.LossyImageCompression = "01" if lossy else "00"
    shown = [read_slice(source) for source in sources]
    named = [instance_item(s.sop_class, s.sop_uid) for s in shown if s.sop_class and s.sop_uid]
    if named:
        dataset.SourceImageSequence = named
    return dataset


def _read_picture(path: PathLike) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise UnreadableInput(
            "the file is no picture, or damaged", cure="Give a PNG file.", path=path
        ) from error
    except OSError as error:
        raise unreadable(error, path) from error


def _require_as_meant(part: Path, pixels: NDArray[Any], path: PathLike) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = pydicom.dcmread(part).pixel_array
    except PYDICOM_ERRORS as error:
        raise not_as_meant(path) from error
    if not np.array_equal(found, pixels):
        raise not_as_meant(path)
