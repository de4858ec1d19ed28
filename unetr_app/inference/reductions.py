"""Reductions: what is kept of the logits of native voxels, piece by piece."""

from __future__ import annotations

import math
import os
from typing import Any, Protocol

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.inference.homecoming import Piece

Shape = tuple[int, int, int]
_AT_A_TIME = 1 << 22  # logits that are compared at a time


class Reduction(Protocol):
    """Takes the pieces of one native grid, each voxel once; voxels without one are background."""

    def add(self, piece: Piece) -> None:
        """Keep what is wanted of a piece."""
        ...


class LabelMap:
    """The channel with the largest logit, the first of equal ones.

    Args:
        shape: Of the native grid.
    """

    def __init__(self, shape: Shape):
        self.array: NDArray[np.unsignedinteger] = np.zeros(shape, dtype=np.uint8)

    def add(self, piece: Piece) -> None:
        """Keep the number of the winning channel."""
        if len(piece.logits) > 256 and self.array.dtype == np.uint8:
            self.array = self.array.astype(np.uint16)
        logits = piece.logits.numpy()
        winner = np.empty(logits.shape[1:], dtype=self.array.dtype)
        step = max(1, _AT_A_TIME // max(logits[:, :1].size, 1))
        for first in range(0, len(winner), step):  # numpy copies what it compares
            winner[first : first + step] = logits[:, first : first + step].argmax(axis=0)
        piece.write(winner, self.array)


class Masks:
    """For each channel whether its logit reaches a threshold; channels may overlap.

    Args:
        shape: Of the native grid.
        threshold: On the logits' scale; 0 is a probability of one half.
    """

    def __init__(self, shape: Shape, threshold: float = 0.0):
        self._shape = shape
        self._threshold = threshold
        self.array: NDArray[np.bool_] = np.zeros((0, *shape), dtype=bool)

    def add(self, piece: Piece) -> None:
        """Keep a mask a channel."""
        if not len(self.array):
            self.array = np.zeros((len(piece.logits), *self._shape), dtype=bool)
        for channel, values in enumerate(piece.logits.numpy() >= self._threshold):
            piece.write(values, self.array[channel])


class ProbabilityFile:
    """Probabilities of all channels in 255ths, on disk: ``.npy`` of (I, J, K, L) uint8.

    Args:
        path: Of the file.
        shape: Of the native grid.
        exclusive: Do the channels of a voxel sum to 1 (softmax), or does each stand for itself?
        activated: Do pieces hold probabilities already, in place of logits?
    """

    def __init__(
        self, path: str | os.PathLike[str], shape: Shape, *, exclusive: bool = True,
        activated: bool = False,
    ):  # fmt: skip
        self._path, self._shape, self._exclusive = path, shape, exclusive
        self._activated = activated
        self._made = False

    def add(self, piece: Piece) -> None:
        """Write a piece; the file is opened for it alone, so that its pages do not stay."""
        channels = len(piece.logits)
        if not self._made:
            _make(self._path, (*self._shape, channels), np.uint8)
        target = open_memmap(self._path, mode="r+")
        if not self._made and self._exclusive:
            target[..., 0] = 255  # background, where no piece comes
        self._made = True
        shares = piece.logits
        if not self._activated:
            shares = probabilities(shares, exclusive=self._exclusive)
        for channel, array in enumerate((shares * 255).round_().to(torch.uint8).numpy()):
            piece.write(array, target[..., channel])


class EntropyFile:
    """How undecided each voxel is, on disk: ``.npy`` of (I, J, K) float32.

    The entropy of the probabilities over its largest value: 0 where one channel has them all, 1
    where all are equal. Where channels overlap it is the mean over them of each one's own.

    Args:
        path: Of the file.
        shape: Of the native grid.
        exclusive: As of `ProbabilityFile`.
        activated: As of `ProbabilityFile`.
    """

    def __init__(
        self, path: str | os.PathLike[str], shape: Shape, *, exclusive: bool = True,
        activated: bool = False,
    ):  # fmt: skip
        self._path, self._exclusive, self._activated = path, exclusive, activated
        _make(path, shape, np.float32)

    def add(self, piece: Piece) -> None:
        """Write a piece."""
        target = open_memmap(self._path, mode="r+")
        shares = piece.logits
        if not self._activated:
            shares = probabilities(shares, exclusive=self._exclusive)
        piece.write(entropy(shares, exclusive=self._exclusive).numpy(), target)


def probabilities(logits: Tensor, *, exclusive: bool) -> Tensor:
    """(L, ...) to probabilities: softmax over the channels, or a sigmoid of each."""
    return logits.softmax(dim=0) if exclusive else logits.sigmoid()


def entropy(shares: Tensor, *, exclusive: bool) -> Tensor:
    """Probabilities (L, ...) to their entropy over the largest there can be, 0 to 1."""
    if exclusive:
        return torch.special.entr(shares).sum(dim=0) / math.log(max(len(shares), 2))
    each = torch.special.entr(shares) + torch.special.entr(1 - shares)
    return each.mean(dim=0) / math.log(2)


def _make(path: str | os.PathLike[str], shape: tuple[int, ...], dtype: Any) -> None:
    """A file of zeros, all its room taken: a disk that is full later would kill the process.

    Raises:
        OSError: If there is no room for it.
    """
    made = open_memmap(path, mode="w+", dtype=dtype, shape=shape, fortran_order=True)
    size = made.offset + made.nbytes
    del made
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
