"""Phases: volumes of one series at one place, told apart by when and how slices were acquired.

Slices are told apart by a tag only where their places repeat, and only where every volume that
comes out has exactly the same places. Else there is no telling, and the series is refused.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unetr_app.io.dicom.likeness import same_places
from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import SAME_PLACE_MM, Kind, Stack, arrange

_PLAIN_TIME = re.compile(r"(\d+)(?:\.(\d{1,6}))?")

# By equal values, the likeliest first.
_WAYS: tuple[tuple[str, Callable[[Slice], tuple[str, ...]]], ...] = (
    ("acquisition number", lambda s: (s.acquisition,)),
    ("time point", lambda s: (s.moment.temporal,)),
    ("echo time", lambda s: (s.moment.echo_time,)),
    ("inversion time", lambda s: (s.moment.inversion,)),
    ("flip angle", lambda s: (s.moment.flip,)),
    ("tube voltage", lambda s: (s.moment.voltage,)),
    ("b-value", lambda s: (s.moment.b_value,)),
    ("b-value and direction", lambda s: (s.moment.b_value, s.moment.direction)),
    ("cardiac phase", lambda s: (s.moment.trigger,)),
    ("frame reference time", lambda s: (s.moment.frame_time,)),
    ("several tags", lambda s: (s.acquisition, *s.moment[:-1])),
    ("acquisition time", lambda s: (s.moment.time,)),
)


@dataclass(frozen=True, eq=False)
class Phases:
    """Volumes at one place.

    Args:
        word: By what they were told apart.
        stacks: One for each, of kind ``phases`` where it makes a grid.
    """

    word: str
    stacks: tuple[Stack, ...]


def phases_of(stack: Stack) -> Phases | None:
    """The volumes that a stack holds whose places repeat; None where nothing tells them apart."""
    for word, value in _WAYS:
        parts: defaultdict[tuple[str, ...], list[Slice]] = defaultdict(list)
        for slice_ in stack.slices:
            parts[value(slice_)].append(slice_)
        found = _judged(word, [parts[key] for key in sorted(parts, key=_natural)])
        if found is not None:
            return found
    places = _by_place(stack.slices)
    for word, key, one_after_the_other in (
        ("cardiac phase", _trigger, False), ("acquisition time", _time, True),
    ):  # fmt: skip
        found = _judged(word, _ranked(places, key, one_after_the_other))
        if found is not None:
            return found
    return None


def as_phase(stack: Stack) -> Stack:
    """A stack that shares its place with others."""
    return stack if stack.problem is not None else replace(stack, kind=Kind.PHASES)


def _judged(word: str, parts: Sequence[Sequence[Slice]]) -> Phases | None:
    if len(parts) < 2 or min(map(len, parts)) < 2:
        return None
    if not all(same_places(parts[0], part) for part in parts[1:]):
        return None
    stacks = [arrange(part) for part in parts]
    if any(stack.kind is Kind.DUPLICATES for stack in stacks):
        return None
    return Phases(word, tuple(map(as_phase, stacks)))


def _by_place(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that lie at one place, place by place.

    Args:
        slices: In order along their normal.
    """
    places: list[list[Slice]] = []
    for slice_ in slices:
        assert slice_.position is not None
        if places:
            first = places[-1][0].position
            assert first is not None
            if np.abs(first - slice_.position).max() < SAME_PLACE_MM:
                places[-1].append(slice_)
                continue
        places.append([slice_])
    return places


def _ranked(
    places: Sequence[Sequence[Slice]], key: Callable[[Slice], str], one_after_the_other: bool
) -> list[list[Slice]]:
    """The first slice of each place in the order of ``key``, the second, and so on.

    Args:
        places: Slices of each place.
        key: Text that sorts; empty where a slice has none.
        one_after_the_other: Whether the second of any place must come after the first of all.
    """
    count = len(places[0])
    if any(len(place) != count for place in places):
        return []
    ranked = [sorted(place, key=lambda s: (key(s), s.where)) for place in places]
    keys = [list(map(key, place)) for place in ranked]
    if any(not row[0] or len(set(row)) < count for row in keys):
        return []
    if one_after_the_other and any(
        max(row[n] for row in keys) >= min(row[n + 1] for row in keys) for n in range(count - 1)
    ):
        return []
    return [[place[n] for place in ranked] for n in range(count)]


def _time(slice_: Slice) -> str:
    """Date and time as text that sorts; empty where it is not plain."""
    found = _PLAIN_TIME.fullmatch(slice_.moment.time)
    return f"{found[1]:0>14}.{found[2] or '':0<6}" if found else ""


def _trigger(slice_: Slice) -> str:
    try:
        return f"{float(slice_.moment.trigger):020.6f}"
    except ValueError:
        return ""


def _natural(values: tuple[str, ...]) -> tuple[tuple[int, float, str], ...]:
    """A sort key in which 2 comes before 10, whatever the values are."""
    return tuple(map(_number_first, values))


def _number_first(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
