"""Identity: the words and numbers of a data set that tell whose it is, so as to find them again."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pydicom
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import BaseTag

from unetr_app.io.dicom.confidentiality.words import PLAIN
from unetr_app.io.dicom.slice import PYDICOM_ERRORS

_TEXT = {"LO", "SH", "LT", "ST", "PN", "UC", "UT"}
_PATIENT, _VISIT = 0x0010, 0x0038
_NAMING = {
    0x00080050,  # accession number
    0x00080080,  # institution
    0x00080081,  # its address
    0x00081040,  # its department
    0x00181000,  # serial number of the device
    0x00200010,  # study id
    0x0040A123,  # a person's name in a report
}
_RUN = re.compile(r"[^\W_]+")
_SHORTEST, _SHORTEST_NUMBER = 3, 6
_SCANNED, _SCANNED_NUMBER = 6, 10  # shorter ones meet by chance in pixels and UIDs
_DISTINCT_DIGITS = 4
_OURS = frozenset(("anonymized", "application", "basic", "confidentiality", "option", "profile"))


@dataclass(frozen=True)
class Identity:
    """What of a data set names its patient.

    Args:
        words: Words of at least three letters, in lower case.
        numbers: Runs of at least six digits.
        scanned: Words and numbers of the patient himself that are long enough to be looked for in
            bytes, encoded.
    """

    words: frozenset[str] = field(default=frozenset(), repr=False)
    numbers: frozenset[str] = field(default=frozenset(), repr=False)
    scanned: tuple[bytes, ...] = field(default=(), repr=False)

    def is_in_bytes(self, data: bytes) -> bool:
        """Does one of the long words or numbers occur, in capitals or not?"""
        lower = data.lower()
        return any(word in lower for word in self.scanned)

    def is_number(self, text: str) -> bool:
        """Is a number, as it is written, one of the patient's?"""
        return bool(self.numbers) and text.strip(" \0+-").split(".")[0] in self.numbers


def type_of(dataset: pydicom.Dataset, tag: BaseTag) -> str:
    """An attribute's type (VR), without parsing its value; empty where only parsing tells."""
    raw: Any = dataset.get_item(tag)
    stated: str | None = raw.VR
    if stated is None and dictionary_has_tag(tag):
        stated = dictionary_VR(tag)
    return "" if stated is None or " " in stated else stated


def element_at(dataset: pydicom.Dataset, tag: BaseTag) -> DataElement:
    """An attribute to look at, while the data set keeps its bytes as they were read."""
    raw = dataset.get_item(tag)
    element = dataset[tag]
    if isinstance(raw, RawDataElement) and element.VR != "SQ":
        dataset[tag] = raw
    return element


def identity_of(dataset: pydicom.Dataset) -> Identity:
    """Gather what names the patient, in sequences and unknown encodings too."""
    words: set[str] = set()
    numbers: set[str] = set()
    scanned: set[bytes] = set()
    for text, is_of_patient in _naming(dataset):
        for run in _RUN.findall(text):
            low = run.lower()
            if run.isdigit():
                if len(run) >= _SHORTEST_NUMBER:
                    numbers.add(run)
                long = len(run) >= _SCANNED_NUMBER and len(set(run)) >= _DISTINCT_DIGITS
            else:
                if len(run) >= _SHORTEST:
                    words.add(low)
                    words.update(part for part in re.findall(r"[^\W\d_]{3,}", low))
                long = len(run) >= _SCANNED and not {low} & (PLAIN | _OURS)
            if long and is_of_patient:
                scanned.update(_encoded(run))
    return Identity(frozenset(words), frozenset(numbers), tuple(sorted(scanned)))


def _encoded(word: str) -> Iterator[bytes]:
    """A word as bytes whose ASCII letters are small, as `bytes.lower` leaves them."""
    for spelled, encoding in product((word, word.lower()), ("utf-8", "latin-1", "utf-16-le")):
        try:
            yield spelled.encode(encoding).lower()
        except UnicodeEncodeError:
            continue


def _naming(dataset: pydicom.Dataset) -> Iterator[tuple[str, bool]]:
    """Texts that name somebody or something, and whether that is the patient."""
    for tag in list(dataset.keys()):
        if (type_of(dataset, tag) or "UN") not in {*_TEXT, "SQ", "UN"}:
            continue
        try:
            element = element_at(dataset, tag)
        except PYDICOM_ERRORS:
            continue
        if element.VR == "SQ":
            for item in element.value or ():
                yield from _naming(item)
        elif element.VR in _TEXT:
            of_patient = tag.group == _PATIENT
            if of_patient or element.VR == "PN" or tag.group == _VISIT or tag in _NAMING:
                yield str(element.value), of_patient
