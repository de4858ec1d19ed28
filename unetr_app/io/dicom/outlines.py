"""Outlines: the closed lines round the regions of a plane, as structure sets hold them.

Lines run half way between the centres of pixels inside and outside (marching squares at 0.5), so
that no centre lies nearer than 0.35 pixels to any line: whoever fills them by centres, with any
rule, gets back the same pixels. A hole is joined to its outer line by a channel without width, the
"keyhole" of PS3.3 C.8.8.6.3, which older readers know too.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportMissingTypeStubs=false
# (the library states few types)

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import find_contours

Line = NDArray[np.float64]
"""(N, 2) corners of a closed polygon in pixels; the first is not repeated."""


def outlines(mask: NDArray[np.bool_]) -> list[Line]:
    """The outline of each region of a plane; pixels that touch at corners alone are two regions.

    Args:
        mask: (I, J).

    Returns:
        Polygons in index coordinates (i, j), where whole numbers are the centres of pixels.

    Example:
        >>> outlines(np.ones((1, 1), np.bool_))[0].tolist()
        [[0.5, 0.0], [0.0, -0.5], [-0.5, 0.0], [0.0, 0.5]]
    """
    regions: NDArray[np.int32] = np.zeros(mask.shape, np.int32)
    ndimage.label(mask, output=regions)  # neighbours share an edge
    found: list[Line] = []
    for n, box in enumerate(ndimage.find_objects(regions), start=1):
        padded = np.pad(regions[box] == n, 1).astype(np.float32)
        offset = np.array([box[0].start - 1, box[1].start - 1], np.float64)
        loops = find_contours(padded, 0.5, fully_connected="low", positive_orientation="low")
        lines = [_without_straight(np.asarray(loop)[:-1]) + offset for loop in loops]
        outer = max(range(len(lines)), key=lambda at: abs(area(lines[at])))
        holes = [line for at, line in enumerate(lines) if at != outer]
        found.append(_keyholed(lines[outer], holes))
    return found


def area(line: Line) -> float:
    """The area inside a polygon, in pixels; its sign is that of the sense of rotation."""
    i, j = line.T
    return float(i @ np.roll(j, -1) - j @ np.roll(i, -1)) / 2


def _without_straight(line: Line) -> Line:
    """The corners alone: points between which the line goes straight on are left out."""
    step = np.roll(line, -1, axis=0) - line
    before = np.roll(step, 1, axis=0)
    return line[before[:, 0] * step[:, 1] != before[:, 1] * step[:, 0]]


def _keyholed(outer: Line, holes: list[Line]) -> Line:
    """One polygon of an outer line and its holes, each joined by a channel towards larger i.

    Holes are joined from the largest i on, so that a channel meets what is joined already.
    """
    for hole in sorted(holes, key=lambda line: -float(line[:, 0].max())):
        start = int(hole[:, 0].argmax())
        tip = hole[start]
        edge, meets = _first_edge(outer, tip)
        loop = np.roll(hole, -start, axis=0)
        outer = np.concatenate(
            [outer[: edge + 1], [meets], loop, [tip], [meets], outer[edge + 1 :]]
        )
    return outer


def _first_edge(line: Line, tip: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """The edge that is met first from ``tip`` towards larger i, and where."""
    a, b = line, np.roll(line, -1, axis=0)
    crossed = np.flatnonzero((a[:, 1] <= tip[1]) != (b[:, 1] <= tip[1]))
    share = (tip[1] - a[crossed, 1]) / (b[crossed, 1] - a[crossed, 1])
    i = a[crossed, 0] + share * (b[crossed, 0] - a[crossed, 0])
    i[i < tip[0]] = np.inf
    nearest = int(i.argmin())
    return int(crossed[nearest]), np.array([i[nearest], tip[1]])
