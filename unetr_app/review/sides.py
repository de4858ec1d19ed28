"""Sides: which of two names means the left one of a pair."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Literal

Side = Literal["left", "right"]

_TOKENS: dict[str, Side] = {
    "left": "left", "l": "left", "lh": "left", "lt": "left", "sinistra": "left",
    "sinister": "left", "sin": "left",
    "right": "right", "r": "right", "rh": "right", "rt": "right", "dextra": "right",
    "dexter": "right", "dex": "right",
}  # fmt: skip
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # kidney_L, LeftKidney, ctx-lh-bankssts
_GLUED = re.compile(r"^(left|right)(.{3,})$|^(.{3,})(left|right)$")  # leftkidney, kidneyright


def side_of(name: str) -> tuple[str, Side] | None:
    """What is on a side, and on which; None where a name says no side, or both.

    Words may be parted by anything that is no letter, or by capitals.

    Example:
        >>> side_of("Left kidney"), side_of("kidney_R"), side_of("ctx-lh-insula")
        (('kidney', 'left'), ('kidney', 'right'), ('ctx insula', 'left'))
        >>> side_of("liver") is None
        True
    """
    words = [part for word in _WORDS.findall(name) for part in _unglued(word.casefold())]
    sides = [n for n, word in enumerate(words) if word in _TOKENS]
    if len(sides) != 1:
        return None
    rest = " ".join(word for n, word in enumerate(words) if n != sides[0])
    return (rest, _TOKENS[words[sides[0]]]) if rest else None


def sided_pairs(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """Left and right name of what is there on both sides; what is named twice is left out.

    Example:
        >>> sided_pairs(["Right kidney", "Left kidney", "Liver", "Left lung"])
        (('Left kidney', 'Right kidney'),)
    """
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in names:
        if (sided := side_of(name)) is not None:
            found[sided[0]][sided[1]].append(name)
    return tuple(
        (sides["left"][0], sides["right"][0])
        for sides in found.values()
        if len(sides["left"]) == len(sides["right"]) == 1
    )


def _unglued(word: str) -> list[str]:
    match = _GLUED.match(word)
    return [part for part in match.groups() if part] if match else [word]
