"""Cells: windows that are added up before anything of their sum is settled.

Most cells are one window. The last window along an axis lies flush with the image's end and may
cover most of the one before it; what the two share would wait until all windows between have come.
Added up as one cell, only what reaches beyond the cell waits.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from unetr_app.inference.window_plan import Member, Shape, WindowPlan

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Cell:
    """Windows that lie close to each other.

    Args:
        index: Of the cell along each axis of ``plan.order``.
        start: Its first voxel along each axis.
        shape: Its voxels along each axis.
        windows: Those in it, each with its first voxels; perhaps none.
    """

    index: Shape
    start: Shape
    shape: Shape
    windows: tuple[tuple[Member, Shape], ...]


@dataclass(frozen=True)
class Cells:
    """All windows of a plan in the order in which they are computed.

    Args:
        plan: Where windows lie.
        groups: For each axis the windows' first voxels, those of one cell together; ascending.
    """

    plan: WindowPlan
    groups: tuple[Groups, Groups, Groups]

    def __iter__(self) -> Iterator[Cell]:
        order = self.plan.order
        for index in itertools.product(*(range(len(self.groups[axis])) for axis in order)):
            at = [0, 0, 0]
            for axis, n in zip(order, index, strict=True):
                at[axis] = n
            yield self._cell((index[0], index[1], index[2]), at)

    @property
    def windows(self) -> Iterator[tuple[Member, Shape]]:
        """All windows, each with its first voxels."""
        return itertools.chain.from_iterable(cell.windows for cell in self)

    @property
    def largest(self) -> int:
        """Voxels of the largest cell."""
        return prod(self._length(axis) for axis in range(3))

    @property
    def waiting(self) -> int:
        """Voxels of sums that wait for windows to come, at most."""
        slow, middle, fast = self.plan.order
        shape, over = self.plan.shape, [self._reach(axis) for axis in range(3)]
        layer = over[slow] * shape[middle] * shape[fast]
        strip = self._length(slow) * over[middle] * shape[fast]
        window = self._length(slow) * self._length(middle) * over[fast]
        return layer + strip + window

    @property
    def edges(self) -> int:
        """Voxels of finished layers that the way home keeps for the next cells."""
        slow, middle, fast = self.plan.order
        shape, length = self.plan.shape, self._length
        return (shape[middle] + length(slow)) * shape[fast] + length(slow) * length(middle)

    def _cell(self, index: Shape, at: list[int]) -> Cell:
        own = [groups[n] for groups, n in zip(self.groups, at, strict=True)]
        i, j, k = (starts[0] for starts in own)
        ends = (starts[-1] + n for starts, n in zip(own, self.plan.extent, strict=True))
        d, h, w = (end - start for end, start in zip(ends, (i, j, k), strict=True))
        places = ((a, b, c) for a, b, c in itertools.product(*own))
        windows = tuple(
            (member, place)
            for place in places
            for member in self.plan.members
            if self.plan.has_window(member, place)
        )
        return Cell(index, (i, j, k), (d, h, w), windows)

    def _length(self, axis: int) -> int:
        spans = (starts[-1] - starts[0] for starts in self.groups[axis])
        return max(spans) + self.plan.extent[axis]

    def _reach(self, axis: int) -> int:
        """Voxels by which a cell reaches over the start of the next, at most."""
        pairs = itertools.pairwise(self.groups[axis])
        reach = (one[-1] + self.plan.extent[axis] - next_one[0] for one, next_one in pairs)
        return max(reach, default=0)


def cells_of(plan: WindowPlan, most_waiting: float = math.inf) -> Cells:
    """The cells of a plan that take the least memory.

    Args:
        plan: Where windows lie.
        most_waiting: Voxels of sums that wait in memory; further ones wait on disk.
    """
    i, j, k = (_ways_to_group(starts) for starts in plan.nodes)
    ways = (Cells(plan, groups) for groups in itertools.product(i, j, k))
    return min(ways, key=lambda cells: min(cells.waiting, most_waiting) + 2 * cells.largest)


def _ways_to_group(starts: tuple[int, ...]) -> list[Groups]:
    """Each alone; and those less than some distance from the first of their group together."""
    gaps = sorted({b - a for a, b in itertools.pairwise(starts)})
    return [_grouped(starts, gap) for gap in [0, *gaps[:-1]]]


def _grouped(starts: tuple[int, ...], distance: int) -> Groups:
    groups = [[starts[0]]]
    for start in starts[1:]:
        if start - groups[-1][0] <= distance:
            groups[-1].append(start)
        else:
            groups.append([start])
    return tuple(tuple(group) for group in groups)
