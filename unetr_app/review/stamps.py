"""Stamps: whether files were changed, told by their size and times before they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, cast

from unetr_app.errors import UnwritableOutput
from unetr_app.io import write_json

_WRITING = Lock()


def stamp_of(paths: Iterable[str | Path]) -> str:
    """A short text that is another one once a file was written, replaced or removed.

    Made of sizes, times (of content and of entry) and file numbers; not of names.

    Args:
        paths: Files; a folder stands for its list of entries.

    Example:
        >>> stamp_of(["no such file"]) == stamp_of(["nor this"])
        True
    """
    known: list[tuple[int, ...]] = []
    for path in paths:
        try:
            info = os.stat(path)
        except OSError:
            known.append(())
        else:
            known.append((info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino))
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:32]


class Hashes:
    """Hashes of a case's files, kept with the stamp that the files had.

    Args:
        path: ``hashes.json``. Where it cannot be written, files are hashed each time.
    """

    def __init__(self, path: Path):
        self._path = path

    def of(self, what: str, paths: Iterable[str | Path], compute: Callable[[], str]) -> str:
        """The hash of some files; computed only where their stamp is not the one that is known.

        Args:
            what: Such as ``source``.
            paths: The files.
            compute: Hashes them.
        """
        paths = tuple(paths)
        stamp = stamp_of(paths)
        known = self._read().get(what)
        if isinstance(known, dict):
            row = cast("dict[str, Any]", known)
            if row.get("stamp") == stamp and isinstance(row.get("hash"), str):
                return row["hash"]
        found = compute()
        if stamp_of(paths) == stamp and self._path.parent.is_dir():
            with _WRITING, suppress(UnwritableOutput):
                write_json(self._path, self._read() | {what: {"stamp": stamp, "hash": found}})
        return found

    def _read(self) -> dict[str, Any]:
        return read_object(self._path)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file of ours; empty where it is missing or damaged."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
