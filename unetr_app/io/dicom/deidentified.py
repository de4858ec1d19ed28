"""Deidentified: a DICOM object as bytes without its patient, verified before it is written."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import hashlib
import os
import re
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filereader import read_partial
from pydicom.uid import UID, AllTransferSyntaxes, DeflatedExplicitVRLittleEndian

from unetr_app.errors import UnfitInput, UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.burned_in import burned_in, never_exported, shows_face
from unetr_app.io.dicom.confidentiality.cleaning import PIXELS, Rules, clean
from unetr_app.io.dicom.confidentiality.identity import Identity, identity_of
from unetr_app.io.dicom.confidentiality.uid_map import UidMap
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, text_of
from unetr_app.io.integrity import open_input, unreadable
from unetr_app.version import __version__

_PIXEL_DATA = 0x7FE00010
_IMPLEMENTATION = "2.25.112774410471083414170396423183171266801"
_LARGEST_INFLATED = 2 << 30
_META_LENGTH_AT = 140  # preamble, magic word, and the first attribute of group 2
_COPY_CURE = "Copy or export the file again."
_LOOK_CURE = (
    "Look at its pixels; if they show nothing of the patient, add --accept-pixels for such files."
)
_LEAVE_CURE = "Leave it out, or export it by other means after looking through it."
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113104": "Clean Structured Content Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}


@dataclass(frozen=True)
class Choices:
    """What is decided for a whole run.

    Args:
        dates: ``remove`` them, or ``shift`` them: back by a number of days of the patient's own.
        accept_pixels: Are pixels taken that may show text, because somebody has looked at them?
        keep_characteristics: Do sex, age (to 89), size and weight stay, as PET needs them?
    """

    dates: Literal["remove", "shift"] = "remove"
    accept_pixels: bool = False
    keep_characteristics: bool = False


@dataclass(frozen=True, eq=False)
class Deidentified:
    """An object without its patient.

    Args:
        data: The file's bytes.
        study_uid: The new Study Instance UID.
        series_uid: The new Series Instance UID.
        sop_uid: The new SOP Instance UID.
        shows_face: Could a face be recognised in it?
    """

    data: bytes
    study_uid: str
    series_uid: str
    sop_uid: str
    shows_face: bool = False


def is_directory(path: PathLike) -> bool:
    """Is a file a DICOMDIR, whose list of other files is not exported?

    Raises:
        UnreadableInput: If it cannot be opened.
    """
    with open_input(path) as file:
        return re.search(rb"1\.2\.840\.10008\.1\.3\.10(?![\d.])", file.read(1024)) is not None


def deidentify_object(path: PathLike, uids: UidMap, choices: Choices) -> Deidentified:
    """Take from an object what tells whose it is, and make sure of it.

    Pixels stay byte for byte, and in their transfer syntax; so does geometry.

    Args:
        path: The file; it is only read.
        uids: Gives new identifiers.
        choices: What is decided for the whole run.

    Raises:
        UnreadableInput: If it is damaged.
        UnfitInput: If its pixels may show whose it is, or its kind is not known to be safe.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's own would quote values
        dataset, content = _read(path)
        try:
            return _deidentified(dataset, content, path, uids, choices)
        except PYDICOM_ERRORS as error:
            raise _damaged(path) from error


def _damaged(path: PathLike) -> UnreadableInput:
    return UnreadableInput("the DICOM file is damaged", cure=_COPY_CURE, path=path)


def _read(path: PathLike) -> tuple[FileDataset, str]:
    """The data set up to the end of its pixels, and a hash of the whole file."""
    try:
        with open_input(path) as file:
            data = file.read()
    except OSError as error:
        raise unreadable(error, path) from error
    if DeflatedExplicitVRLittleEndian.encode() in data[:1024]:
        _check_inflated(data, path)
    last = -1

    def is_past_the_end(tag: int, vr: str | None, length: int) -> bool:
        """After the pixels come signatures and padding, which go; or garbage, in no order."""
        nonlocal last
        past = last == _PIXEL_DATA or tag <= last
        last = tag
        return past

    try:
        dataset = read_partial(BytesIO(data), stop_when=is_past_the_end, force=True)
        dataset.filename = ""  # pydicom's own messages would name it
    except PYDICOM_ERRORS as error:
        raise _damaged(path) from error
    return dataset, hashlib.sha256(data).hexdigest()


