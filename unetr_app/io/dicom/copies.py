"""Copies: DICOM files that hold the same slice twice."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from unetr_app.checksum import sha256_of
from unetr_app.errors import UnetrError
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, Slice, read_dataset, text_of

_MEANING = ("RescaleSlope", "RescaleIntercept", "BitsStored", "PixelRepresentation",
            "PhotometricInterpretation", "PixelPaddingValue")  # fmt: skip
_LITTLE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # the same pixels, byte for byte


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Slices with exact copies left out: same place, same acquisition, same pixels.

    Pixels are read only of slices whose headers agree that they may be the same.

    Args:
        slices: Of any orientation; of two copies the one whose path comes first stays.

    Returns:
        The slices that stay, in order of their paths; the copies, each with its original.
    """
    alike: defaultdict[Hashable, list[Slice]] = defaultdict(list)
    for slice_ in sorted(slices, key=lambda s: s.where):
        alike[_likeness(slice_)].append(slice_)
    kept: list[Slice] = []
    dropped: list[tuple[Slice, Slice]] = []
    for group in alike.values():
        first: dict[str, Slice] = {}
        for slice_ in group:
            print_ = _fingerprint(slice_) if len(group) > 1 else ""
            original = first.setdefault(print_, slice_)
            if original is slice_:
                kept.append(slice_)
            else:
                dropped.append((slice_, original))
    return sorted(kept, key=lambda s: s.where), dropped


def without_copied_files(files: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, Slice]]]:
    """Enhanced files with exact copies left out, byte for byte.

    Args:
        files: Of one series, in order of path; of two copies the first stays.

    Returns:
        The files that stay; the copies, each with its original.
    """
    kept: list[Slice] = []
    dropped: list[tuple[Slice, Slice]] = []
    prints: dict[str, Slice] = {}
    count = Counter(file.sop_uid for file in files)
    for file in files:
        if not file.sop_uid or count[file.sop_uid] == 1:
            kept.append(file)
            continue
        original = prints.setdefault(_content(file), file)
        if original is file:
            kept.append(file)
        else:
            dropped.append((file, original))
    return kept, dropped


def _content(file: Slice) -> str:
    try:
        return sha256_of(file.path)
    except OSError:
        return file.path


def _likeness(slice_: Slice) -> Hashable:
    """What copies have in common, as their headers have it."""
    if slice_.position is None or slice_.orientation is None:
        return slice_.path
    place = (*(slice_.position.round(3) + 0.0), *(slice_.orientation.round(3) + 0.0))
    return (*place, slice_.rows, slice_.columns, slice_.acquisition, slice_.echo, slice_.moment)


def _fingerprint(slice_: Slice) -> str:
    """A hash of the pixels and of what gives them meaning; unique where they cannot be read."""
    try:
        dataset = read_dataset(slice_.path, pixels=True)
        data = dataset.get("PixelData")
    except (UnetrError, *PYDICOM_ERRORS):
        return slice_.path
    if not isinstance(data, bytes):
        return slice_.path
    syntax = "" if slice_.syntax in _LITTLE else slice_.syntax
    words = [syntax, *(text_of(dataset, keyword) for keyword in _MEANING)]
    return hashlib.sha256("|".join(words).encode() + data).hexdigest()
