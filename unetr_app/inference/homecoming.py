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
from unetr_app.inference.line import Line
from unetr_app.inference.places import places_along_axes
from unetr_app.inference.taps import Span, Taps
from unetr_app.inference.way_home import WayHome
from unetr_app.inference.window_plan import Shape
from unetr_app.resample import axes_between, index_map, whole_index_map

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
        self._spans = tuple(map(Span, way.known, limits))
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

    def _find_lines(self, axes: Shape) -> tuple[Line, Line, Line]:
        """For each axis of the model grid where the native voxels lie along it."""
        lines: list[Line] = []
        for axis in range(3):
            native = axes.index(axis)
            lines.append(Line(native, self._taps(axis, native), self._way.covered[native]))
        i, j, k = lines
        return i, j, k

    def _taps(self, axis: int, native: int) -> Taps:
        """Of the native voxels along an axis, found where MONAI finds them.

        That is on the grid that was resampled, from which the model grid differs by whole voxels.
        """
        way, index = self._way, np.arange(self._native_shape[native])
        if way.is_whole:
            at = self._matrix[axis, native] * index + self._offset[axis]
            return self._spans[axis].taps(at)
        matrix, offset = whole_index_map(way.model, way.resampled)
        fine = int(np.flatnonzero(matrix[axis])[0])  # the resampled grid's axis
        sign, shift = int(matrix[axis, fine]), int(offset[axis])
        turned = way.before.reoriented(way.resampled.orientation)
        steps, first = whole_index_map(turned, way.native)
        own = steps[fine, native] * index + first[fine]
        places = places_along_axes(way.resampled, turned)[fine]
        is_there = (own >= 0) & (own < len(places))
        at = places[np.clip(own, 0, len(places) - 1)]
        known = way.known[axis]
        ends = [sign * (end - shift) + (sign < 0) for end in known]  # half-open, either way round
        limits = (0, way.resampled.shape[fine]) if way.replicates else None
        taps = Span((min(ends), max(ends)), limits).taps(at)
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


def _count(ends: tuple[int, int]) -> int:
    return ends[1] - ends[0]


def _in_parts(chosen: NDArray[np.int64], channels: int) -> list[NDArray[np.int64]]:
    return np.array_split(chosen, max(1, -(-len(chosen) * channels // _AT_A_TIME)))


def _trilinear(block: Block, taps: list[Taps]) -> Tensor:
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
