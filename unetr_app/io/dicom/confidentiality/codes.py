"""Coded concepts: what of a code's value and meaning is a standard's, and what may be anything."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (the library states few types)

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

import pydicom

from unetr_app.io.dicom.confidentiality.identity import Identity
from unetr_app.io.dicom.confidentiality.words import is_plain_text
from unetr_app.io.dicom.slice import text_of

VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")
_LOCAL = "99ANON"
# Codes of these schemes that are not in PS3.16, by their form.
_FORMS = {
    "SCT": r"\d{6,18}",
    "SRT": r"[A-Z]\d?-[0-9A-F]{4,6}",
    "SNM3": r"[A-Z]\d?-[0-9A-F]{4,6}",
    "DCM": r"\d{6}",
    "LN": r"\d{1,7}-\d",
    "FMA": r"\d{1,7}",
    "RADLEX": r"RID\d{1,6}",
    "UMLS": r"C\d{7}",
    "NCIt": r"C\d{1,7}",
    "IBSI": r"[0-9A-Z]{4}",
    "MDC": r"\d{1,7}",
    "NEU": r"\d{1,5}",
    "UCUM": r"[0-9a-zA-Z%./*^{}\[\]]{1,3}",
    "ITIS_TSN": r"\d{6}",
}


def clean_code(item: pydicom.Dataset, identity: Identity, token: Callable[[str], str]) -> None:
    """Leave in a code (PS3.3 8.8) only what tells nothing of a person.

    A code of PS3.16, or of the form that its scheme has, keeps its value; its meaning stays where
    PS3.16 states it or its words are plain, and is made of scheme and value elsewhere. A local
    code becomes one of scheme ``99ANON``, equal codes staying equal.

    Args:
        item: The item of a code sequence, changed in place.
        identity: What names the patient.
        token: Gives what stands for a text.
    """
    keyword = next((name for name in VALUES if text_of(item, name)), VALUES[0])
    scheme, value = text_of(item, "CodingSchemeDesignator"), text_of(item, keyword)
    meaning = text_of(item, "CodeMeaning")
    known = _meanings(scheme).get(value)
    form = _FORMS.get(scheme)
    if known is None and (
        form is None or not re.fullmatch(form, value) or identity.is_number(value)
    ):
        keyword, value, scheme = VALUES[0], token(f"{scheme}|{value}"), _LOCAL
        item.CodeValue, item.CodingSchemeDesignator = value, scheme
    for name in VALUES:
        if name != keyword and name in item:
            del item[name]
    words = set(re.findall(r"[^\W\d_]{3,}", meaning.lower()))
    stated = known is not None and meaning.casefold() in known
    if not (stated and not words & identity.words) and not is_plain_text(meaning, identity.words):
        item.CodeMeaning = f"{scheme} {value}"[:64]


@cache
def _meanings(scheme: str) -> dict[str, set[str]]:
    """Of each code of a scheme that PS3.16 uses, its meanings in small letters."""
    from pydicom.sr._concepts_dict import concepts

    found: dict[str, set[str]] = {}
    for codes in concepts.get(scheme, {}).values():
        for value, (meaning, _) in codes.items():
            found.setdefault(value, set()).add(meaning.casefold())
    return found
