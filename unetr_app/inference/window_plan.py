"""WindowPlan: where the windows of a sliding-window inference lie, and what each weighs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from math import prod
from typing import Any, Literal

import torch
from monai.data.utils import compute_importance_map
from torch import Tensor
from torch.nn import functional

Shape = tuple[int, int, int]
Mode = Literal["gaussian", "constant"]

_KEPT_WEIGHTS = 8  # weight maps of one window's shape that are kept


@dataclass(frozen=True)
class Member:
    """One pass over the whole image whose logits are averaged with those of the others.

    Args:
        flips: Axes (0, 1, 2) along which the image is mirrored.
        network: Which of several networks.
    """

    flips: tuple[int, ...] = ()
    network: int = 0


@dataclass(frozen=True)
class WindowPlan:
    """Windows over a grid as `monai.inferers.sliding_window_inference` lays them.

    Windows lie a step of ``roi_size * (1 - overlap)`` apart, the last one flush with the end; of a
    mirrored image they lie mirrored. Where the image is smaller than a window it is padded on both
    sides, and what the network says of the padding is cut off.

    Args:
        shape: Of the image in voxels.
        roi_size: Of a window in voxels, an axis each.
        overlap: Share of a window that the next one covers, 0 <= o < 1, an axis each.
        mode: Weights of a window's voxels: ``gaussian``, highest in the middle, or ``constant``.
        sigma_scale: Standard deviation of the Gaussian as a share of the window.
        members: Passes that are averaged.
        padding_mode: As of `torch.nn.functional.pad`.
        cval: Value of padding, where the mode is ``constant``.
    """

    shape: Shape
    roi_size: Shape
    overlap: tuple[float, float, float] = (0.25, 0.25, 0.25)
    mode: Mode = "gaussian"
    sigma_scale: float | Sequence[float] = 0.125
    members: tuple[Member, ...] = (Member(),)
    padding_mode: str = "constant"
    cval: float = 0.0
    _weights: dict[Any, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def extent(self) -> Shape:
        """Voxels of the image that a window covers along each axis."""
        i, j, k = (min(n, r) for n, r in zip(self.shape, self.roi_size, strict=True))
        return i, j, k

    @cached_property
    def order(self) -> Shape:
        """Axes from the longest to the shortest: the first is the one that is streamed along."""
        i, j, k = sorted(range(3), key=lambda axis: (-self.shape[axis], axis))
        return i, j, k

    @cached_property
    def nodes(self) -> tuple[tuple[int, ...], ...]:
        """Where any member's windows start along each axis, ascending."""
        found = [set[int]().union(*(self.starts(m, n) for m in self.members)) for n in range(3)]
        return tuple(tuple(sorted(starts)) for starts in found)

    @property
    def count(self) -> int:
        """Windows of all members."""
        return sum(prod(len(self.starts(m, n)) for n in range(3)) for m in self.members)

    def starts(self, member: Member, axis: int) -> tuple[int, ...]:
        """First voxels of the image that a member's windows cover along an axis, ascending."""
        size, roi = self.shape[axis], self.roi_size[axis]
        if size <= roi:
            return (0,)
        step = max(int(roi * (1 - self.overlap[axis])), 1)
        plain = [*range(0, size - roi, step), size - roi]
        return tuple(sorted(size - roi - s for s in plain) if axis in member.flips else plain)

    def has_window(self, member: Member, start: Shape) -> bool:
        """Does one of the member's windows start there?"""
        return all(s in self.starts(member, axis) for axis, s in enumerate(start))

    def cut(self, image: Tensor, member: Member, start: Shape) -> Tensor:
        """A window of an image (C, shape...) as the network sees it: (1, C, roi_size...)."""
        window = image
        for axis, (at, size) in enumerate(zip(start, self.extent, strict=True)):
            window = window.narrow(1 + axis, at, size)
        ends: list[int] = []
        for axis in (2, 1, 0):
            before = self._before(member, axis)
            ends += [before, self.roi_size[axis] - self.extent[axis] - before]
        window = window[None]
        if any(ends):
            value = self.cval if self.padding_mode == "constant" else None
            window = functional.pad(window, ends, mode=self.padding_mode, value=value)
        return window.flip([2 + axis for axis in member.flips]).contiguous()

    def place(self, logits: Tensor, member: Member) -> Tensor:
        """The network's (L, roi_size...) as they lie in the image: (L, extent...)."""
        placed = logits.flip([1 + axis for axis in member.flips]) if member.flips else logits
        for axis, size in enumerate(self.extent):
            placed = placed.narrow(1 + axis, self._before(member, axis), size)
        return placed

    def weight(self, member: Member, start: Shape) -> Tensor:
        """Share of a window in the mean at each of its voxels: ``extent``.

        Over all windows of all members the shares of a voxel sum to 1.
        """
        near = tuple(
            tuple(s - at for s in self.starts(member, axis) if abs(s - at) < size)
            for axis, (at, size) in enumerate(zip(start, self.extent, strict=True))
        )
        before = tuple(self._before(member, axis) for axis in range(3))
        key = (near, before)
        found = self._weights.get(key)
        if found is None:
            while len(self._weights) >= _KEPT_WEIGHTS:
                self._weights.pop(next(iter(self._weights)))
            found = self._weights[key] = self._share(near, before)
        return found

    @cached_property
    def _importance(self) -> Tensor:
        return compute_importance_map(
            self.roi_size, mode=self.mode, sigma_scale=self.sigma_scale, dtype=torch.float32
        )

    def _before(self, member: Member, axis: int) -> int:
        """Voxels of padding before the image; the mirrored image is padded after it is mirrored."""
        whole = self.roi_size[axis] - self.extent[axis]
        return whole - whole // 2 if axis in member.flips else whole // 2

    def _share(self, near: Sequence[Sequence[int]], before: Sequence[int]) -> Tensor:
        both = list(zip(before, self.extent, strict=True))
        importance = self._importance[tuple(slice(b, b + size) for b, size in both)]
        total = torch.zeros(self.extent)
        for away in product(*near):
            pairs = list(zip(away, self.extent, strict=True))
            here = tuple(slice(max(a, 0), size + min(a, 0)) for a, size in pairs)
            there = tuple(slice(max(-a, 0), size - max(a, 0)) for a, size in pairs)
            total[here] += importance[there]
        return importance / total / len(self.members)


def members_of(flip_axes: Sequence[int], networks: int = 1) -> tuple[Member, ...]:
    """Every combination of mirrored axes, with every network.

    Example:
        >>> [member.flips for member in members_of((0, 2))]
        [(), (0,), (2,), (0, 2)]
    """
    flips = [c for n in range(len(flip_axes) + 1) for c in combinations(flip_axes, n)]
    return tuple(Member(tuple(chosen), n) for n in range(networks) for chosen in flips)
