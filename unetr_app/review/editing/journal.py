"""StrokeJournal: steps of editing on the disk, before anybody is told that they are done.

An append-only file. Its head names the array that the steps begin with; each record after it holds
one step, or seconds of work, with a checksum (CRC-32 of ISO 3309). Each record is flushed to the
disk before `append` returns, so a killed process loses at most the stroke under way. All records of
a step carry the whole step: an undo can be replayed though the step was made before the journal was
begun anew.

::

    head     "UNETRSTK" | uint16 version | uint16 length | base | uint32 CRC of all before
    record   uint8 kind | uint64 length | payload | uint32 CRC of all before, within the record
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput, UnwritableOutput
from unetr_app.io import atomic
from unetr_app.review.editing.history import EditHistory, Kind

_MAGIC = b"UNETRSTK"
_VERSION = 1
_HEAD = struct.Struct("<8sHH")
_RECORD = struct.Struct("<BQ")
_CRC = struct.Struct("<I")
_SECONDS = struct.Struct("<d")
_KINDS: dict[int, Kind] = {1: "change", 2: "undo", 3: "redo"}
_TIME = 4
_OPEN = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def base_hash(data: NDArray[Any]) -> str:
    """What a journal calls the array that its steps begin with: type, shape and SHA-256.

    Example:
        >>> base_hash(np.zeros((2, 3, 4), np.uint8))[:12]
        'uint8:2x3x4:'
    """
    shape = "x".join(str(n) for n in data.shape)
    voxels = np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return f"{data.dtype.name}:{shape}:{hashlib.sha256(voxels.data).hexdigest()}"


@dataclass(frozen=True)
class _Record:
    kind: Kind
    packed: bytes
    begin: int


class StrokeJournal:
    """The journal of one array under edit. Build it with `open`.

    One process writes it at a time; the caller holds the case's lock. Opening changes no file: the
    file is made, or freed of a torn end, when the first record is appended.

    Args:
        path: The file.
        base: `base_hash` of the array that the steps begin with.
    """

    def __init__(self, path: Path, base: str):
        self.path = path
        self.seconds = 0.0
        self.damage = ""
        self._base = base
        self._end = 0  # of what is whole; 0 where there is no file yet
        self._length = 0  # of the file as we left it
        self._records: list[_Record] = []
        self._pending: list[bytes] = []
        self._is_torn_by_us = False

    @classmethod
    def open(cls, path: atomic.PathLike, base: str) -> StrokeJournal:
        """Read the journal at ``path``, or begin one where there is none.

        What is torn or damaged, and everything behind it, is passed over (`damage` says so); the
        first append moves it to a file of its own beside the journal.

        Args:
            path: The file; its folder need not exist yet.
            base: `base_hash` of the array that is edited.

        Raises:
            InvalidRequest: If the journal belongs to another array.
            UnreadableInput: If the file is no journal, or cannot be read.
        """
        journal = cls(Path(path), base)
        try:
            content = journal.path.read_bytes()
        except FileNotFoundError:
            return journal
        except OSError as error:
            raise _unreadable(f"the journal cannot be read: {error.strerror}", path) from error
        if content:
            journal._scan(content)
        return journal

    @property
    def steps(self) -> int:
        """Steps read from the file and not replayed yet."""
        return len(self._records)

    @property
    def pending(self) -> int:
        """Records that a full disk kept from being written; the next append tries them again."""
        return len(self._pending)

    def replay(self, history: EditHistory) -> int:
        """Do the steps of the file again, then keep the history's further steps.

        Args:
            history: Fresh, around the array that the journal begins with.

        Returns:
            Steps done again. A step that does not fit, and those behind it, are passed over like a
            damaged end; `damage` says so.
        """
        done = 0
        for record in self._records:
            try:
                history.replay(record.kind, record.packed)
            except (UnreadableInput, InvalidRequest):
                self._end = record.begin
                self.damage = f"{len(self._records) - done} steps of editing could not be replayed"
                break
            done += 1
        self._records = []
        history.journal = self
        return done

    def append(self, kind: Kind, packed: bytes) -> None:
        """Keep a step; it is on the disk when this returns.

        Args:
            kind: Was it done, undone, or done again?
            packed: The step, as `packing.pack` wrote it.

        Raises:
            UnwritableOutput: If it cannot be written, for example because the disk is full. It is
                kept and written with the next one; what was written before is unharmed.
        """
        number = next(number for number, name in _KINDS.items() if name == kind)
        self._append(_framed(number, packed))

    def add_seconds(self, seconds: float) -> None:
        """Keep time spent at work; `seconds` is the sum.

        Raises:
            UnwritableOutput: As `append`.
        """
        self.seconds += seconds
        self._append(_framed(_TIME, _SECONDS.pack(seconds)))

    def flush(self) -> None:
        """Try again to write what is pending.

        Raises:
            UnwritableOutput: As `append`.
        """
        if self._pending:
            self._write_pending()

    def clear(self, base: str) -> None:
        """Begin anew from another array, after a version was saved; atomic.

        Args:
            base: `base_hash` of the array as it was saved.

        Raises:
            UnwritableOutput: If it cannot be written; the old journal stays as it is until the next
                step, which begins the new one.
        """
        self._base, self._end = base, 0
        self._records, self._pending = [], []
        self.seconds, self.damage, self._is_torn_by_us = 0.0, "", False
        self._begin()

    def _scan(self, content: bytes) -> None:
        end, base = _read_head(content, self.path)
        if base != self._base:
            raise InvalidRequest(
                "the journal of edits belongs to other labels than these",
                cure="Set it aside; it was made for another version of them.",
                path=self.path,
            )
        while True:
            found = _next_record(content, end)
            if found is None:
                break
            number, payload, after = found
            if number == _TIME:
                self.seconds += _SECONDS.unpack(payload)[0]
            else:
                self._records.append(_Record(_KINDS[number], payload, end))
            end = after
        self._end, self._length = end, len(content)
        if end < len(content):
            self.damage = f"the last {len(content) - end} bytes of the journal of edits are damaged"

    def _append(self, record: bytes) -> None:
        self._pending.append(record)
        self._write_pending()

    def _write_pending(self) -> None:
        """Put everything pending onto the disk, behind what is whole there."""
        if not self._end:
            self._begin()
        try:
            handle = os.open(self.path, _OPEN)
            try:
                self._repair(handle)
                self._is_torn_by_us = True  # until all of it is on the disk
                _write_all(handle, b"".join(self._pending))
                os.fsync(handle)
                self._end = self._length = os.lseek(handle, 0, os.SEEK_CUR)
            finally:
                os.close(handle)
        except OSError as error:
            raise UnwritableOutput(
                f"{len(self._pending)} steps of editing could not be put on the disk: "
                f"{error.strerror or 'the operating system refused'}",
                cure="Free some space; they are kept in memory and written with the next step.",
                path=self.path,
            ) from error
        self._pending = []
        self._is_torn_by_us = False

    def _begin(self) -> None:
        """Write the head alone, over whatever is there."""
        head = _head(self._base)
        atomic.write_bytes(self.path, head)
        self._end = self._length = len(head)

    def _repair(self, handle: int) -> None:
        """Leave only what is whole in the file, and stand at its end."""
        length = os.lseek(handle, 0, os.SEEK_END)
        if length != self._length and not self._is_torn_by_us:
            raise UnwritableOutput(
                "another program has written to the journal of edits",
                cure="Save a version now, then open the case again.",
                path=self.path,
            )
        if length > self._end:
            if not self._is_torn_by_us:
                os.lseek(handle, self._end, os.SEEK_SET)
                atomic.write_bytes(_free_name(self.path), _read_all(handle))
            os.ftruncate(handle, self._end)
        os.lseek(handle, self._end, os.SEEK_SET)


def _head(base: str) -> bytes:
    told = base.encode()
    head = _HEAD.pack(_MAGIC, _VERSION, len(told)) + told
    return head + _CRC.pack(zlib.crc32(head))


def _read_head(content: bytes, path: Path) -> tuple[int, str]:
    """Where the head ends, and the array that it names."""
    if not content.startswith(_MAGIC) or len(content) < _HEAD.size:
        raise _unreadable("this is no journal of edits", path)
    _, version, length = _HEAD.unpack_from(content)
    if version != _VERSION:
        raise _unreadable(f"the journal is of version {version}, not {_VERSION}", path)
    end = _HEAD.size + length
    if content[end : end + _CRC.size] != _CRC.pack(zlib.crc32(content[:end])):
        raise _unreadable("the head of the journal is damaged", path)
    return end + _CRC.size, content[_HEAD.size : end].decode()


def _framed(number: int, payload: bytes) -> bytes:
    record = _RECORD.pack(number, len(payload)) + payload
    return record + _CRC.pack(zlib.crc32(record))


def _next_record(content: bytes, begin: int) -> tuple[int, bytes, int] | None:
    """Kind, payload and end of the record at ``begin``; None where none is whole there."""
    body = begin + _RECORD.size
    if body > len(content):
        return None
    number, length = _RECORD.unpack_from(content, begin)
    end = body + length + _CRC.size
    if number not in {*_KINDS, _TIME} or end > len(content):
        return None
    if content[end - _CRC.size : end] != _CRC.pack(zlib.crc32(content[begin : end - _CRC.size])):
        return None
    payload = content[body : body + length]
    if number == _TIME:
        is_time = length == _SECONDS.size and math.isfinite(_SECONDS.unpack(payload)[0])
        return (number, payload, end) if is_time else None
    return number, payload, end


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _read_all(handle: int) -> bytes:
    pieces: list[bytes] = []
    while piece := os.read(handle, 2**20):
        pieces.append(piece)
    return b"".join(pieces)


def _free_name(path: Path) -> Path:
    """A name for what was damaged, beside the journal, that no file has."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _unreadable(what: str, path: atomic.PathLike) -> UnreadableInput:
    return UnreadableInput(what, cure="Set the journal aside; saved versions hold.", path=path)
