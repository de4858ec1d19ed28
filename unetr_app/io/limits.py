"""Limits: sizes at which a file is refused before memory or time is spent on it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike

MAX_VOXELS = 2**31
"""Most voxels of one volume; 1290 along each axis."""

MAX_SLICE_PIXELS = 2**26
"""Most pixels of one DICOM slice; 8192 along each axis."""

DEFLATE_RATIO = 1032
"""The most that the deflate format can shrink anything; a law of the format."""

BOMB_BYTES = 2**28
"""Images that unpack to less than this are read however well they are packed."""

BOMB_RATIO = 200
"""Larger ones must not unpack to more than this many times their size: no scan packs so well."""

MAX_ARCHIVE_MEMBERS = 100_000
"""Most files of an archive."""

MAX_ARCHIVE_BYTES = 2**35
"""Most bytes that an archive may unpack to; 32 GiB."""


def check_voxels(shape: Sequence[int], path: PathLike) -> int:
    """The number of voxels of a grid.

    Raises:
        UnreadableInput: If they are more than `MAX_VOXELS`.
    """
    count = math.prod(shape)
    if count > MAX_VOXELS:
        raise UnreadableInput(
            f"the header promises {' x '.join(map(str, shape))} voxels, more than the "
            f"{MAX_VOXELS} that are read",
            cure="Check whether the header is damaged; crop or resample the image if it is not.",
            path=path,
        )
    return count


def check_ratio(promised: int, stored: int, path: PathLike, *, sparse: bool = False) -> None:
    """Refuse a compressed file that cannot be, or is not likely to be, what its header says.

    Args:
        promised: Bytes after unpacking, as the header has it.
        stored: Bytes in the file.
        path: The file, for the message.
        sparse: Whether the content may be mostly empty, as label maps are.

    Raises:
        UnreadableInput: If the ratio is impossible, or that of a decompression bomb.
    """
    if promised > (stored + 64) * DEFLATE_RATIO:
        raise UnreadableInput(
            f"the header promises {promised} bytes, which cannot come out of a file of {stored}: "
            "the file is truncated or its header is damaged",
            cure="Copy or export the file again.",
            path=path,
        )
    if not sparse and promised > BOMB_BYTES and promised > stored * BOMB_RATIO:
        raise UnreadableInput(
            f"{stored} bytes would unpack to {promised}, {promised // max(stored, 1)} times as "
            f"many; no scan packs to less than 1 in {BOMB_RATIO}",
            cure="If the image is right, unpack it first and give the unpacked file.",
            path=path,
        )
