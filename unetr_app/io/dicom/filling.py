"""Filling: the pixels inside the closed contours of a plane."""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false
# (numpy's repeat and cumsum lose the type of their items)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr_app.io.dicom.outlines import Line, area

_ON_LINE = 0.02  # pixels; files state coordinates to a hundredth of a millimetre at worst
_SAME_AREA = 1e-3

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Filled:
    """The pixels of a plane that contours enclose.

    Args:
        mask: (I, J).
        copies: Contours left out because they repeat another.
        overlaps: Contours that cover others in part, and were joined with them.
    """

    mask: Mask
    copies: int = 0
    overlaps: int = 0


def fill(lines: Sequence[Line], shape: tuple[int, int], *, exclusive: bool = False) -> Filled:
    """Fill the closed contours of one region in one plane.

    A pixel is inside where its centre is, by the even-odd rule, or lies on the line itself, which
    belongs to the region (PS3.3 C.8.8.6.3). A channel that leads to a hole is a line walked twice
    and counts for nothing.

    Args:
        lines: Polygons in index coordinates (i, j).
        shape: Pixels along i and j; what lies outside is cut off.
        exclusive: Whether contours cancel each other (CLOSEDPLANAR_XOR). Else a contour wholly
            inside the region is a hole, as planning systems mean it, and all others are joined.
    """
    parts = [_Part.of(line, shape) for line in lines]
    if exclusive:
        inside = np.zeros(shape, np.bool_)
        border = np.zeros(shape, np.bool_)
        for part in parts:
            inside ^= part.inside
            border |= part.border
        return Filled(inside | border)
    return _joined(parts, shape)


@dataclass(frozen=True, eq=False)
class _Part:
    """One contour: the pixels strictly inside, and those on the line."""

    inside: Mask
    border: Mask
    area: float

    @classmethod
    def of(cls, line: Line, shape: tuple[int, int]) -> _Part:
        inside, border = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        low = np.clip(np.floor(line.min(axis=0)), 0, shape).astype(int)
        high = np.clip(np.ceil(line.max(axis=0)) + 1, low, shape).astype(int)
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        inside[box] = _even_odd(line - low, size)
        border[box] = _on_line(line - low, size)
        return cls(inside, border, abs(area(line)))

    def is_copy_of(self, other: _Part) -> bool:
        alike = abs(self.area - other.area) <= _SAME_AREA * max(self.area, other.area)
        return (
            alike
            and np.array_equal(self.inside, other.inside)
            and np.array_equal(self.border, other.border)
        )


def _joined(parts: Sequence[_Part], shape: tuple[int, int]) -> Filled:
    mask = np.zeros(shape, np.bool_)
    done: list[_Part] = []
    copies = overlaps = 0
    for part in sorted(parts, key=lambda p: -p.area):
        if any(part.is_copy_of(other) for other in done):
            copies += 1
            continue
        done.append(part)
        strict = part.inside & ~part.border
        whole = part.inside | part.border
        if strict.any() and mask[whole].all():
            mask &= ~strict
            continue
        overlaps += bool((mask & strict).any())
        mask |= whole
    return Filled(mask, copies, overlaps)


def _even_odd(line: Line, shape: tuple[int, int]) -> Mask:
    """(I, J): whether the way from the pixel towards smaller i crosses the line an odd time.

    Each edge counts for the columns j with low <= j < high, so that corners count once.
    """
    a, b = line, np.roll(line, -1, axis=0)
    low, high = np.minimum(a[:, 1], b[:, 1]), np.maximum(a[:, 1], b[:, 1])
    first = np.clip(np.ceil(low), 0, shape[1]).astype(np.intp)
    count = np.clip(np.ceil(high), 0, shape[1]).astype(np.intp) - first
    edge = np.repeat(np.arange(len(line)), count)
    j = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    share = (j - a[edge, 1]) / (b[edge, 1] - a[edge, 1])
    i = a[edge, 0] + share * (b[edge, 0] - a[edge, 0])
    at = np.clip(np.ceil(i), 0, shape[0]).astype(np.intp)
    crossings = np.zeros((shape[0] + 1, shape[1]), np.int32)
    np.add.at(crossings, (at, j), 1)
    return np.cumsum(crossings[:-1], axis=0) % 2 == 1


def _on_line(line: Line, shape: tuple[int, int]) -> Mask:
    """(I, J): whether the pixel's centre lies on the line, parts walked twice left out."""
    mask = np.zeros(shape, np.bool_)
    a, b = _walked_once(line)
    step = b - a
    major = np.abs(step[:, 1]) > np.abs(step[:, 0])  # walked along j rather than i
    for along, chosen in ((0, ~major), (1, major)):
        start, way = a[chosen], step[chosen]
        length = way[:, along]
        low = np.minimum(start[:, along], start[:, along] + length) - _ON_LINE
        high = np.maximum(start[:, along], start[:, along] + length) + _ON_LINE
        first = np.clip(np.ceil(low), 0, shape[along]).astype(np.intp)
        count = np.maximum(np.clip(np.floor(high) + 1, 0, shape[along]).astype(np.intp) - first, 0)
        edge = np.repeat(np.arange(len(start)), count)
        at = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
        share = np.divide(at - start[edge, along], length[edge], where=length[edge] != 0,
                          out=np.zeros(len(edge)))  # fmt: skip
        across = start[edge, 1 - along] + np.clip(share, 0, 1) * way[edge, 1 - along]
        there = np.rint(across)
        near = (np.abs(across - there) <= _ON_LINE) & (there >= 0) & (there < shape[1 - along])
        place = (at[near], there[near].astype(np.intp))
        mask[place if along == 0 else place[::-1]] = True
    return mask


def _walked_once(line: Line) -> tuple[Line, Line]:
    """Starts and ends of the edges whose reverse is no edge too."""
    a, b = line, np.roll(line, -1, axis=0)
    there = np.concatenate([a, b], axis=1)
    back = {tuple(row) for row in np.concatenate([b, a], axis=1).tolist()}
    once = np.array([tuple(row) not in back for row in there.tolist()], np.bool_)
    return a[once], b[once]
