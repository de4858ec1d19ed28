"""FileLock: at most one holder among all processes; a holder that dies lets go."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from unetr_app.errors import UnwritableOutput

_TRIES = 100

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int, *, wait: bool) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock(handle: int, *, wait: bool) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            return False
        return True


class FileLock:
    """A lock on a file, kept by the operating system: it ends with the process, however that ends.

    The file is there while the lock is held and says who holds it; letting go removes it. A file
    that a killed process left behind is nobody's and simply taken over.

    Args:
        path: The lock file; its folder is made where it is missing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._handle: int | None = None

    @property
    def is_held(self) -> bool:
        """Is it held by this object?"""
        return self._handle is not None

    def take(self, *, wait: bool = False) -> bool:
        """Take the lock.

        Args:
            wait: Wait until it is free.

        Returns:
            Is it held now? False where another holder has it.

        Raises:
            UnwritableOutput: If the lock file cannot be made, or its file system knows no locks.
        """
        while self._handle is None:
            handle = self._open()
            try:
                taken = _lock(handle, wait=wait)
            except OSError as error:
                os.close(handle)
                raise self._unwritable(error) from error
            if not taken:
                os.close(handle)
                return False
            if self._is_still_there(handle):
                self._handle = handle
                self._sign(handle)
            else:  # the former holder removed this file between our opening and locking it
                os.close(handle)
        return True

    def release(self, *, remove: bool = True) -> None:
        """Let go and remove the file; nothing where it is not held."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        late = sys.platform == "win32"  # an open file cannot be removed there
        if late:
            os.close(handle)
        if remove:
            with suppress(OSError):
                self.path.unlink()
        if not late:
            os.close(handle)

    def __enter__(self) -> FileLock:
        self.take(wait=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        for _ in range(_TRIES):
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                return os.open(self.path, flags, 0o666)  # less the umask: a group may share it
            except FileNotFoundError:  # another process has just cleared the empty folder away
                continue
            except OSError as error:
                raise self._unwritable(error) from error
        raise self._unwritable(FileNotFoundError())

    def _is_still_there(self, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), self.path.stat())
        except FileNotFoundError:
            return False

    @staticmethod
    def _sign(handle: int) -> None:
        holder = {"pid": os.getpid(), "host": socket.gethostname()}
        with suppress(OSError):  # a full disk: the lock holds all the same
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(holder).encode())

    def _unwritable(self, error: OSError) -> UnwritableOutput:
        return UnwritableOutput(
            f"the output folder cannot be locked: {error.strerror or type(error).__name__}",
            cure="Choose an output folder on a local disk that you may write to.",
            path=self.path,
        )
