"""Inflated: a DICOM file of the deflated transfer syntax, unpacked within bounds."""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import BinaryIO

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.integrity import open_input, unreadable
from unetr_app.io.limits import BOMB_BYTES, BOMB_RATIO

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_EXPLICIT = b"1.2.840.10008.1.2.1\0"
_LONG = {b"OB", b"UN"}  # of those that stand in the file meta information
_CHUNK = 1 << 20
_ALWAYS_FINE = 2**25  # bytes that may unpack from however little


def open_dicom(path: PathLike) -> BinaryIO:
    """The file, open for reading; one that is deflated as a whole is unpacked in memory first.

    Args:
        path: Any file.

    Returns:
        The file, or one of Explicit VR Little Endian with the same data set (DICOM PS3.5 A.5).

    Raises:
        UnreadableInput: If it cannot be opened, is damaged, or unpacks to more than any scan does.
    """
    file = open_input(path)
    try:
        if _is_deflated(file):
            with file:
                meta = b"\2\0\x10\0UI" + struct.pack("<H", len(_EXPLICIT)) + _EXPLICIT
                return io.BytesIO(bytes(128) + b"DICM" + meta + _inflated(file, path))
        file.seek(0)
    except OSError as error:
        file.close()
        raise unreadable(error, path) from error
    return file


def _is_deflated(file: BinaryIO) -> bool:
    """Read over the file meta information (PS3.10 section 7.1); does it say deflated?

    The file is left where the data set begins.
    """
    found = False
    if file.read(132)[128:] != b"DICM":
        file.seek(0)  # without preamble
    while len(head := file.read(8)) == 8 and head[:2] == b"\2\0":
        if head[4:6] in _LONG:
            (length,) = struct.unpack("<I", file.read(4).ljust(4, b"\0"))
        else:
            (length,) = struct.unpack("<H", head[6:])
        if head[2:4] == b"\x10\0":
            found = file.read(length).rstrip(b"\0 ") == _DEFLATED
        else:
            file.seek(length, os.SEEK_CUR)
    file.seek(-len(head), os.SEEK_CUR)
    return found


def _inflated(file: BinaryIO, path: PathLike) -> bytes:
    engine = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    unpacked = stored = 0
    data = b""
    try:
        while not engine.eof:
            data = engine.unconsumed_tail or file.read(_CHUNK)
            stored += 0 if engine.unconsumed_tail else len(data)
            piece = engine.decompress(data, _CHUNK)
            if not piece and not data:
                raise _damaged(path)
            pieces.append(piece)
            unpacked += len(piece)
            if unpacked > BOMB_BYTES or unpacked > max(_ALWAYS_FINE, stored * BOMB_RATIO):
                raise UnreadableInput(
                    f"{stored} bytes of a deflated DICOM file unpack to more than {unpacked}",
                    cure="If the file is right, unpack it first, for example with dcmconv +te.",
                    path=path,
                )
    except zlib.error as error:
        raise _damaged(path) from error
    return b"".join(pieces)


def _damaged(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "the deflated DICOM file is damaged or cut short", cure="Copy or export it again.",
        path=path,
    )  # fmt: skip
