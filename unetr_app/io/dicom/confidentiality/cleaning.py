"""Cleaning: a data set's attributes, one by one and in sequences, by table E.1-1 and by value.

What the table names is treated as it asks. What it does not name is kept where its value can hold
nothing of a person: numbers, standard UIDs, plain words of imaging (`words`). Other text becomes a
token that stands for it, so that what differed still differs.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.charset import python_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag
from pydicom.uid import UID

from unetr_app.io.dicom.confidentiality.codes import VALUES, clean_code
from unetr_app.io.dicom.confidentiality.dates import DUMMIES, moved
from unetr_app.io.dicom.confidentiality.identity import Identity, element_at, type_of
from unetr_app.io.dicom.confidentiality.profile import Action, action_of
from unetr_app.io.dicom.confidentiality.uid_map import UidMap
from unetr_app.io.dicom.confidentiality.words import is_plain_code, is_plain_text
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, text_of

ANONYMIZED = "ANONYMIZED"
_DEEPEST = 32  # sequences in sequences
_STANDARD_ROOT = "1.2.840.10008."

_KINDS_OF_NUMBER = {
    "US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8", "AT": "u4",
    "FL": "f4", "FD": "f8",
}  # fmt: skip
_NUMBERS = set(_KINDS_OF_NUMBER)
_LONG_TEXT = {"LT", "ST", "UT", "UC"}
_NAMED = {"LO", "SH", "AE"}
_BYTES = {"OB", "OW", "OF", "OD", "OL", "OV"}
_KINDS = (_NUMBERS, {*_LONG_TEXT, *_NAMED, "CS"}, {"DS", "IS"}, {"DA", "TM", "DT"}, _BYTES)
_WRITTEN_NUMBERS = {
    "DS": re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[\s\0]*"),
    "IS": re.compile(r"\s*[+-]?\d+(\.0*)?[\s\0]*"),
}
_KEPT_BYTES = {
    0x7FE00001, 0x7FE00002,  # where frames begin
    0x00281201, 0x00281202, 0x00281203, 0x00281204, 0x00281221, 0x00281222, 0x00281223,
    0x00281224, 0x00283006, 0x00660129, 0x00640009, 0x00720075,  # tables, tracks, vectors
    0x00660016, 0x00660021, 0x00660023, 0x00660024, 0x00660025, 0x00660026, 0x00660029,
    0x00660022, 0x00660040, 0x00660041, 0x00660042, 0x00660043, 0x00660044,  # surfaces
}  # fmt: skip
PIXELS = {0x7FE00008, 0x7FE00009, 0x7FE00010}
"""Pixel data as integers, floats and doubles: judged and compared apart from all else."""

_CHARACTER_SET, _PATIENT_ID, _AGENT = 0x00080005, 0x00100020, 0x00180010
_ROI_NAME, _SEGMENT_LABEL = 0x30060026, 0x00620005
_PERSON_CODES = 0x00401101
_CHARACTERISTICS = {0x00100040, 0x00101010, 0x00101020, 0x00101030}  # sex, age, size, weight
# Beginning and end of a radiopharmaceutical's injection: SUV needs them, option 113107 keeps them.
_INJECTIONS = {0x00181072, 0x00181073, 0x00181078, 0x00181079}
_OLDEST_AGE = 89  # older ones are rare enough to name a person
_AGE = re.compile(r"(\d{3})([DWMY])\s*")


@dataclass(frozen=True)
class Rules:
    """What is decided for a whole data set.

    Args:
        uids: Gives new identifiers.
        identity: What names the patient.
        patient: The new patient ID.
        days_back: By how many days dates go back; None to replace them.
        keep_characteristics: Do sex, age, size and weight stay?
    """

    uids: UidMap
    identity: Identity
    patient: str
    days_back: int | None = None
    keep_characteristics: bool = False


def clean(dataset: pydicom.Dataset, rules: Rules, *, depth: int = 0) -> None:
    """Take from a data set, and from its sequences, what tells whose it is.

    Attributes that stay are not even parsed anew: their bytes are written as they were read.

    Args:
        dataset: Changed in place; group 2 is no part of it.
        rules: What is decided for the whole of it.
        depth: How many sequences it is within.

    Raises:
        ValueError: If sequences are nested beyond reason.
    """
    if depth > _DEEPEST:
        raise ValueError("sequences are nested too deep")
    is_code = any(name in dataset for name in VALUES)
    for tag in list(dataset.keys()):
        try:
            kept = _kept(dataset, tag, rules, is_code, depth)
        except PYDICOM_ERRORS:
            kept = None  # a value that cannot be read cannot be judged
        if kept is None:
            del dataset[tag]
        elif kept is not _AS_IT_WAS:
            dataset[tag] = kept
    if is_code:
        clean_code(dataset, rules.identity, rules.uids.token)


_AS_IT_WAS = DataElement(0x00080005, "CS", "")


def _kept(
    dataset: pydicom.Dataset, tag: BaseTag, rules: Rules, is_code: bool, depth: int
) -> DataElement | None:
    """What stays of an attribute: itself (`_AS_IT_WAS`), another value, or nothing (None)."""
    action = action_of(tag.group, tag.element)
    if rules.keep_characteristics and tag in _CHARACTERISTICS:
        action = Action.JUDGE
    if rules.days_back is not None and tag in _INJECTIONS:
        action = Action.DUMMY
    if action is Action.REMOVE or not dictionary_has_tag(tag):
        return None
    if tag in PIXELS:
        return None if depth else _AS_IT_WAS
    if action is Action.JUDGE and type_of(dataset, tag) in {*_NUMBERS, *_BYTES}:
        return _judged_bytes(dataset, tag, rules.identity)
    element = element_at(dataset, tag)
    vr = element.VR
    if vr == "SQ":
        return _sequence(element, action, rules, depth)
    if not _is_of_kind(vr, dictionary_VR(tag)):
        return None  # what claims another type than the standard's may hold anything
    if rules.days_back is not None and vr in DUMMIES and tag.group != 0x0010:
        return _each(element, lambda text: moved(text, vr, rules.days_back or 0))
    if action is Action.EMPTY and tag == _ROI_NAME:
        number = text_of(dataset, "ROINumber")
        return _new(element, f"ROI {number}" if number.isdigit() else "ROI")
    if action is Action.EMPTY or tag == _AGENT:
        return _new(element, None if vr in _NUMBERS else "")
    if action is Action.DUMMY:
        return _dummy(element, rules)
    if vr == "UI":
        return _each(element, lambda text: _uid(text, rules))
    if is_code and keyword_for_tag(tag) in {*VALUES, "CodeMeaning", "CodingSchemeDesignator"}:
        return _AS_IT_WAS  # judged together, afterwards
    return _judged(dataset, element, rules)


def _is_of_kind(vr: str, stated: str) -> bool:
    """Is a type one that the standard states, or of a kind with it, as in its older editions?"""
    return any(
        vr == one or any({vr, one} <= kind for kind in _KINDS) for one in stated.split(" or ")
    )


def _sequence(element: DataElement, action: Action, rules: Rules, depth: int) -> DataElement:
    if action is Action.EMPTY:
        return _new(element, [])
    if element.tag == _PERSON_CODES:
        return _new(element, [_nobody()])
    for item in element.value or ():
        clean(item, rules, depth=depth + 1)
    return element


def _nobody() -> pydicom.Dataset:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "0", "99ANON", ANONYMIZED
    return code


def _dummy(element: DataElement, rules: Rules) -> DataElement | None:
    """A value of the right kind that says nothing."""
    vr = element.VR
    if element.tag == _PATIENT_ID:
        return _new(element, rules.patient)
    if vr == "UI":
        return _each(element, lambda text: _uid(text, rules))
    if vr in DUMMIES:
        return _each(element, lambda _: DUMMIES[vr])
    if vr in {*_NAMED, *_LONG_TEXT, "PN", "CS"}:
        return _new(element, ANONYMIZED if element.value else "")
    if vr in _BYTES:
        return _new(element, b"\0\0")
    return None


def _uid(text: str, rules: Rules) -> str:
    """A UID of the standard as it is (classes, well-known frames), a new one for any other."""
    text = text.strip(" \0")
    is_standard = text.startswith(_STANDARD_ROOT) and UID(text).name != text
    if not text or is_standard or text in _NEWER_CLASSES:
        return text
    return rules.uids.uid(text)


# Of the standard, but too new for the dictionary of some releases of pydicom.
_NEWER_CLASSES = {"1.2.840.10008.5.1.4.1.1.66.7", "1.2.840.10008.5.1.4.1.1.66.8"}


def _judged(dataset: pydicom.Dataset, element: DataElement, rules: Rules) -> DataElement | None:
    """What the table does not name, by its value."""
    vr, tag, identity = element.VR, element.tag, rules.identity
    if vr in _BYTES or vr in _NUMBERS:  # in a file that does not state types
        return _judged_bytes(dataset, tag, identity)
    texts = _texts(element)
    if tag == _CHARACTER_SET:
        return _AS_IT_WAS if all(text in python_encoding for text in texts) else None
    if vr in _WRITTEN_NUMBERS:
        form = _WRITTEN_NUMBERS[vr]
        fine = all(not t or (form.fullmatch(t) and not identity.is_number(t)) for t in texts)
        return _AS_IT_WAS if fine else _new(element, "")
    if vr in DUMMIES:
        return _each(element, lambda _: DUMMIES[vr])
    if vr == "AS":
        return _age(element, texts)
    if vr == "CS":
        return _words(element, texts, rules, is_plain_code)
    if vr in _NAMED or vr in _LONG_TEXT:
        if tag == _SEGMENT_LABEL and not all(is_plain_text(t, identity.words) for t in texts):
            return _new(element, f"Segment {text_of(dataset, 'SegmentNumber')}"[:64])
        return _words(element, texts, rules, is_plain_text)
    if vr == "PN":
        return _new(element, ANONYMIZED if element.value else "")
    return None  # UN, UR and what is to come


def _judged_bytes(dataset: pydicom.Dataset, tag: BaseTag, identity: Identity) -> DataElement | None:
    """Numbers stay, and those bytes that are known to be numbers, unless they spell a name."""
    raw: Any = dataset.get_item(tag)
    stated = dictionary_VR(tag)
    if raw.VR is not None and not _is_of_kind(raw.VR, stated):
        return None
    if tag not in _KEPT_BYTES and all(one in _BYTES for one in stated.split(" or ")):
        return None
    return None if any(identity.is_in_bytes(one) for one in _spelled(raw)) else _AS_IT_WAS


def _spelled(raw: Any) -> list[bytes]:
    """A value as it lies in the file, or as it would in either order of bytes."""
    if isinstance(raw.value, bytes):
        return [raw.value]
    kind = _KINDS_OF_NUMBER.get(raw.VR)
    if kind is None or raw.value is None:
        return []
    numbers = np.atleast_1d(np.array(raw.value)).astype(kind)
    return [numbers.tobytes(), numbers.byteswap().tobytes()]


def _words(
    element: DataElement, texts: list[str], rules: Rules,
    is_plain: Callable[[str, frozenset[str]], bool],
) -> DataElement:  # fmt: skip
    fine = [is_plain(text, rules.identity.words) for text in texts]
    if all(fine):
        return _AS_IT_WAS
    if element.VR in _LONG_TEXT:
        return _new(element, ANONYMIZED)
    new = [t if ok else rules.uids.token(t) for t, ok in zip(texts, fine, strict=True)]
    return _new(element, new if len(new) > 1 else new[0])


def _age(element: DataElement, texts: list[str]) -> DataElement | None:
    found = [_AGE.fullmatch(text) for text in texts]
    if not all(found):
        return None
    old = any(m and m[2] == "Y" and int(m[1]) > _OLDEST_AGE for m in found)
    return _new(element, f"{_OLDEST_AGE + 1:03d}Y") if old else _AS_IT_WAS


def _texts(element: DataElement) -> list[str]:
    """The values as they are written."""
    value: Any = element.value
    if value is None:
        return []
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    found: list[str] = []
    for one in value if several else [value]:
        written = getattr(one, "original_string", None)
        found.append(str(one if written is None else written))
    return found


def _each(element: DataElement, change: Callable[[str], str]) -> DataElement:
    new = [change(text) if text.strip(" \0") else "" for text in _texts(element)]
    return _new(element, new if len(new) > 1 else (new[0] if new else ""))


def _new(element: DataElement, value: Any) -> DataElement:
    return DataElement(element.tag, element.VR, value)
