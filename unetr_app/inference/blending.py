"""Blending: windows of logits to blocks of their weighted mean, each as early as it can be.

Windows come in order along three axes, the longest slowest. When the windows that start at one
place are added, the voxels before the next start along the fastest axis will get no more along it:
what lies beyond is carried to the next window. What is left is settled along the next axis, then
along the slowest. So the memory is one window, a strip of windows along two axes, and a layer of
one overlap's thickness along all three: it does not grow with the longest axis.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

from torch import Tensor

from unetr_app.inference.carries import Carries
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


def blend(plan: WindowPlan, logits_of: LogitsOf, carries: Carries | None = None) -> Iterator[Block]:
    """The mean of all windows and members, block by block; blocks tile the image.

    Equal to `monai.inferers.sliding_window_inference`, averaged over the members, but for
    rounding.

    Args:
        plan: Where windows lie.
        logits_of: Gives the logits of a window as they lie in the image (L, extent...), float32;
            they are changed. Called once for each window, in order.
        carries: Where sums wait; in memory without a limit where absent.

    Yields:
        Blocks in the order of ``plan.order``, the first axis slowest.
    """
    waiting = Carries() if carries is None else carries
    slow, middle, fast = plan.order
    for index in product(*(range(len(plan.nodes[axis])) for axis in (slow, middle, fast))):
        start = _placed(plan, index)
        logits = _window_sum(plan, start, logits_of)
        for level in (2, 1, 0):
            logits = _settled(plan, logits, level, index, waiting)
        assert logits is not None  # every voxel is covered by windows of every member
        yield Block(start, logits)


def _placed(plan: WindowPlan, index: tuple[int, ...]) -> Shape:
    start = [0, 0, 0]
    for axis, n in zip(plan.order, index, strict=True):
        start[axis] = plan.nodes[axis][n]
    i, j, k = start
    return i, j, k


def _window_sum(plan: WindowPlan, start: Shape, logits_of: LogitsOf) -> Tensor | None:
    """The weighted logits of all windows that start there; None where none does."""
    total: Tensor | None = None
    for member in plan.members:
        if plan.has_window(member, start):
            weighted = logits_of(member, start).mul_(plan.weight(member, start))
            total = weighted if total is None else total.add_(weighted)
    return total


def _settled(
    plan: WindowPlan, sums: Tensor | None, level: int, index: tuple[int, ...], waiting: Carries
) -> Tensor | None:
    """What no window to come along one axis adds to; the rest is carried.

    Args:
        plan: Where windows lie.
        sums: (L, ...) from the node's start on, settled along faster axes already.
        level: Of ``plan.order``.
        index: Of the node along each axis of ``plan.order``.
        waiting: Where the rest goes, and comes from.
    """
    axis, n = plan.order[level], index[level]
    nodes = plan.nodes[axis]
    key = (level, *index[level + 1 :])
    carried = waiting.pop(key)
    if sums is None:
        sums = carried
    elif carried is not None:
        sums.narrow(1 + axis, 0, carried.shape[1 + axis]).add_(carried)
    if sums is None or n + 1 == len(nodes):
        return sums
    width = nodes[n + 1] - nodes[n]
    rest = sums.shape[1 + axis] - width
    if rest > 0:
        waiting.put(key, sums.narrow(1 + axis, width, rest))
    return sums.narrow(1 + axis, 0, width)
