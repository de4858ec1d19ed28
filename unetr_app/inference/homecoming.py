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

from unetr_app.inference.blending import Block
from unetr_app.inference.carries import Carries
from unetr_app.inference.places import places_along_axes
from unetr_app.inference.way_home import WayHome
from unetr_app.inference.window_plan import Shape
from unetr_app.resample import axes_between, index_map

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

    Interpolation is linear; native voxels of which nothing is known are left out.

    Args:
        way: From the model grid to the native grid.
        order: Axes of the model grid in which blocks come, the slowest first.
    """

    def __init__(self, way: WayHome, order: Shape):
        self._way = way
        self._native_shape = way.native.shape
        self._order = order
        self._edges = Carries()
        self._matrix, self._offset = index_map(way.model, way.native)
        self._inverse = np.linalg.inv(self._matrix)
        self._model_shape = way.model.shape
        limits = way.limits or (None, None, None)
        self._spans = tuple(map(_Span, way.known, limits))
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
            lines.append(_Line(native, self._taps(axis, native), self._way.covered[native]))
        i, j, k = lines
        return i, j, k

    def _taps(self, axis: int, native: int) -> _Taps:
        """Of the native voxels along an axis, found where MONAI finds them.

        That is on the grid that was resampled, from which the model grid differs by whole voxels.
        """
        way, index = self._way, np.arange(self._native_shape[native])
        if way.is_whole:
            at = self._matrix[axis, native] * index + self._offset[axis]
            return self._spans[axis].taps(at)
        matrix, offset = (np.rint(part).astype(int) for part in index_map(way.model, way.resampled))
        fine = int(np.flatnonzero(matrix[axis])[0])  # the resampled grid's axis
        sign, shift = int(matrix[axis, fine]), int(offset[axis])
        turned = way.before.reoriented(way.resampled.orientation)
        steps, first = (np.rint(part).astype(int) for part in index_map(turned, way.native))
        own = steps[fine, native] * index + first[fine]
        places = places_along_axes(way.resampled, turned)[fine]
        is_there = (own >= 0) & (own < len(places))
        at = places[np.clip(own, 0, len(places) - 1)]
        known = way.known[axis]
        ends = [sign * (end - shift) + (sign < 0) for end in known]  # half-open, either way round
        limits = (0, way.resampled.shape[fine]) if way.replicates else None
        taps = _Span((min(ends), max(ends)), limits).taps(at)
        return taps.moved(sign, shift, is_there)

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
            taps = [span.taps(places) for span, places in zip(self._spans, at, strict=True)]
            mine = np.ones(index.shape[1], dtype=bool)
            for axis, each in enumerate(taps):
                mine &= each.exists & (each.high >= own[axis]) & (each.high < block.stop[axis])
            if mine.any():
                for chosen in _in_parts(np.flatnonzero(mine), len(block.logits)):
                    values = _trilinear(block, [each.some(chosen) for each in taps])
                    yield Piece(tuple(index[:, chosen]), values)

    def _native_box(self, block: Block) -> tuple[slice, slice, slice]:
        """Native voxels that a block may reach, those beyond the model grid included."""
        far = np.array(list(product(*[(0, n - 1) for n in self._native_shape]))).T
        all_of_it = self._matrix @ far + self._offset[:, None]
        ends: list[tuple[float, float]] = []
        for axis, (start, stop) in enumerate(zip(block.start, block.stop, strict=True)):
            first, end = self._spans[axis].known
            is_first, is_last = start <= first, stop >= end
            low, high = all_of_it[axis].min() - 1, all_of_it[axis].max() + 1
            ends.append((low if is_first else start - 1, high if is_last else stop))
        corners = np.array(list(product(*ends))).T - self._offset[:, None]
        reached = self._inverse @ corners
        first, end = np.array(self._way.covered).T
        low = np.maximum(np.floor(reached.min(axis=1)).astype(int), first)
        high = np.minimum(np.ceil(reached.max(axis=1)).astype(int) + 1, end)
        i, j, k = (slice(int(a), int(max(a, b))) for a, b in zip(low, high, strict=True))
        return i, j, k


@dataclass(frozen=True)
class _Taps:
    """The two voxels of an axis of the model grid that each place lies between.

    Args:
        low: The lower one (N,).
        high: The upper one, or the same.
        low_share: What the lower one counts (N,).
        high_share: What the upper one counts.
        exists: Does either count? (N,)
    """

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_share: NDArray[np.float32]
    high_share: NDArray[np.float32]
    exists: NDArray[np.bool_]

    def moved(self, sign: int, shift: int, is_there: NDArray[np.bool_]) -> _Taps:
        """On an axis that differs by whole voxels, for the places that are there."""
        exists = self.exists & is_there
        if sign > 0:
            return _Taps(
                self.low + shift, self.high + shift, self.low_share, self.high_share, exists
            )
        return _Taps(shift - self.high, shift - self.low, self.high_share, self.low_share, exists)

    def some(self, chosen: NDArray[np.int64]) -> _Taps:
        """Those of some places."""
        return _Taps(
            self.low[chosen], self.high[chosen], self.low_share[chosen], self.high_share[chosen],
            self.exists[chosen],
        )  # fmt: skip


@dataclass(frozen=True)
class _Span:
    """An axis of the model grid.

    Args:
        known: The first voxel that counts and the one after the last; others are zero.
        limits: Of the places: one beyond them is at them. None for no limits.
    """

    known: tuple[int, int]
    limits: tuple[int, int] | None

    def taps(self, at: NDArray[np.float64]) -> _Taps:
        """For places in voxels of the model grid (N,)."""
        first, stop = self.known
        if self.limits is not None:
            at = np.clip(at, self.limits[0], self.limits[1] - 1)
        low = np.floor(at).astype(np.int64)
        high = np.ceil(at).astype(np.int64)
        share = (at - low).astype(np.float32)
        has_low = (low >= first) & (low < stop)
        has_high = (high >= first) & (high < stop)
        low_share = np.where(has_low, 1 - share, 0).astype(np.float32)
        high_share = np.where(has_high, share, 0).astype(np.float32)
        return _Taps(
            np.where(has_low, low, high), np.where(has_high, high, low), low_share, high_share,
            (low_share > 0) | (high_share > 0),
        )  # fmt: skip


class _Line:
    """Where the voxels of one native axis lie along one axis of the model grid.

    Args:
        native: The native axis.
        taps: Of each of its voxels.
        covered: Its first voxel that is made of others and the one after the last.
    """

    def __init__(self, native: int, taps: _Taps, covered: tuple[int, int]):
        self.native = native
        inside = covered[0] + np.flatnonzero(taps.exists[slice(*covered)])
        self._first = int(inside[0]) if len(inside) else 0
        self._end = int(inside[-1]) + 1 if len(inside) else 0
        self._taps = taps
        own = slice(self._first, self._end)
        self.is_whole = not taps.high_share[own].any() and bool((taps.low_share[own] == 1).all())

    def within(self, start: int, stop: int) -> tuple[int, int]:
        """First native voxel and the one after the last whose upper neighbour is in a block."""
        high = self._taps.high[self._first : self._end]
        found = np.flatnonzero((high >= start) & (high < stop))
        if not len(found):
            return 0, 0
        return self._first + int(found[0]), self._first + int(found[-1]) + 1

    def interpolate(self, logits: Tensor, axis: int, first: int, last: int, start: int) -> Tensor:
        """Logits (L, d0, d1, d2) from ``start`` on, at native voxels first to last along an axis.

        As a product with a matrix of two numbers a row, which is several times as fast as picking
        neighbours where they do not lie side by side in memory.
        """
        taps = self._taps
        low, high = taps.low[first:last] - start, taps.high[first:last] - start
        low_share, high_share = taps.low_share[first:last], taps.high_share[first:last]
        if not high_share.any() and (low_share == 1).all():
            return _picked(logits, axis, low)
        rows = np.arange(last - first)
        matrix = np.zeros((last - first, logits.shape[1 + axis]), dtype=np.float32)
        np.add.at(matrix, (rows, low), low_share)
        np.add.at(matrix, (rows, high), high_share)
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


def _trilinear(block: Block, taps: list[_Taps]) -> Tensor:
    """(L, N) between the voxels of three axes."""
    ends = [
        (
            (torch.from_numpy(each.low - start), torch.from_numpy(each.low_share)),
            (torch.from_numpy(each.high - start), torch.from_numpy(each.high_share)),
        )
        for each, start in zip(taps, block.start, strict=True)
    ]
    total = torch.zeros(len(block.logits), len(taps[0].low))
    for corner in product(*ends):
        (i, a), (j, b), (k, c) = corner
        total.addcmul_(block.logits[:, i, j, k], a * b * c)
    return total
