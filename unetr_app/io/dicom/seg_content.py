"""SegContent: the pixels of a SEG, segment by segment, as the file will hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.volume import Segmentation

Kind = Literal["binary", "labelmap", "fractional"]
KINDS: tuple[Kind, ...] = ("binary", "labelmap", "fractional")


@dataclass(frozen=True, eq=False)
class SegContent:
    """What to write of a segmentation.

    Args:
        segmentation: The labels.
        kind: ``binary`` one bit a voxel and segment, ``labelmap`` one number a voxel,
            ``fractional`` probabilities in 255ths.
        probabilities: (L, I, J, K) or (I, J, K, L), uint8 in 255ths or floats from 0 to 1; needed
            for ``fractional`` alone. Channels are the labels in order of value; or one channel
            for each number from 0 (background) to the highest value.

    Raises:
        InvalidRequest: If the kind cannot hold these labels, or there are none.
        UnsafeGeometry: If the probabilities do not lie on the segmentation's grid.
    """

    segmentation: Segmentation
    kind: Kind
    probabilities: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InvalidRequest(f"there is no kind {self.kind!r}", cure=f"Kinds: {KINDS}.")
        if not len(self.segmentation.labels):
            raise InvalidRequest(
                "a SEG needs at least one label, and the segmentation has none",
                cure="Give it a label table.",
            )
        if self.kind == "labelmap" and self.segmentation.is_overlapping:
            raise InvalidRequest(
                "these labels overlap, which a SEG of kind labelmap cannot hold",
                cure="Write kind binary, which has a mask for each label.",
            )
        if (self.kind == "fractional") != (self.probabilities is not None):
            raise InvalidRequest(
                "probabilities belong to a SEG of kind fractional, and to no other"
            )
        _ = self._channels

    @property
    def numbers(self) -> tuple[int, ...]:
        """Segment numbers: from 1 on, or the labels' values in a label map."""
        values = self.segmentation.labels.values
        return values if self.kind == "labelmap" else tuple(range(1, len(values) + 1))

    @property
    def bits(self) -> int:
        """Bits a pixel."""
        if self.kind == "labelmap":
            return self.segmentation.labels.dtype.itemsize * 8
        return 1 if self.kind == "binary" else 8

    @cached_property
    def _channels(self) -> tuple[NDArray[Any], ...]:
        """(I, J, K) probabilities of each label; empty where there are none."""
        given = self.probabilities
        if given is None:
            return ()
        shape, labels = self.segmentation.geometry.shape, self.segmentation.labels
        if given.ndim == 4 and given.shape[:3] == shape:
            channels = [given[..., n] for n in range(given.shape[3])]
        elif given.ndim == 4 and given.shape[1:] == shape:
            channels = list(given)
        else:
            raise UnsafeGeometry(f"probabilities of shape {given.shape} do not fit {shape}")
        if len(channels) == len(labels):
            return tuple(channels)
        if len(channels) > max(labels.values):
            return tuple(channels[value] for value in labels.values)
        raise InvalidRequest(
            f"there are {len(channels)} channels of probabilities for {labels.names}"
        )

    @cached_property
    def _planes(self) -> NDArray[Any]:
        """(K, J, I) label map, contiguous, so that a frame is read in one go."""
        return np.ascontiguousarray(self.segmentation.label_map.transpose(2, 1, 0))

    @property
    def block_count(self) -> int:
        """How many blocks there are."""
        return 1 if self.kind == "labelmap" else len(self.numbers)

    def blocks(self) -> Iterator[NDArray[Any]]:
        """(K, J, I) stored values of each segment; of all together in a label map.

        One block at a time is in memory: bool for ``binary``, unsigned integers else.
        """
        if self.kind == "labelmap":
            yield self._planes
            return
        for n, value in enumerate(self.segmentation.labels.values):
            if self._channels:
                yield _in_255ths(np.array(self._channels[n])).transpose(2, 1, 0)
            elif self.segmentation.is_overlapping:
                yield np.ascontiguousarray(self.segmentation.mask(value).transpose(2, 1, 0))
            else:
                yield self._planes == value

    @property
    def overlap(self) -> str:
        """Segments Overlap: whether a voxel may be in several segments."""
        if self.kind == "fractional":
            return "UNDEFINED"
        if not self.segmentation.is_overlapping:
            return "NO"
        seen = np.zeros(self.segmentation.geometry.shape, np.bool_)
        for value in self.segmentation.labels.values:
            mask = self.segmentation.mask(value)
            if (seen & mask).any():
                return "YES"
            seen |= mask
        return "NO"


def _in_255ths(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if not (values.min() >= 0 and values.max() <= 1):  # not a number fails too
        raise InvalidRequest("there are probabilities outside 0 to 1")
    return np.rint(values * np.float32(255)).astype(np.uint8)
