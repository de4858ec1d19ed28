"""Ids: names of cases that are safe as file names, and unique."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from unetr_app.cases.case import Case
from unetr_app.io.formats import image_ending
from unetr_app.io.names import safe_name, short_hash

Draft = tuple[Case, str]
"""A case whose id others may have too, and the text that a hash would be made of."""


def stem(path: str) -> str:
    """The name of a file without the ending by which it claims to be an image."""
    name = os.path.basename(path) or os.path.basename(os.path.realpath(path))
    return name[: len(name) - len(image_ending(name))]


def slug(path: str) -> str:
    """The name of a file as an id."""
    return safe_name(stem(path))


def with_unique_ids(drafts: Sequence[Draft]) -> list[Case]:
    """Give every case that shares its id with others a hash, longer where short ones are equal."""
    cases = list(drafts)
    digits = 8
    while digits <= 64:
        count = Counter(case.id.casefold() for case, _ in cases)
        if max(count.values(), default=1) == 1:
            break
        cases = [
            (case, text) if count[case.id.casefold()] == 1
            else (replace(case, id=f"{draft.id}-{short_hash(text, digits)}"), text)
            for (case, text), (draft, _) in zip(cases, drafts, strict=True)
        ]  # fmt: skip
        digits *= 2
    return [case for case, _ in cases]


def natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key in which case2 comes before case10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
