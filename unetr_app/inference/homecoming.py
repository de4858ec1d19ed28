"""Homecoming: finished blocks of the model grid, interpolated on the native grid.

A voxel of the native grid lies between voxels of the model grid: it belongs to the block that holds
the last of them along each axis, and the others are there or one step before. So each block needs
one layer of voxels of the blocks before it, and each native voxel is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.geometry import Geometry
from unetr_app.inference.blending import Block
from unetr_app.inference.carries import Carries
from unetr_app.inference.window_plan import Shape
from unetr_app.resample import BORDER, axes_between, index_map

_AT_A_TIME = 1 << 22  # logits that are interpolated at a time


@dataclass(frozen=True)
class Piece:
    """Logits of some voxels of the native grid.

    Args:
        index: Where they belong in an array of the native grid's shape: three slices, or three
            arrays of N numbers.
        logits: (L, ...) float32: (L, N) for arrays, a box for slices, its axes in any order.
        axes: For slices, the box's axes in the order of the native grid.
    """

    index: tuple[Any, ...]
    logits: Tensor
    axes: tuple[int, ...] = (0,)

    def write(self, values: NDArray[Any], target: NDArray[Any]) -> None:
        """Put values of these voxels (of the logits' shape but for L) where they belong.

        Args:
            values: One for each voxel, in the order of the logits.
            target: Of the native grid's shape.
        """
        target[self.index] = values.transpose(self.axes)


class Homecoming:
    """Takes blocks of the model grid in their order, and gives what they say of the native grid.

    Interpolation is linear, as of `unetr_app.resample.restore_label_map`; native voxels whose
    centre lies further outside the model grid than ``edge`` are left out.

    Args:
        model: The model grid.
        native: The native grid.
        order: Axes of the model grid in which blocks come, the slowest first.
        edge: Voxels of the model grid beyond its outermost centres to where these count.
    """

    def __init__(self, model: Geometry, native: Geometry, order: Shape, edge: float = BORDER):
        self._native_shape = native.shape
        self._order = order
        self._edge = edge
        self._edges = Carries()
        self._matrix, self._offset = index_map(model, native)
        self._inverse = np.linalg.inv(self._matrix)
        self._model_shape = model.shape
        axes = axes_between(self._matrix)
        self._lines = None if axes is None else self._find_lines(axes)
        self.is_exact = self._lines is not None and all(line.is_whole for line in self._lines)

    def pieces(self, block: Block) -> Iterator[Piece]:
        """What the block adds to; its logits are not kept, but for one layer at its end."""
        edged = block if self.is_exact else self._with_edges(block)
        along = self._along_axes if self._lines is not None else self._scattered
        yield from along(edged, block.start)

    def _with_edges(self, block: Block) -> Block:
        """The block with one voxel before it along each axis where there is one."""
        start, logits = list(block.start), block.logits
        for level in (2, 1, 0):
            axis = self._order[level]
            key = (level, *(block.start[other] for other in self._order[level + 1 :]))
            before = self._edges.pop(key)
            if block.stop[axis] < self._model_shape[axis]:
                self._edges.put(key, logits.narrow(1 + axis, logits.shape[1 + axis] - 1, 1))
            if block.start[axis] > 0:
                assert before is not None
                logits = torch.cat([before, logits], dim=1 + axis)
                start[axis] -= 1
        i, j, k = start
        return Block((i, j, k), logits)

    def _find_lines(self, axes: Shape) -> tuple[_Line, _Line, _Line]:
        """For each axis of the model grid where the native voxels lie along it."""
        lines: list[_Line] = []
        for axis in range(3):
            native = axes.index(axis)
            at = self._matrix[axis, native] * np.arange(self._native_shape[native])
            lines.append(
                _Line(native, at + self._offset[axis], self._model_shape[axis], self._edge)
            )
        i, j, k = lines
        return i, j, k

    def _along_axes(self, block: Block, own: Shape) -> Iterator[Piece]:
        """Axes of both grids are parallel: one after the other. ``own`` is without the edge."""
        lines = self._lines
        assert lines is not None
        ranges = [line.within(s, e) for line, s, e in zip(lines, own, block.stop, strict=True)]
        if any(first >= last for first, last in ranges):
            return
        by_growth = sorted(range(3), key=lambda n: _count(ranges[n]) / block.logits.shape[1 + n])
        *early, late = by_growth
        logits = block.logits
        for axis in early:
            logits = lines[axis].interpolate(logits, axis, *ranges[axis], block.start[axis])
        first, last = ranges[late]
        others = len(logits) * prod(_count(ranges[axis]) for axis in early)
        step = max(1, _AT_A_TIME // others)
        order = tuple(next(m for m in range(3) if lines[m].native == n) for n in range(3))
        for begin in range(first, last, step):
            part = (begin, min(begin + step, last))
            values = lines[late].interpolate(logits, late, *part, block.start[late])
            found = [part if axis == late else ranges[axis] for axis in range(3)]
            yield Piece(tuple(slice(*found[m]) for m in order), values, order)

    def _scattered(self, block: Block, own: Shape) -> Iterator[Piece]:
        """Grids lie askew: voxel by voxel. ``own`` is without the edge."""
        box = self._native_box(block)
        rows = range(box[0].start, box[0].stop)
        plane = prod(len(range(s.start, s.stop)) for s in box[1:])
        step = max(1, _AT_A_TIME // max(plane * 8, 1))
        for begin in range(rows.start, rows.stop, step):
            part = slice(begin, min(begin + step, rows.stop))
            index = np.mgrid[part, box[1], box[2]].reshape(3, -1)
            at = self._matrix @ index + self._offset[:, None]
            size = np.asarray(self._model_shape)[:, None]
            inside = ((at >= -self._edge) & (at <= size - 1 + self._edge)).all(axis=0)
            at = np.clip(at, 0, size - 1)
            last = np.ceil(at).astype(np.int64)
            mine = inside.copy()
            for axis in range(3):
                mine &= (last[axis] >= own[axis]) & (last[axis] < block.stop[axis])
            if mine.any():
                for chosen in _in_parts(np.flatnonzero(mine), len(block.logits)):
                    values = _trilinear(block, at[:, chosen], last[:, chosen])
                    yield Piece(tuple(index[:, chosen]), values)

    def _native_box(self, block: Block) -> tuple[slice, slice, slice]:
        """Native voxels that a block may reach, those beyond the model grid's edge included."""
        more = max(self._edge, 1.0)
        ends = [(s - more, e - 1 + more) for s, e in zip(block.start, block.stop, strict=True)]
        corners = np.array(list(product(*ends))).T - self._offset[:, None]
        reached = self._inverse @ corners
        low = np.maximum(np.floor(reached.min(axis=1)).astype(int), 0)
        high = np.minimum(np.ceil(reached.max(axis=1)).astype(int) + 1, self._native_shape)
        i, j, k = (slice(int(a), int(max(a, b))) for a, b in zip(low, high, strict=True))
        return i, j, k


class _Line:
    """Where the voxels of one native axis lie along one axis of the model grid.

    Args:
        native: The native axis.
        at: Place of each of its voxels, in voxels of the model grid.
        size: Voxels of the model grid along the axis.
        edge: As of `Homecoming`.
    """

    def __init__(self, native: int, at: NDArray[np.float64], size: int, edge: float):
        self.native = native
        inside = np.flatnonzero((at >= -edge) & (at <= size - 1 + edge))
        self._first = int(inside[0]) if len(inside) else 0
        self._end = int(inside[-1]) + 1 if len(inside) else 0
        clipped = np.clip(at, 0, size - 1)
        self._low = np.floor(clipped).astype(np.int64)
        self._high = np.ceil(clipped).astype(np.int64)
        self._share = (clipped - self._low).astype(np.float32)
        self.is_whole = not self._share.any()

    def within(self, start: int, stop: int) -> tuple[int, int]:
        """First native voxel and the one after the last whose upper neighbour is in a block."""
        high = self._high[self._first : self._end]
        found = np.flatnonzero((high >= start) & (high < stop))
        if not len(found):
            return 0, 0
        return self._first + int(found[0]), self._first + int(found[-1]) + 1

    def interpolate(self, logits: Tensor, axis: int, first: int, last: int, start: int) -> Tensor:
        """Logits (L, d0, d1, d2) from ``start`` on, at native voxels first to last along an axis.

        As a product with a matrix of two numbers a row, which is several times as fast as picking
        neighbours where they do not lie side by side in memory.
        """
        low, high = self._low[first:last] - start, self._high[first:last] - start
        share = self._share[first:last]
        if not share.any():
            return _picked(logits, axis, low)
        rows = np.arange(last - first)
        matrix = np.zeros((last - first, logits.shape[1 + axis]), dtype=np.float32)
        np.add.at(matrix, (rows, low), 1 - share)
        np.add.at(matrix, (rows, high), share)
        weights = torch.from_numpy(matrix)
        if axis == 2:
            return logits @ weights.T
        if axis == 1:
            return weights @ logits
        return (weights @ logits.flatten(2)).unflatten(2, logits.shape[2:])


def _picked(logits: Tensor, axis: int, at: NDArray[np.int64]) -> Tensor:
    """The voxels at some places along an axis; a view where they follow each other."""
    steps = np.diff(at)
    if (steps == 1).all():
        return logits.narrow(1 + axis, int(at[0]), len(at))
    if (steps == -1).all():
        return logits.narrow(1 + axis, int(at[-1]), len(at)).flip(1 + axis)
    return logits.index_select(1 + axis, torch.from_numpy(at))


def _count(ends: tuple[int, int]) -> int:
    return ends[1] - ends[0]


def _in_parts(chosen: NDArray[np.int64], channels: int) -> list[NDArray[np.int64]]:
    return np.array_split(chosen, max(1, -(-len(chosen) * channels // _AT_A_TIME)))


def _trilinear(block: Block, at: NDArray[np.float64], last: NDArray[np.int64]) -> Tensor:
    """(L, N) at places (3, N), between the voxels ``last`` and those one step before."""
    start = np.asarray(block.start)[:, None]
    first = np.floor(at).astype(np.int64)
    share = torch.from_numpy((at - first).astype(np.float32))
    ends = (torch.from_numpy(first - start), torch.from_numpy(last - start))
    total = torch.zeros(len(block.logits), at.shape[1])
    for corner in product((0, 1), repeat=3):
        weight = torch.ones(at.shape[1])
        for axis, end in enumerate(corner):
            weight = weight * (share[axis] if end else 1 - share[axis])
        i, j, k = (ends[end][axis] for axis, end in enumerate(corner))
        total.addcmul_(block.logits[:, i, j, k], weight)
    return total
