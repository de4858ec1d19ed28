"""Short stay: a private folder for images that are here only while they are worked on.

It is removed at the end; what a killed process left is removed by the next one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from unetr_app.batch.lock import FileLock
from unetr_app.errors import UnwritableOutput

_PREFIX = "unetr-images-"
_LOCK = ".lock"
_YOUNG = 60.0  # seconds in which a folder may be without its lock yet


@contextmanager
def short_stay() -> Generator[Path]:
    """Give an empty folder that nobody else may look into, and remove it at the end.

    It lies where the system keeps temporary files; ``TMPDIR`` chooses another place.

    Yields:
        The folder.

    Raises:
        UnwritableOutput: If it cannot be made.

    Example:
        >>> with short_stay() as folder:
        ...     _ = (folder / "slice.dcm").write_bytes(b"")
        >>> folder.exists()
        False
    """
    _remove_stale(Path(tempfile.gettempdir()))
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError as error:
        raise UnwritableOutput(
            f"no temporary folder can be made: {error.strerror}",
            cure="Free some space, or name another place in TMPDIR.",
        ) from error
    lock = FileLock(folder / _LOCK)
    try:
        lock.take()
        yield folder
    finally:
        lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    """Remove folders of ours whose process is gone."""
    for folder in parent.glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
        except OSError:
            continue
        ours = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        if folder.is_symlink() or not folder.is_dir() or not ours:
            continue
        if time.time() - status.st_mtime < _YOUNG:
            continue
        lock = FileLock(folder / _LOCK)
        with suppress(UnwritableOutput):
            if lock.take():
                lock.release()
                shutil.rmtree(folder, ignore_errors=True)
