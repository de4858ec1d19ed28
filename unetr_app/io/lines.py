"""Lines: files that only ever grow, a whole line at a time."""

from __future__ import annotations

import os

from unetr_app.io.atomic import PathLike

_APPEND = (
    os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
)


def append_line(path: PathLike, line: bytes) -> None:
    """Add a line to a file; it is on the disk when this returns.

    A line that a crash tore is closed first, so that it spoils no other. The caller keeps other
    processes away meanwhile.

    Args:
        path: The file; made where it is missing, in a folder that is there.
        line: With its line feed.

    Raises:
        OSError: If the operating system refuses; what was there is unharmed.
    """
    handle = os.open(path, _APPEND, 0o666)  # less what the user's umask takes away
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        if end:
            os.lseek(handle, end - 1, os.SEEK_SET)
            if os.read(handle, 1) != b"\n":
                line = b"\n" + line
        while line:
            line = line[os.write(handle, line) :]
        os.fsync(handle)
    finally:
        os.close(handle)
