"""Cache: converted networks and choices of backends that outlive a process.

::

    CACHE/backends/<key>/          a converted network, and whole.json with its files' hashes
    CACHE/backends/<key>.json      which backend was chosen

Everything is made under another name and then renamed, so that processes side by side see whole
entries or none. A cache that cannot be used costs time, and nothing else.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from unetr_app.checksum import sha256_of
from unetr_app.errors import UnwritableOutput
from unetr_app.io.atomic import write_json

_WHOLE = "whole.json"
_PART = ".part"
_STALE = 86400  # seconds after which an unfinished entry belongs to nobody


def cache_folder() -> Path | None:
    """Where the user's caches are: ``UNETR_CACHE``, else the system's usual place.

    None where the system knows of none.
    """
    if chosen := os.environ.get("UNETR_CACHE"):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData/Local") / "unetr-app/Cache"
    if sys.platform == "darwin":
        return home / "Library/Caches/unetr-app"
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "unetr-app"


class Cache:
    """Entries and choices, each by a key.

    Args:
        folder: See `cache_folder`; None for a cache that keeps nothing.
    """

    def __init__(self, folder: Path | None):
        self._folder = None if folder is None else folder / "backends"

    def recall(self, key: str) -> dict[str, Any] | None:
        """What was remembered; None where nothing was, or it cannot be read."""
        if self._folder is None:
            return None
        try:
            record = json.loads((self._folder / f"{key}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        return record if isinstance(record, dict) else None

    def remember(self, key: str, record: dict[str, Any]) -> None:
        """Keep a record that JSON can say, if the folder can be written to."""
        if self._folder is not None:
            with suppress(UnwritableOutput):
                write_json(self._folder / f"{key}.json", record)

    def holds(self, key: str) -> bool:
        """Is there an entry?"""
        return self._folder is not None and (self._folder / key / _WHOLE).is_file()

    @contextmanager
    def entry(self, key: str, fill: Callable[[Path], None], needed: int = 0) -> Generator[Path]:
        """A folder that ``fill`` has filled, now or in an earlier process.

        Args:
            key: Of the entry.
            fill: Puts files into an empty folder. Asked where there is no whole entry.
            needed: Bytes that it writes at most; where the cache's disk has no room for them the
                folder is a temporary one elsewhere.

        Yields:
            The folder; for the block alone, since it may be temporary.
        """
        final = None if self._folder is None else self._folder / key
        if final is not None and _is_whole(final):
            yield final
            return
        with self._work_folder(key, needed) as made:
            fill(made)
            kept = final is not None and _keep(made, final)
            yield final if kept and final is not None else made

    @contextmanager
    def _work_folder(self, key: str, needed: int) -> Generator[Path]:
        """An empty folder, beside the entries where it can be; removed unless it was renamed."""
        made: Path | None = None
        if self._folder is not None:
            with suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True)
                _remove_stale(self._folder)
                if shutil.disk_usage(self._folder).free < needed:
                    raise OSError
                made = self._folder / f".{key}.{secrets.token_hex(4)}{_PART}"
                made.mkdir()
        if made is None or not made.is_dir():
            made = Path(tempfile.mkdtemp(prefix="unetr-backend-"))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


def _hashes(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(folder.iterdir()):
        if path.name != _WHOLE:
            found[path.name] = sha256_of(path)
    return found


def _is_whole(entry: Path) -> bool:
    """Are its files those that were written?"""
    try:
        noted = json.loads((entry / _WHOLE).read_text(encoding="utf-8"))
        return bool(noted) and noted == _hashes(entry)
    except (OSError, ValueError, RecursionError):
        return False


def _keep(made: Path, final: Path) -> bool:
    """Rename a filled folder to its entry; false where that cannot be."""
    try:
        write_json(made / _WHOLE, _hashes(made))
        for _ in range(2):
            with suppress(OSError):
                made.rename(final)
                return True
            if _is_whole(final):  # another process was faster
                return True
            _put_away(final)
    except (OSError, UnwritableOutput):
        pass
    return False


def _put_away(entry: Path) -> None:
    """Remove a damaged entry, out of the way of others at once."""
    away = entry.with_name(f".{entry.name}.{secrets.token_hex(4)}{_PART}")
    with suppress(OSError):
        entry.rename(away)
        if away.is_dir():
            shutil.rmtree(away, ignore_errors=True)
        else:
            away.unlink()


def _remove_stale(folder: Path) -> None:
    """Remove what processes left that were killed while they converted."""
    for path in folder.glob(f".*{_PART}"):
        with suppress(OSError):  # another process removed it
            if time.time() - path.stat().st_mtime > _STALE:
                shutil.rmtree(path, ignore_errors=True)
