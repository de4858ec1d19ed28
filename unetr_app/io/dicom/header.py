"""Header: the values of a DICOM file's elements, decoded one by one as they are asked for.

Thousands of files are looked at for some thirty elements each. pydicom turns an element into an
object of its own before it gives the value; here plain text and numbers come straight from the
bytes, and whatever is not plain goes through pydicom.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import math
import struct
import sys
import zlib
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.tag import BaseTag, Tag

PYDICOM_ERRORS = (
    BytesLengthException, InvalidDicomError, ArithmeticError, AssertionError, AttributeError,
    EOFError, LookupError, MemoryError, OSError, RuntimeError, SyntaxError, TypeError, ValueError,
    struct.error, zlib.error,
)  # fmt: skip
"""What pydicom and its decoders raise for damaged files, by trial."""

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
_LONGEST = 1024  # bytes of a value that is looked at here
_TAGS: dict[str, BaseTag] = {}


class Header:
    """Reads values; what is absent or cannot be read is empty or None, never an error.

    Args:
        dataset: As pydicom reads it; warnings that it gives are the caller's to silence.
        numeric: Keywords whose values are binary numbers, and of which kind (``US``, ``FD``); a
            file of implicit syntax does not say it.

    Example:
        >>> dataset = pydicom.Dataset()
        >>> dataset.PixelSpacing = [0.5, 0.7]
        >>> Header(dataset, {}).numbers("PixelSpacing", 2)
        array([0.5, 0.7])
    """

    def __init__(self, dataset: pydicom.Dataset, numeric: dict[str, str]):
        self._dataset = dataset
        self._numeric = numeric

    def text(self, keyword: str | int) -> str:
        """The value as text, several with backslashes between them."""
        item = self._item(keyword)
        if item is None:
            return ""
        if not isinstance(item, RawDataElement):
            return self._by_pydicom(keyword)
        raw = item
        binary = self._unpacked(raw, keyword)
        if binary is not None:
            return "\\".join(f"{n:g}" for n in binary)
        value = bytes(raw.value or b"")
        if len(value) > _LONGEST or not value.isascii() or b"\x1b" in value:
            return self._by_pydicom(keyword)
        return sys.intern(value.decode("ascii").strip(" \0"))

    def values(self, keyword: str) -> tuple[str, ...]:
        """Each value as text."""
        return tuple(part.strip(" \0") for part in self.text(keyword).split("\\"))

    def numbers(self, keyword: str | int, count: int) -> NDArray[np.float64] | None:
        """(count,) finite numbers, or None."""
        item = self._item(keyword)
        found = self._unpacked(item, keyword) if isinstance(item, RawDataElement) else None
        if found is None:
            text = self.text(keyword)
            try:
                found = [float(part) for part in text.split("\\")] if text else []
            except ValueError:
                return None
        if len(found) != count or not all(map(math.isfinite, found)):
            return None
        return np.array(found)

    def whole(self, keyword: str) -> int | None:
        """One whole number, or None."""
        value = self.numbers(keyword, 1)
        return None if value is None else int(value[0])

    def _item(self, keyword: str | int) -> Any:
        """The element as it was read; None where it is absent."""
        tag = BaseTag(keyword) if isinstance(keyword, int) else _tag_of(keyword)
        try:
            return self._dataset.get_item(tag) if tag in self._dataset else None
        except PYDICOM_ERRORS:
            return None

    def _unpacked(self, raw: RawDataElement, keyword: str | int) -> list[float] | None:
        """Binary numbers; None where the value is text."""
        kind = raw.VR or (self._numeric.get(keyword) if isinstance(keyword, str) else None)
        letter = _BINARY.get(kind or "")
        if letter is None:
            return None
        value = bytes(raw.value or b"")
        count = min(len(value), _LONGEST) // struct.calcsize(letter)
        order = "<" if raw.is_little_endian else ">"
        return list(struct.unpack_from(f"{order}{count}{letter}", value))

    def _by_pydicom(self, keyword: str | int) -> str:
        try:
            found: Any = self._dataset.get(keyword)
            if isinstance(found, pydicom.DataElement):
                found = found.value
        except PYDICOM_ERRORS:
            return ""
        if found is None:
            return ""
        if isinstance(found, (list, tuple)) or hasattr(found, "append"):
            return "\\".join(str(part).strip(" \0") for part in found)
        return str(found).strip(" \0")


def _tag_of(keyword: str) -> BaseTag:
    tag = _TAGS.get(keyword)
    if tag is None:
        tag = _TAGS[keyword] = Tag(keyword)
    return tag
