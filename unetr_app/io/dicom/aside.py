"""Aside: a DICOM file that is no part of a volume, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.uid import UID

from unetr_app.io.dicom.likeness import PARALLEL, cosine, differences, share_a_place
from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import Kind

_DERIVED = {"DERIVED", "SECONDARY"}


@dataclass(frozen=True, eq=False)
class Aside:
    """A file that was set aside.

    Args:
        slice: Its headers.
        kind: ``localizer`` or ``not-a-volume``.
        why: What it is, in words.
    """

    slice: Slice
    kind: Kind
    why: str


def aside_of(slice_: Slice) -> Aside | None:
    """The file set aside, if its own headers say that it is no slice of a volume."""
    if not slice_.aside:
        return None
    if slice_.aside == "localizer":
        return scout(slice_)
    return Aside(slice_, Kind.NOT_A_VOLUME, _class_of(slice_) or slice_.aside)


def scout(slice_: Slice) -> Aside:
    """A localizer."""
    return Aside(slice_, Kind.LOCALIZER, "a localizer")


def derived_beside(parts: Sequence[Sequence[Slice]]) -> list[Aside]:
    """Single derived pictures in a series that each lie at a place where it has a slice already.

    A derived slice at a place of its own is not among them: the series may need it to be whole.

    Args:
        parts: Slices of a series that share a grid, part by part.
    """
    largest = max(parts, key=len)
    if len(largest) < 2 or not _DERIVED.isdisjoint(largest[0].image_type):
        return []
    return [
        Aside(part[0], Kind.NOT_A_VOLUME, "a derived picture")
        for part in parts
        if len(part) == 1
        and not _DERIVED.isdisjoint(part[0].image_type)
        and "image type" in differences(part[0], largest[0])
        and cosine(part, largest) > PARALLEL
        and share_a_place(largest, part)
    ]


def _class_of(slice_: Slice) -> str:
    name = UID(slice_.sop_class).name if slice_.sop_class else ""
    return name if name != slice_.sop_class else ""
