"""Multipart: one DICOM file in an answer or a request, never whole in memory (RFC 2046, 5.1)."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from email.message import Message
from pathlib import Path

from unetr_app.errors import RemoteFailure
from unetr_app.io.dicom.web.retries import PassingFailure

MOST_AROUND = 2**15
"""Bytes that a multipart may have besides the content of its part."""

_MOST_HEADERS = 2**14
_MOST_BESIDE = 2**12  # bytes before the first part and after the last
_LONGEST_BOUNDARY = 200
_PIECE = 2**18


def save_only_part(
    pieces: Iterable[bytes], content_type: str, save: Callable[[bytes], object]
) -> None:
    """Hand on the content of the one part of an answer.

    Args:
        pieces: The answer's body.
        content_type: As the answer's headers have it; a body that is ``application/dicom`` itself
            is handed on as it is.
        save: Takes the content piece by piece.

    Raises:
        PassingFailure: If the body ends too early.
        RemoteFailure: If it is no multipart of one part.
    """
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == "application/dicom":
        for piece in pieces:
            save(piece)
        return
    boundary = header.get_boundary("")
    if kind != "multipart/related" or not 0 < len(boundary) <= _LONGEST_BOUNDARY:
        raise _wrong("is not a multipart of DICOM files")
    mark = b"\r\n--" + boundary.encode("utf-8", "replace")
    feed = _Feed(pieces)
    feed.until(mark, _at_most(_MOST_BESIDE))
    if feed.begins_with(b"--"):
        raise _wrong("holds no part")
    feed.until(b"\r\n\r\n", _at_most(_MOST_HEADERS))
    feed.until(mark, save)
    if not feed.begins_with(b"--"):
        raise _wrong("holds several parts where one was asked for")
    feed.rest(_at_most(_MOST_BESIDE))


class FilePart:
    """A request's body of one part, read from a file as it is sent; its length is known before.

    Args:
        path: A DICOM file.
    """

    def __init__(self, path: Path):
        boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        self._head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._path = path
        self._size = os.path.getsize(path)

    def __len__(self) -> int:
        return len(self._head) + self._size + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        with open(self._path, "rb") as file:
            left = self._size
            while piece := file.read(min(_PIECE, left)):
                left -= len(piece)
                yield piece
        yield self._tail


class _Feed:
    """Pieces of bytes, taken up to marks that may lie across them."""

    def __init__(self, pieces: Iterable[bytes]):
        self._pieces = iter(pieces)
        self._held = bytearray(b"\r\n")  # so that a mark at the very beginning is found too

    def until(self, mark: bytes, take: Callable[[bytes], object]) -> None:
        """Hand on what comes before a mark, and drop the mark."""
        while (at := self._held.find(mark)) < 0:
            sure = len(self._held) - len(mark) + 1
            if sure > 0:
                take(bytes(self._held[:sure]))
                del self._held[:sure]
            self._read()
        take(bytes(self._held[:at]))
        del self._held[: at + len(mark)]

    def begins_with(self, mark: bytes) -> bool:
        """Does a mark come next? It stays where it is."""
        while len(self._held) < len(mark):
            self._read()
        return self._held.startswith(mark)

    def _read(self) -> None:
        piece = next(self._pieces, None)
        if piece is None:
            raise PassingFailure(
                "the server's answer ends too early", reached=True,
                cure="Try again; the log of the server may say more.",
            )  # fmt: skip
        self._held += piece

    def rest(self, take: Callable[[bytes], object]) -> None:
        """Hand on all that is left."""
        take(bytes(self._held))
        for piece in self._pieces:
            take(piece)


def _at_most(most: int) -> Callable[[bytes], None]:
    """Takes pieces up to a number of bytes, and forgets them."""
    taken = 0

    def take(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)
        if taken > most:
            raise _wrong("is not the multipart that it should be")

    return take


def _wrong(what: str) -> RemoteFailure:
    return RemoteFailure(f"the server's answer {what}", cure="Ask those who run the server.")