def _check_inflated(data: bytes, path: PathLike) -> None:
    """Refuse a deflated file that unpacks to more than can be meant."""
    engine, found = zlib.decompressobj(-zlib.MAX_WBITS), 0
    begin = _META_LENGTH_AT + 4 + int.from_bytes(data[_META_LENGTH_AT:][:4], "little")
    rest = data[begin:]
    try:
        while rest and not engine.eof:
            found += len(engine.decompress(rest, 1 << 24))
            rest = engine.unconsumed_tail
            if found > _LARGEST_INFLATED:
                raise UnreadableInput(
                    "the file unpacks to more than 2 GiB", cure=_COPY_CURE, path=path
                )
    except zlib.error as error:
        raise _damaged(path) from error


def _deidentified(
    dataset: FileDataset, content: str, path: PathLike, uids: UidMap, choices: Choices
) -> Deidentified:
    meta = getattr(dataset, "file_meta", None) or FileMetaDataset()
    syntax = text_of(meta, "TransferSyntaxUID") or _guessed_syntax(dataset)
    sop_class = text_of(dataset, "SOPClassUID") or text_of(meta, "MediaStorageSOPClassUID")
    _check(dataset, sop_class, syntax, path, choices)
    identity = identity_of(dataset)
    patient = _patient_key(dataset)
    pixels = _trim_pixels(dataset, syntax, path)
    face = shows_face(dataset)
    rules = Rules(
        uids, identity, uids.patient(patient),
        uids.days_back(patient) if choices.dates == "shift" else None,
        choices.keep_characteristics,
    )  # fmt: skip
    _give_uids(dataset, content, path, uids)
    burned = text_of(dataset, "BurnedInAnnotation").upper() == "YES"
    clean(dataset, rules)
    dataset.SOPClassUID = UID(sop_class)
    if burned:  # somebody has looked, and found nothing of the patient
        dataset.BurnedInAnnotation = "NO"
    _declare(dataset, rules, choices)
    data = _encoded(dataset, sop_class, syntax)
    _verify(data, dataset, pixels, identity, path)
    return Deidentified(
        data, text_of(dataset, "StudyInstanceUID"), text_of(dataset, "SeriesInstanceUID"),
        text_of(dataset, "SOPInstanceUID"), face,
    )  # fmt: skip


def _guessed_syntax(dataset: FileDataset) -> str:
    is_implicit, is_little = dataset.original_encoding
    if is_implicit:
        return "1.2.840.10008.1.2"
    return "1.2.840.10008.1.2.1" if is_little else "1.2.840.10008.1.2.2"


def _check(
    dataset: FileDataset, sop_class: str, syntax: str, path: PathLike, choices: Choices
) -> None:
    if not len(dataset) or not sop_class:
        raise UnreadableInput(
            "the file does not say what kind of DICOM object it holds",
            cure="Export it again from where it came from.", path=path,
        )  # fmt: skip
    if syntax not in AllTransferSyntaxes:
        raise UnfitInput(
            "the transfer syntax is not one of the DICOM standard", path=path,
            cure="Export it again in a syntax of the standard.",
        )  # fmt: skip
    never = never_exported(dataset, sop_class)
    if never:
        raise UnfitInput(f"{never} is not exported", cure=_LEAVE_CURE, path=path)
    why = "" if choices.accept_pixels else burned_in(dataset, sop_class, syntax)
    if why:
        raise UnfitInput(f"{why} is not exported unseen", cure=_LOOK_CURE, path=path)


def _patient_key(dataset: FileDataset) -> str:
    """What tells a patient from others: the id with its issuer, else name and birth date."""
    number = text_of(dataset, "PatientID")
    if number:
        return f"{number}|{text_of(dataset, 'IssuerOfPatientID')}"
    named = f"{text_of(dataset, 'PatientName')}|{text_of(dataset, 'PatientBirthDate')}"
    return named if named != "|" else f"|{text_of(dataset, 'StudyInstanceUID')}"


