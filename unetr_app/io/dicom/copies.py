"""Copies: DICOM files that hold the same slice twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from unetr_app.checksum import sha256_of
from unetr_app.errors import UnetrError
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, Slice, read_dataset, text_of
from unetr_app.io.dicom.stack import SAME_PLACE_MM, normal_of

_MEANING = ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation",
            "PhotometricInterpretation", "PixelPaddingValue")  # fmt: skip


def without_copies(part: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Slices with exact copies left out (same place, same pixels), and how many those were.

    Pixels are read only of slices that share their place with another.

    Args:
        part: Slices of one orientation; of two copies the one whose path comes first stays.
    """
    normal = normal_of(part[0])
    along = {s.path: float(s.position @ normal) for s in part if s.position is not None}
    kept: list[Slice] = []
    prints: dict[str, str] = {}
    for slice_ in sorted(part, key=lambda s: (round(along[s.path], 3), s.path)):
        here: list[Slice] = []
        for earlier in reversed(kept):
            if along[slice_.path] - along[earlier.path] > 2 * SAME_PLACE_MM:
                break
            if _together(earlier, slice_):
                here.append(earlier)
        for one in (*here, slice_) if here else ():
            if one.path not in prints:
                prints[one.path] = _fingerprint(one)
        if not any(prints[one.path] == prints[slice_.path] for one in here):
            kept.append(slice_)
    return kept, len(part) - len(kept)


def without_copied_files(files: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Enhanced files with exact copies left out, and how many those were.

    Args:
        files: Of one series, in order of path; of two copies the first stays.
    """
    kept: list[Slice] = []
    prints: set[str] = set()
    uids = [file.sop_uid for file in files]
    for file in files:
        if not file.sop_uid or uids.count(file.sop_uid) == 1:
            kept.append(file)
            continue
        content = _content(file)
        if content not in prints:
            kept.append(file)
        prints.add(content)
    return kept, len(files) - len(kept)


def _content(file: Slice) -> str:
    try:
        return sha256_of(file.path)
    except OSError:
        return file.path


def _together(one: Slice, other: Slice) -> bool:
    assert one.position is not None
    assert other.position is not None
    return bool(np.abs(one.position - other.position).max() < SAME_PLACE_MM)


def _fingerprint(slice_: Slice) -> str:
    """A hash of the pixels and of what gives them meaning; unique where they cannot be read."""
    try:
        dataset = read_dataset(slice_.path, pixels=True)
        data = dataset.get("PixelData")
    except (UnetrError, *PYDICOM_ERRORS):
        return slice_.path
    if not isinstance(data, bytes):
        return slice_.path
    words = [slice_.syntax, *(text_of(dataset, keyword) for keyword in _MEANING)]
    return hashlib.sha256("|".join(words).encode() + data).hexdigest()
