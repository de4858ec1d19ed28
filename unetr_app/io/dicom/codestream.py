"""Comments that compressed pixels carry within themselves, out of sight of any DICOM attribute."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import re
from collections.abc import Iterator

_JPEG, _JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
_ALONE = {0x01, *range(0xD0, 0xDA)}  # markers without a length
_SCAN_BEGINS = {0xDA, 0x90, 0x93}  # what follows is entropy coded: SOS, SOT, SOD
_COMMENT = {0xFE, 0x64}  # of JPEG, of JPEG 2000
_APPLICATION = range(0xE0, 0xF0)
# What programs say of themselves.
_HARMLESS = re.compile(
    rb"(\x00\x01)?(Kakadu[-v\d. ]*|Created by (GDCM/)?OpenJPEG version [\d.]+|OpenJPEG[-v\d. ]*|"
    rb"Creator: JasPer Version [\d.]+|Lavc[\d.]*|CREATOR: gd-jpeg v[\d.]+ [-\w(), =]{0,60}|"
    rb"LEAD Technologies[\w. ]{0,24}|JFIF\x00.{7,9}|Adobe\x00?.{5,7})[\s\x00]*",
    re.DOTALL,
)


def has_comment(frame: bytes) -> bool:
    r"""Does a compressed frame carry a text, or an application's own data, that says anything?

    Args:
        frame: The first bytes of a JPEG, JPEG-LS or JPEG 2000 codestream, up to its pixels.

    Example:
        >>> has_comment(b"\xff\xd8\xff\xfe\x00\x08Miller\xff\xda")
        True
    """
    if not frame.startswith((_JPEG, _JPEG_2000)):
        return frame[4:8] == b"jP  "  # JP2 boxes, which DICOM does not allow
    return any(
        (marker in _COMMENT or marker in _APPLICATION) and not _HARMLESS.fullmatch(body)
        for marker, body in _segments(frame)
    )


def _segments(frame: bytes) -> Iterator[tuple[int, bytes]]:
    place = 2
    while place + 4 <= len(frame) and frame[place] == 0xFF:
        marker = frame[place + 1]
        if marker in _SCAN_BEGINS:
            return
        if marker in _ALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(frame[place + 2 : place + 4], "big")
        yield marker, frame[place + 4 : place + 2 + length]
        place += 2 + max(length, 2)
