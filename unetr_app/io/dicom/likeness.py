"""Likeness: in what slices must agree to be of one grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import SAME_PLACE_MM, normal_of

PARALLEL = float(np.cos(np.deg2rad(1.0)))
"""Cosine of the angle between normals from which stacks count as parallel."""

_ORIENTATION_TOLERANCE = 1e-4
_SPACING_TOLERANCE_MM = 1e-4

# What slices of one volume share exactly, in the words of a message.
_SHARED: tuple[tuple[str, Callable[[Slice], Hashable]], ...] = (
    ("study", lambda s: s.study_uid),
    ("frame of reference", lambda s: s.frame_uid),
    ("modality", lambda s: s.modality),
    ("matrix size", lambda s: (s.rows, s.columns)),
    ("image type", lambda s: s.image_type),
    ("echo or time point", lambda s: s.echo),
)


class _Bucket:
    """Clusters that agree in everything exact, and where each of them points."""

    def __init__(self) -> None:
        self._parts: list[list[Slice]] = []
        self._firsts = np.empty((8, 8))  # (room for clusters, numbers of each one's first slice)

    def add(self, slice_: Slice) -> list[Slice] | None:
        """Put a slice into its cluster; the cluster, if that is a new one."""
        numbers = _numbers(slice_)
        count = len(self._parts)
        off = np.abs(self._firsts[:count] - numbers)
        near = (off[:, :6].max(axis=1) <= _ORIENTATION_TOLERANCE) & (
            off[:, 6:].max(axis=1) <= _SPACING_TOLERANCE_MM
        )
        if near.any():
            self._parts[int(near.argmax())].append(slice_)
            return None
        if count == len(self._firsts):
            self._firsts = np.concatenate([self._firsts, np.empty_like(self._firsts)])
        self._firsts[count] = numbers
        self._parts.append([slice_])
        return self._parts[-1]


def clusters(slices: Sequence[Slice], *, apart: bool = False) -> list[list[Slice]]:
    """Slices that share everything a grid needs, orientation and spacing within rounding.

    Args:
        slices: With orientation and spacing.
        apart: Whether other descriptions mean other clusters too, as they should where no UID
            says which slices belong together.
    """
    parts: list[list[Slice]] = []
    buckets: defaultdict[Hashable, _Bucket] = defaultdict(_Bucket)
    for slice_ in slices:
        shared = tuple(value(slice_) for _, value in _SHARED)
        new = buckets[(*shared, slice_.description if apart else "")].add(slice_)
        if new is not None:
            parts.append(new)
    return parts


def families(parts: Sequence[Sequence[Slice]]) -> list[list[int]]:
    """Numbers of the stacks that are parallel to one another."""
    normals = np.empty((len(parts), 3))
    found: list[list[int]] = []
    for n, part in enumerate(parts):
        normal = normal_of(part[0])
        near = np.flatnonzero(np.abs(normals[: len(found)] @ normal) > PARALLEL)
        if len(near):
            found[int(near[0])].append(n)
        else:
            normals[len(found)] = normal
            found.append([n])
    return found


def differences(one: Slice, other: Slice) -> list[str]:
    """In which respects two slices cannot be of one grid."""
    words = [word for word, value in _SHARED if value(one) != value(other)]
    off = np.abs(_numbers(one) - _numbers(other))
    if off[:6].max() > _ORIENTATION_TOLERANCE:
        words.append("orientation")
    if off[6:].max() > _SPACING_TOLERANCE_MM:
        words.append("pixel spacing")
    return words


def key_of(slice_: Slice) -> str:
    """What tells the slice's volume from others of its series, as text that never varies."""
    numbers = [] if slice_.orientation is None else [*slice_.orientation]
    numbers += [] if slice_.spacing is None else [*slice_.spacing]
    shared = [str(value(slice_)) for word, value in _SHARED if word != "modality"]
    return "|".join([*shared, *(f"{n + 0.0:.4f}" for n in numbers)])


def cosine(one: Sequence[Slice], other: Sequence[Slice]) -> float:
    """Of the angle between the normals of two stacks, 1 where they are parallel."""
    return abs(float(normal_of(one[0]) @ normal_of(other[0])))


def same_places(one: Sequence[Slice], other: Sequence[Slice]) -> bool:
    """Does each slice of a stack lie where one of the other stack lies?"""
    if len(one) != len(other):
        return False
    places = [places_of(part, normal_of(one[0])) for part in (one, other)]
    return bool(np.abs(places[0] - places[1]).max() < SAME_PLACE_MM)


def share_a_place(one: Sequence[Slice], other: Sequence[Slice]) -> bool:
    """Does any slice of a stack lie where one of the other stack lies?"""
    places = np.stack([s.position for s in one if s.position is not None])
    return any(
        np.abs(places - s.position).max(axis=1).min() < SAME_PLACE_MM
        for s in other
        if s.position is not None
    )


def places_of(part: Sequence[Slice], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) positions in mm, LPS+, in order along ``normal``."""
    found = [s.position for s in part if s.position is not None]
    return np.stack(sorted(found, key=lambda p: float(p @ normal)))


def _numbers(slice_: Slice) -> NDArray[np.float64]:
    """(8,) orientation and spacing."""
    assert slice_.orientation is not None
    assert slice_.spacing is not None
    return np.concatenate([slice_.orientation, slice_.spacing])
