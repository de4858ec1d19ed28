"""CheckedStream: the bytes of a file, unpacked, with its checksum verified at the end.

Readers of images stop as soon as they have their voxels and never reach the checksum that follows,
so that a flipped bit or a cut passes unseen. This stream is read to its end.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Generator, Iterator
from types import TracebackType
from typing import BinaryIO, Literal, Self

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike

GZIP_MAGIC = b"\x1f\x8b"
Packing = Literal["none", "gzip", "zlib"]

# Opening a pipe waits for its other end, unless told not to; Windows changes line ends, likewise.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_CHUNK = 1 << 20
_WINDOW_BITS = {"gzip": 31, "zlib": 15}
_COPY_AGAIN = "Copy or export the file again."


class CheckedStream:
    """The content of a file from ``offset`` on, unpacked; a context manager.

    Args:
        path: The file.
        offset: Bytes to leave out at the beginning.
        packing: How the rest is packed; found out by content where None.

    Raises:
        UnreadableInput: If the file cannot be opened.

    Example:
        >>> import gzip, tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "a.gz"
        >>> _ = path.write_bytes(gzip.compress(b"voxels"))
        >>> with CheckedStream(path) as stream:
        ...     print(stream.read(3), stream.read(9))
        ...     stream.finish()
        b'vox' b'els'
    """

    def __init__(self, path: PathLike, *, offset: int = 0, packing: Packing | None = None):
        self.path = path
        self._file = open_input(path)
        self.stored = max(os.fstat(self._file.fileno()).st_size - offset, 0)
        self._file.seek(offset)
        if packing is None:
            packing = "gzip" if self._file.read(2) == GZIP_MAGIC else "none"
            self._file.seek(offset)
        self.packing: Packing = packing
        self._rest = memoryview(b"")
        self._chunks: Iterator[bytes] = (
            iter(lambda: self._file.read(_CHUNK), b"") if packing == "none" else self._unpacked()
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes; fewer at the end.

        Raises:
            UnreadableInput: If the stream is damaged.
        """
        target = np.empty(count, np.uint8)
        return target[: self.read_into(target)].tobytes()

    def read_into(self, target: NDArray[np.uint8]) -> int:
        """Fill ``target`` (N,) and say how many bytes there were; fewer than N at the end.

        Raises:
            UnreadableInput: If the stream is damaged.
        """
        done = 0
        while done < len(target):
            if not self._rest:
                chunk = self._next()
                if not chunk:
                    break
                self._rest = memoryview(chunk)
            piece = self._rest[: len(target) - done]
            target[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            self._rest = self._rest[len(piece) :]
            done += len(piece)
        return done

    def skip(self, count: int) -> int:
        """Read over ``count`` bytes and say how many there were; fewer at the end.

        Raises:
            UnreadableInput: If the stream is damaged.
        """
        done = 0
        while done < count and (self._rest or self._advance()):
            step = min(len(self._rest), count - done)
            self._rest = self._rest[step:]
            done += step
        return done

    def finish(self, slack: int = 0) -> None:
        """Read to the end, where the checksum is.

        Args:
            slack: Bytes beyond those already read that may still come.

        Raises:
            UnreadableInput: If the stream is damaged, or goes on for more than ``slack`` bytes.
        """
        if self.skip(slack + 1) > slack:
            raise UnreadableInput(
                "the file holds more data than its header promises", cure=_COPY_AGAIN,
                path=self.path,
            )  # fmt: skip

    def _advance(self) -> bool:
        self._rest = memoryview(self._next())
        return len(self._rest) > 0

    def _next(self) -> bytes:
        try:
            return next(self._chunks, b"")
        except zlib.error as error:
            raise UnreadableInput(
                "the compressed data are damaged (their checksum or structure does not fit)",
                cure=_COPY_AGAIN, path=self.path,
            ) from error  # fmt: skip
        except OSError as error:
            raise unreadable(error, self.path) from error

    def _unpacked(self) -> Generator[bytes]:
        """Unpacked chunks of all members; zeros may follow a member (gzip allows padding)."""
        data = self._file.read(_CHUNK)
        if not data:
            raise _cut(self.path)
        while data:
            engine = zlib.decompressobj(_WINDOW_BITS[self.packing])
            while not engine.eof:
                piece = engine.decompress(data, _CHUNK)
                data = engine.unconsumed_tail
                if piece:
                    yield piece
                if not data and not engine.eof:
                    data = self._file.read(_CHUNK)
                    if not data and not piece:
                        raise _cut(self.path)
            data = engine.unused_data.lstrip(b"\0")
            while not data and (more := self._file.read(_CHUNK)):
                data = more.lstrip(b"\0")


def open_input(path: PathLike) -> BinaryIO:
    """Open a file for reading.

    Raises:
        UnreadableInput: If the operating system refuses, or it is a folder, a pipe, a socket or a
            device: these are not waited for.
    """
    try:
        number = os.open(path, os.O_RDONLY | _AT_ONCE)
    except OSError as error:
        raise unreadable(error, path) from error
    kind = os.fstat(number).st_mode
    if stat.S_ISREG(kind):
        return os.fdopen(number, "rb")
    os.close(number)
    if stat.S_ISDIR(kind):
        raise unreadable(IsADirectoryError(), path)
    raise UnreadableInput(
        "is no file but a pipe, a socket or a device", cure="Name a file.", path=path
    )


def unreadable(error: OSError, path: PathLike) -> UnreadableInput:
    """What to tell the user when the operating system refuses to read a file."""
    if isinstance(error, FileNotFoundError):
        return UnreadableInput("there is no such file", cure="Check the path.", path=path)
    if isinstance(error, IsADirectoryError):
        return UnreadableInput(
            "is a folder where a file is needed", cure="Name the file.", path=path
        )
    return UnreadableInput(
        f"could not be opened: {error.strerror or 'the operating system refused'}",
        cure="Check the permissions and the disk or network that it lies on.",
        path=path,
    )


def _cut(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "the file is truncated: its compressed data end too early", cure=_COPY_AGAIN, path=path
    )
