"""Trouble with the disk, which every further case would meet too."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from unetr_app.errors import UnwritableOutput

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def disk_trouble(error: BaseException, out: Path, *, needed: int = 0) -> UnwritableOutput | None:
    """What to do about a full or read-only disk, where that is behind an error.

    Args:
        error: What was raised.
        out: The output folder.
        needed: Bytes that the case at hand may need.
    """
    if isinstance(error, UnwritableOutput) and not _lies_in(out, error.path):
        return None  # it names another place
    for cause in (error, error.__cause__, error.__context__):
        if isinstance(cause, OSError) and cause.errno in {*_FULL, errno.EROFS}:
            break
    else:
        return None
    if cause.errno == errno.EROFS:
        cure = "Choose an output folder that can be written to."
    else:
        size = 1 + needed // 2**20
        cure = (
            f"Free some space on the disk of the output folder (this case alone may need {size} "
            "MiB), or choose another, and run the same command again: what is finished is kept."
        )
    trouble = UnwritableOutput(
        f"the results cannot be written: {cause.strerror}", cure=cure, path=out
    )
    trouble.__cause__ = cause
    return trouble


def _lies_in(out: Path, path: str | None) -> bool:
    return path is None or Path(os.path.abspath(path)).is_relative_to(os.path.abspath(out))
