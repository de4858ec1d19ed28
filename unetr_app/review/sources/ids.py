"""Ids: names for entries that no other entry has, whatever the file system."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unetr_app.cases.ids import natural
from unetr_app.io.names import safe_name, short_hash
from unetr_app.review.sources.entry import Entry


def seen_from(folder: Path, paths: Sequence[str]) -> str:
    """What tells files from others, the same however the folder was typed."""
    return "|".join(_seen_from(os.path.abspath(folder), path) for path in paths)


def _seen_from(folder: str, path: str) -> str:
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:  # on another drive
        return os.path.abspath(path)


def identified(entries: Sequence[Entry], unique: Sequence[str]) -> tuple[Entry, ...]:
    """Entries with ids of their own, in order of these; what is listed twice is there once.

    Args:
        entries: Ids may come twice.
        unique: A text for each that tells it from all others and stays the same from day to day.
    """
    names = [safe_name(entry.id) for entry in entries]
    count = Counter(name.casefold() for name in names)
    found = [
        replace(entry, id=name if count[name.casefold()] == 1 else f"{name}-{short_hash(text)}")
        for entry, name, text in zip(entries, names, unique, strict=True)
    ]
    once = {entry.id.casefold(): entry for entry in found}
    return tuple(sorted(once.values(), key=lambda entry: natural(entry.id)))
