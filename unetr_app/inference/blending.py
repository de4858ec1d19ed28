"""Blending: windows of logits to blocks of their weighted mean, each as early as it can be.

Cells of windows come in order along three axes, the longest slowest. When the windows of one cell
are added, the voxels before the next cell along the fastest axis will get no more along it: what
lies beyond is carried to the next cell. What is left is settled along the next axis, then
along the slowest. So the memory is one cell, a strip of cells along two axes, and a layer of
one overlap's thickness along all three: it does not grow with the longest axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from unetr_app.inference.carries import Carries
from unetr_app.inference.cells import Cell, Cells
from unetr_app.inference.window_plan import Member, Shape, WindowPlan

LogitsOf = Callable[[Member, Shape], Tensor]


@dataclass(frozen=True)
class Block:
    """Finished logits of a box of the image.

    Args:
        start: First voxel along each axis.
        logits: (L, d0, d1, d2) float32.
    """

    start: Shape
    logits: Tensor

    @property
    def stop(self) -> Shape:
        """Voxel after the last along each axis."""
        i, j, k = (s + n for s, n in zip(self.start, self.logits.shape[1:], strict=True))
        return i, j, k


def blend(cells: Cells, logits_of: LogitsOf, carries: Carries | None = None) -> Iterator[Block]:
    """The mean of all windows and members, block by block; blocks tile the image.

    Equal to `monai.inferers.sliding_window_inference`, averaged over the members, but for
    rounding.

    Args:
        cells: Where windows lie.
        logits_of: Gives the logits of a window as they lie in the image (L, extent...), float32;
            they are changed. Called once for each window, in the order of ``cells.windows``.
        carries: Where sums wait; in memory without a limit where absent.

    Yields:
        Blocks in the order of the cells.
    """
    waiting = Carries() if carries is None else carries
    for cell in cells:
        logits = _cell_sum(cells.plan, cell, logits_of)
        for level in (2, 1, 0):
            logits = _settled(cells, logits, level, cell.index, waiting)
        assert logits is not None  # every voxel is covered by windows of every member
        yield Block(cell.start, logits)


def _cell_sum(plan: WindowPlan, cell: Cell, logits_of: LogitsOf) -> Tensor | None:
    """The weighted logits of all windows of a cell; None where it has none."""
    total: Tensor | None = None
    for member, start in cell.windows:
        weighted = logits_of(member, start).mul_(plan.weight(member, start))
        if total is None:
            if tuple(weighted.shape[1:]) == cell.shape:
                total = weighted
                continue
            total = weighted.new_zeros((len(weighted), *cell.shape))
        part = total
        for axis, (at, first) in enumerate(zip(start, cell.start, strict=True)):
            part = part.narrow(1 + axis, at - first, plan.extent[axis])
        part.add_(weighted)
    return total


def _settled(
    cells: Cells, sums: Tensor | None, level: int, index: tuple[int, ...], waiting: Carries
) -> Tensor | None:
    """What no window to come along one axis adds to; the rest is carried.

    Args:
        cells: Where windows lie.
        sums: (L, ...) from the cell's start on, settled along faster axes already.
        level: Of ``plan.order``.
        index: Of the cell along each axis of ``plan.order``.
        waiting: Where the rest goes, and comes from.
    """
    axis, n = cells.plan.order[level], index[level]
    groups = cells.groups[axis]
    key = (level, *index[level + 1 :])
    carried = waiting.pop(key)
    if sums is None:
        sums = carried
    elif carried is not None:
        sums.narrow(1 + axis, 0, carried.shape[1 + axis]).add_(carried)
    if sums is None or n + 1 == len(groups):
        return sums
    width = groups[n + 1][0] - groups[n][0]
    rest = sums.shape[1 + axis] - width
    if rest > 0:
        waiting.put(key, sums.narrow(1 + axis, width, rest))
    return sums.narrow(1 + axis, 0, width)
