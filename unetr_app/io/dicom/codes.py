"""Codes: the coded concepts of labels, as DICOM objects hold them (PS3.3 section 8)."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from unetr_app.io.dicom.slice import text_of
from unetr_app.io.names import short_hash
from unetr_app.labels import Code, Label

LOCAL_SCHEME = "99UNETR"
"""Scheme of codes made up for labels that have none; PS3.16 section 8: local names begin "99"."""

_UNKNOWN_KIND = Code(LOCAL_SCHEME, "UNSPECIFIED", "Unspecified")
_LONGEST_VALUE = 16  # of Code Value (SH); longer ones go into Long Code Value
_LONGEST_MEANING = 64  # LO
_LONGEST_SCHEME = 16  # SH


@dataclass(frozen=True)
class LabelCodes:
    """What a label is, in codes; every object needs the first two.

    Args:
        category: What kind of thing it is (segmented property category).
        type: What it is (segmented property type).
        modifier: What narrows the type, such as a side; None where nothing does.
    """

    category: Code
    type: Code
    modifier: Code | None = None

    @property
    def is_local(self) -> bool:
        """Was a code made up?"""
        return LOCAL_SCHEME in (self.category.scheme, self.type.scheme)


def codes_of(label: Label) -> LabelCodes:
    """A label's codes; where it has none a local one, always the same for the same name.

    Example:
        >>> codes_of(Label(1, "Lesion")).type
        Code(scheme='99UNETR', value='D94AEE94', meaning='Lesion')
    """
    local = Code(LOCAL_SCHEME, short_hash(label.name).upper(), label.name.strip())
    return LabelCodes(label.category or _UNKNOWN_KIND, label.type or local, label.modifier)


def local_code_warnings(labels: Iterable[Label]) -> tuple[str, ...]:
    """A warning where labels have no codes, so that other systems know them by name alone."""
    names = [label.name for label in labels if codes_of(label).is_local]
    if not names:
        return ()
    shown = ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
    return (
        f"without a standard code, and written with a local one ({LOCAL_SCHEME}): {shown}; the "
        "bundle's label table can hold SNOMED CT codes",
    )


def item_of(code: Code) -> Dataset:
    """A code as an item of a code sequence; a meaning that is too long is cut."""
    item = Dataset()
    keyword = "CodeValue" if len(code.value) <= _LONGEST_VALUE else "LongCodeValue"
    setattr(item, keyword, code.value)
    item.CodingSchemeDesignator = code.scheme[:_LONGEST_SCHEME]
    item.CodeMeaning = (code.meaning.replace("\\", "/").strip() or code.value)[:_LONGEST_MEANING]
    return item


def code_in(dataset: Dataset, keyword: str) -> Code | None:
    """The code in a sequence's first item; None where there is none."""
    items: Any = dataset.get(keyword)
    if not items:
        return None
    item = items[0]
    values = (text_of(item, name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue"))
    value = next((found for found in values if found), "")
    meaning = text_of(item, "CodeMeaning")
    scheme = text_of(item, "CodingSchemeDesignator")
    return Code(scheme, value, meaning) if value or meaning else None


def local_scheme() -> Dataset:
    """What the local scheme is, as an item of the Coding Scheme Identification Sequence."""
    item = Dataset()
    item.CodingSchemeDesignator = LOCAL_SCHEME
    item.CodingSchemeName = "Local codes of unetr-app, a hash of the label's name each"
    item.CodingSchemeResponsibleOrganization = "unetr-app"
    return item
