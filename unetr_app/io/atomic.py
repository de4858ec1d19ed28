"""Atomic files: a file appears under its name only when it is whole.

Everything is written to a hidden temporary file in the same folder, flushed to the disk, and only
then moved over the final name. A killed process leaves at most the hidden file; the next writer of
the same name removes it, unless somebody still writes it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetr_app.errors import UnwritableOutput

if sys.platform != "win32":
    import fcntl

PathLike = str | os.PathLike[str]

_PART = ".part"  # marks our temporary files: .<name>.<token>.part<ending>
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replacing(path: PathLike) -> Generator[Path]:
    """Give a temporary path to write to; when the block ends well, it becomes ``path``.

    The temporary file lies in the same folder, has the same ending, and exists (empty) when the
    block begins. Missing folders are made. When the block raises, the temporary file is removed
    and ``path`` is as it was.

    Args:
        path: The final name. A symbolic link of that name is replaced, not followed.

    Yields:
        The temporary path.

    Raises:
        UnwritableOutput: If the operating system refuses, for example because the disk is full.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "volumes.csv"
        >>> with replacing(path) as part:
        ...     _ = part.write_text("case,ml")
        >>> path.read_text()
        'case,ml'
    """
    final = Path(path)
    part: Path | None = None
    handle = -1
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(final)
        part, handle = _create(final)
        yield part
        _flush(part)
        if sys.platform == "win32":  # there, an open file cannot be moved
            os.close(handle)
            handle = -1
        part.replace(final)
        part = None
        _flush(final.parent)
    except OSError as error:
        raise _unwritable(error, final) from error
    finally:
        if handle >= 0:
            os.close(handle)
        if part is not None:
            with contextlib.suppress(OSError):
                part.unlink()


def write_bytes(path: PathLike, data: bytes) -> Path:
    """Write bytes so that the file is whole or absent.

    Raises:
        UnwritableOutput: If the operating system refuses.
    """
    with replacing(path) as part:
        part.write_bytes(data)
    return Path(path)


def write_text(path: PathLike, text: str) -> Path:
    """Write text as UTF-8 with plain line feeds, so that the file is whole or absent.

    Raises:
        UnwritableOutput: If the operating system refuses.
    """
    return write_bytes(path, text.encode("utf-8"))


def write_json(path: PathLike, value: Any) -> Path:
    """Write a value as indented JSON, so that the file is whole or absent.

    Args:
        path: The final name.
        value: What `json.dumps` takes; NaN and infinity are refused, since JSON has no word for
            them.

    Raises:
        UnwritableOutput: If the operating system refuses.
        ValueError: If the value cannot be said in JSON.
    """
    return write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def _names(final: Path) -> tuple[str, str]:
    """Beginning and ending shared by all temporary files of ``final``."""
    ending = "".join(final.suffixes[-2:]) if final.suffix.lower() == ".gz" else final.suffix
    return f".{final.name[: len(final.name) - len(ending)]}.", f"{_PART}{ending}"


def _create(final: Path) -> tuple[Path, int]:
    start, end = _names(final)
    part = final.with_name(f"{start}{secrets.token_hex(4)}{end}")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(part, flags, 0o666)  # less what the user's umask takes away
    _lock(handle)
    return part, handle


def _lock(handle: int) -> bool:
    """Try to hold the file; false where another process does, or where nobody can know."""
    if sys.platform == "win32":
        return True  # there, an open file cannot be removed
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held, or a file system without locks
        return False
    return True


def _remove_stale(final: Path) -> None:
    """Remove temporary files of the same name that a killed process left."""
    start, end = _names(final)
    for name in os.listdir(final.parent):
        if name.startswith(start) and name.endswith(end) and len(name) == len(start + end) + 8:
            with contextlib.suppress(OSError):
                stale = final.with_name(name)
                handle = os.open(stale, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                free = _lock(handle)
                os.close(handle)
                if free:
                    stale.unlink()


def _flush(path: Path) -> None:
    """Have the operating system put a file or a folder's list of names onto the disk."""
    if sys.platform == "win32" and path.is_dir():
        return  # folders cannot be opened there
    handle = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(handle)


def _unwritable(error: OSError, final: Path) -> UnwritableOutput:
    if error.errno in _FULL:
        return UnwritableOutput(
            "could not be written: the disk or the quota is full",
            cure="Free some space and run again; files that are already there are whole.",
            path=final,
        )
    if error.errno in _FORBIDDEN:
        return UnwritableOutput(
            "could not be written: writing is not allowed here",
            cure="Choose a folder that you may write to, or change its permissions.",
            path=final,
        )
    return UnwritableOutput(
        f"could not be written: {error.strerror or 'the operating system refused'}", path=final,
        cure="Check that the folder exists and can be written to.",
    )  # fmt: skip