def _trim_pixels(dataset: FileDataset, syntax: str, path: PathLike) -> str:
    """Cut off what follows the last native pixel, and give a hash of the pixel data."""
    tag = next((tag for tag in PIXELS if tag in dataset), None)
    if tag is None:
        return ""
    element: Any = dataset[tag]
    whole = _native_bytes(dataset, tag) if not UID(syntax).is_encapsulated else 0
    if whole and len(element.value) < whole:
        raise UnreadableInput("the pixel data are cut short", cure=_COPY_CURE, path=path)
    if whole:
        element.value = element.value[:whole] + b"\0" * (whole % 2)
    return _hash(element.value)


def _native_bytes(dataset: FileDataset, tag: int) -> int:
    """How many bytes unpacked pixels take; 0 where the headers do not say."""
    bits = {0x7FE00008: 32, 0x7FE00009: 64}.get(tag) or _count(dataset, "BitsAllocated", 0)
    samples = _count(dataset, "SamplesPerPixel", 1)
    if text_of(dataset, "PhotometricInterpretation") in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        samples = 2
    frames = _count(dataset, "NumberOfFrames", 1)
    pixels = _count(dataset, "Rows", 0) * _count(dataset, "Columns", 0) * samples * frames
    return (pixels * bits + 7) // 8


def _count(dataset: FileDataset, keyword: str, absent: int) -> int:
    found = numbers_of(dataset, keyword, 1)
    return absent if found is None or found[0] < 0 else int(found[0])


def _hash(value: Any) -> str:
    return hashlib.sha256(value).hexdigest()


def _give_uids(dataset: FileDataset, content: str, path: PathLike, uids: UidMap) -> None:
    """UIDs for an object that lacks them: its own by content, those of its groups by folder."""
    folder = os.path.realpath(Path(path).parent)
    for keyword, about in (
        ("SOPInstanceUID", content), ("SeriesInstanceUID", folder), ("StudyInstanceUID", folder),
    ):  # fmt: skip
        if not text_of(dataset, keyword):
            setattr(dataset, keyword, uids.unlisted_uid(keyword, about))


def _declare(dataset: FileDataset, rules: Rules, choices: Choices) -> None:
    """State what was done (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1)."""
    for keyword in ("PatientName", "PatientBirthDate"):
        setattr(dataset, keyword, "")
    dataset.PatientID = rules.patient
    if "PatientSex" not in dataset:
        dataset.PatientSex = ""
    dataset.PatientIdentityRemoved = "YES"
    shifted = choices.dates == "shift"
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if shifted else "REMOVED"
    dataset.DeidentificationMethod = [f"unetr-app {__version__}", "PS3.15 Basic Profile, 2026c"]
    used = ["113100"]
    used += ["113104"] if "ContentSequence" in dataset else []
    used += ["113107"] if shifted else []
    used += ["113108"] if choices.keep_characteristics else []
    dataset.DeidentificationMethodCodeSequence = [_code(value) for value in used]


def _code(value: str) -> pydicom.Dataset:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator = value, "DCM"
    code.CodeMeaning = _CODES[value]
    return code


def _encoded(dataset: FileDataset, sop_class: str, syntax: str) -> bytes:
    """The object as a file: an empty preamble, group 2 made anew, the data set."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(_IMPLEMENTATION)
    meta.ImplementationVersionName = f"UNETR_APP_{__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
    file = BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def _verify(
    data: bytes, dataset: FileDataset, pixels: str, identity: Identity, path: PathLike
) -> None:
    """Read back what would be written: pixels as they were, and no word of the patient."""
    again = pydicom.dcmread(BytesIO(data))
    tag = next((tag for tag in PIXELS if tag in again), None)
    if (_hash(again[tag].value) if tag else "") != pixels or len(again) != len(dataset):
        raise UnreadableInput(
            "the object does not read back as it was written", cure=_COPY_CURE, path=path
        )
    if identity.is_in_bytes(data):
        raise UnfitInput(
            "a word of the patient's name or number is left in the object, in its pixel data "
            "perhaps, so it is not exported",
            cure=_LEAVE_CURE, path=path,
        )  # fmt: skip
