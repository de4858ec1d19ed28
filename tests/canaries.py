"""Canaries: DICOM files with a word of the patient in every attribute of every type."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tests.io_files import save_series

WORD = "QUAGMYRE"
UID = "1.2.3.987654.5550123"
DAY = "19870605"
NUMBER = "5550123987"

# What an image must say rightly to be one; these are tested by themselves.
_NEEDED = {
    "SOPClassUID", "ImageType", "Modality", "PhotometricInterpretation", "SamplesPerPixel",
    "BurnedInAnnotation", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "NumberOfFrames", "PixelData", "FloatPixelData", "DoubleFloatPixelData",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope",
    "RescaleIntercept", "SpecificCharacterSet", "PatientPosition", "ConversionType",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "ModalityLUTSequence",
}  # fmt: skip
_ONE_OF_SEQUENCES = 11  # all alike, and there are a thousand
_TEXTS = {"LO", "SH", "LT", "ST", "UT", "UC", "CS", "AE", "UR"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV", "UN"}
_PACKED = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


def planted(vr: str) -> Any:
    """A value of a type that holds a canary; None for types that can hold none."""
    if vr in _TEXTS:
        return WORD
    if vr == "PN":
        return f"{WORD}^Jo"
    if vr == "UI":
        return UID
    if vr in ("DA", "DT"):
        return DAY
    if vr == "IS":
        return "123456789"
    if vr in _BYTES:
        return WORD.encode()
    if vr in _PACKED:
        return [n[0] for n in struct.iter_unpack("<" + _PACKED[vr], WORD.encode())]
    return None


def plant_everywhere(dataset: Dataset, *, named: bool = True) -> int:
    """Put a canary into each attribute of the dictionary; return into how many.

    Args:
        dataset: Changed in place.
        named: Also into the attributes that name the patient; else these name somebody else, so
            that the word is found by nothing but its being unknown.
    """
    count = 0
    for number, (stated, _, _, _, keyword) in DicomDictionary.items():
        tag, vr = Tag(number), stated.split(" or ")[0]
        if keyword in _NEEDED or not keyword or tag.group < 8:
            continue
        if not named and (vr in _PACKED or vr in _BYTES or vr == "PN" or tag.group == 0x0010):
            continue
        if vr == "SQ" and number % _ONE_OF_SEQUENCES:
            continue
        value = [_item(named)] if vr == "SQ" else planted(vr)
        if value is not None:
            dataset[tag] = DataElement(tag, vr, value)
            count += 1
    if not named:
        dataset.PatientName, dataset.PatientID = "Other^Person", "7"
    block = dataset.private_block(0x0099, f"{WORD} MAKER", create=True)
    block.add_new(1, "LO", WORD)
    block.add_new(2, "UN", WORD.encode())
    block.add_new(3, "SQ", [_item(named)])
    dataset.add_new(0x60000010, "US", 8)
    dataset.add_new(0x60003000, "OW", WORD.encode())
    dataset.add_new(0x60020022, "LO", WORD)
    dataset.add_new(0x50000010, "US", 1)
    dataset.add_new(0x50003000, "OW", WORD.encode())
    return count


def _item(named: bool) -> Dataset:
    """An item with another in it, canaries in both."""
    inner, item = Dataset(), Dataset()
    for one in (inner, item):
        one.SeriesDescription = one.TextValue = one.StationName = one.LabelText = WORD
        one.CodeValue = one.CodingSchemeDesignator = WORD
        one.CodeMeaning = one.ManufacturerModelName = one.BodyPartExamined = WORD
        one.ReferencedSOPInstanceUID = one.FrameOfReferenceUID = UID
        one.StudyDate = one.ContentDate = DAY
        one.add_new(0x00990010, "LO", WORD)
        one.add_new(0x00991001, "OB", WORD.encode())
        if named:
            one.PersonName = f"{WORD}^Jo"
    item.ContentSequence = [inner]
    return item


def save_canaries(folder: Path, *, named: bool = True) -> list[Path]:
    """A CT series full of canaries: attributes, preamble, group 2, padding and garbage after."""
    paths = save_series(folder)
    for path in paths[2:]:  # two are enough to see what is the same in both
        path.unlink()
    for number, path in enumerate(paths[:2]):
        dataset = pydicom.dcmread(path)
        own = dataset.SOPInstanceUID
        plant_everywhere(dataset, named=named)
        dataset.SOPInstanceUID, dataset.InstanceNumber = own, number
        dataset.preamble = (WORD.encode() * 20)[:128]
        dataset.file_meta.SourceApplicationEntityTitle = WORD
        dataset.file_meta.PrivateInformationCreatorUID = UID
        dataset.file_meta.PrivateInformation = WORD.encode()
        with pydicom.config.disable_value_validation():
            dataset.save_as(path, enforce_file_format=True)
        with path.open("ab") as file:
            file.write(f"{WORD} and {UID} {DAY} {NUMBER}".encode() * 9)
    return paths[:2]
