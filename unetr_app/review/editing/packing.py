"""Packing: a Change as few bytes, for memory and for the disk.

What changes lies together, so places are written as runs: how far each run lies behind the end of
the one before, and how long it is. A head in JSON tells how to read the rest, which is compressed
(zlib, RFC 1950).
"""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.review.editing.change import Change

_LEVEL = 1  # higher is slower and hardly smaller: runs hold little that repeats
_NUMBER = 4  # bytes of the head's length, little-endian


def pack(change: Change) -> bytes:
    """The change as bytes.

    Example:
        >>> step = Change("brush", np.array([3, 4, 9]), np.uint8([0, 0, 0]), np.uint8([1, 1, 1]))
        >>> unpack(pack(step)).where.tolist()
        [3, 4, 9]
    """
    where = change.where
    first = np.flatnonzero(np.diff(where, prepend=where[0] - 2) > 1)  # (R,) where runs begin
    lengths = np.diff(first, append=len(where))
    ends = np.concatenate([[0], where[first] + lengths])
    parts = [_small(where[first] - ends[:-1]), _small(lengths)]
    parts += [_constant(change.before), _constant(change.after)]
    head = {
        "name": change.name,
        "voxels": len(where),
        "parts": [[part.dtype.str, len(part)] for part in parts],
    }
    told = json.dumps(head, separators=(",", ":")).encode()
    body = zlib.compress(b"".join(part.tobytes() for part in parts), _LEVEL)
    return len(told).to_bytes(_NUMBER, "little") + told + body


def unpack(packed: bytes) -> Change:
    """The change that `pack` made these bytes from.

    Raises:
        UnreadableInput: If it did not.
    """
    try:
        begin = _NUMBER + int.from_bytes(packed[:_NUMBER], "little")
        head = json.loads(packed[_NUMBER:begin])
        body = zlib.decompress(packed[begin:])
        parts: list[NDArray[Any]] = []
        offset = 0
        for dtype, count in head["parts"]:
            parts.append(np.frombuffer(body, np.dtype(dtype), count, offset))
            offset += parts[-1].nbytes
        gaps, lengths, before, after = parts
        voxels = int(head["voxels"])
        return Change(
            str(head["name"]),
            _places(gaps.astype(np.int64), lengths.astype(np.int64)),
            np.repeat(before, voxels) if len(before) == 1 else before,
            np.repeat(after, voxels) if len(after) == 1 else after,
        )
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UnreadableInput("a recorded step of editing is damaged") from error


def _small(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """The same numbers, none negative, in the smallest unsigned type."""
    return numbers.astype(np.min_scalar_type(int(numbers.max())).newbyteorder("<"))


def _constant(values: NDArray[Any]) -> NDArray[Any]:
    """One value where all are equal, else all of them."""
    return values[:1] if (values == values[0]).all() else values


def _places(gaps: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,) the places within runs of those gaps and lengths."""
    starts = np.cumsum(gaps) + np.cumsum(lengths) - lengths
    skipped = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths)
    return skipped + np.arange(len(skipped))
