"""Volume and Segmentation: arrays that never lose their Geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet

_LARGE = 2**20  # numbers from which copying in blocks pays
_BLOCK = (64, 8)  # along i and j


def _view(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.setflags(write=False)
    return view


def in_c_order(array: NDArray[Any], dtype: Any) -> NDArray[Any]:
    """As `np.ascontiguousarray`; large arrays in Fortran order block by block, as caches like."""
    if array.size < _LARGE or array.ndim < 3 or array.flags.c_contiguous:
        return np.ascontiguousarray(array, dtype=dtype)
    made = np.empty(array.shape, dtype=dtype)
    (*lead, i, j, _) = array.shape
    for *first, a, b in np.ndindex(*lead, -(-i // _BLOCK[0]), -(-j // _BLOCK[1])):
        begin, down = a * _BLOCK[0], b * _BLOCK[1]
        where = (*first, slice(begin, begin + _BLOCK[0]), slice(down, down + _BLOCK[1]))
        packed = np.ascontiguousarray(array[where].T)  # (K, j, i), small, read along i
        made[where] = packed.T
    return made


def values_in(array: NDArray[Any]) -> list[int]:
    """The values of an array, ascending; small unsigned integers are counted, not sorted."""
    if array.dtype.str not in ("|u1", "<u2") or array.size < _LARGE:
        return np.unique(array).tolist()
    flat = array.ravel(order="K")  # no copy, in whichever order it lies
    seen = np.zeros(np.iinfo(array.dtype).max + 1, dtype=np.int64)
    for begin in range(0, flat.size, _LARGE):
        seen += np.bincount(flat[begin : begin + _LARGE], minlength=len(seen))
    return np.flatnonzero(seen).tolist()


def reoriented_array(array: NDArray[Any], geometry: Geometry, codes: str) -> NDArray[Any]:
    """The last three axes of ``array`` (on ``geometry``) brought to ``codes``; a view, exact."""
    order, flips = geometry.reorientation(codes)
    lead = array.ndim - 3
    moved = array.transpose(*range(lead), *(lead + n for n in order))
    return np.flip(moved, tuple(lead + n for n in flips))


@dataclass(frozen=True, eq=False)
class Volume:
    """A scalar image with its geometry, valid from construction on.

    Args:
        data: (C, I, J, K) intensities; made float32 (CT in HU), every value finite.
        geometry: Where the voxels lie; its shape equals ``data.shape[1:]``.
        channel_names: One name a channel; ``channel_0`` and so on where absent.
        modality: DICOM modality code such as ``"MR"`` or ``"CT"``; empty where unknown.
        source: The input as it was given, for reports that may hold paths; empty where unknown.
        warnings: What the reader noticed and the user should know.

    Raises:
        UnsafeGeometry: If data and geometry differ in shape.
        UnreadableInput: If a value is not finite.
    """

    data: NDArray[np.float32]
    geometry: Geometry
    channel_names: tuple[str, ...] = ()
    modality: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 4 or self.data.shape[1:] != self.geometry.shape:
            raise UnsafeGeometry(
                f"data of shape {self.data.shape} does not fit a grid of {self.geometry.shape}; "
                "(channels, i, j, k) is needed"
            )
        data = in_c_order(self.data, np.float32)
        if not np.isfinite(data).all():
            bad = int(data.size - np.isfinite(data).sum())
            first = tuple(int(n) for n in np.argwhere(~np.isfinite(data))[0][1:])
            raise UnreadableInput(
                f"{bad} voxels are not finite (NaN or infinite), the first at index {first}",
                cure="Repair the image, for example by replacing these voxels with background.",
            )
        names = self.channel_names or tuple(f"channel_{n}" for n in range(len(data)))
        if len(names) != len(data):
            raise InvalidRequest(f"{len(names)} channel names for {len(data)} channels")
        object.__setattr__(self, "data", _view(data))
        object.__setattr__(self, "channel_names", tuple(names))

    def reorient(self, codes: str) -> Volume:
        """The same voxels with axes permuted and reversed towards ``codes``; exact."""
        return Volume(
            reoriented_array(self.data, self.geometry, codes),
            self.geometry.reoriented(codes),
            self.channel_names, self.modality, self.source, self.warnings,
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Labels on a grid, valid from construction on.

    Exclusive labels are a label map; overlapping ones (regions, sigmoid outputs) one binary mask
    a label.

    Args:
        data: (I, J, K) label map, made the smallest unsigned integer; or bool (L, I, J, K) masks,
            one for each label in order of value.
        geometry: Where the voxels lie: exactly the geometry of the Volume that was segmented.
        labels: What the values mean.
        provenance: How it came about (bundle, version, weights hash, ...); nothing of a patient.

    Raises:
        UnsafeGeometry: If data and geometry differ in shape.
        InvalidRequest: If the label map holds a value that ``labels`` does not name.
    """

    data: NDArray[Any]
    geometry: Geometry
    labels: LabelSet
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        expected = self.geometry.shape
        if self.data.dtype == np.bool_ and self.data.ndim == 4:
            expected = (len(self.labels), *expected)
            data = np.ascontiguousarray(self.data)
        else:
            data = self._checked_label_map()
        if data.shape != expected:
            raise UnsafeGeometry(f"labels of shape {data.shape} do not fit {expected}")
        object.__setattr__(self, "data", _view(data))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))

    def _checked_label_map(self) -> NDArray[Any]:
        unnamed = sorted({*values_in(self.data)} - {0, *self.labels.values})
        if unnamed:
            raise InvalidRequest(
                f"the label map holds values without a name: {unnamed[:8]}",
                cure=f"Named are {list(self.labels.values)}.",
            )
        return in_c_order(self.data, self.labels.dtype)

    def described(
        self, *, geometry: Geometry | None = None, labels: LabelSet | None = None,
        provenance: Mapping[str, Any] | None = None,
    ) -> Segmentation:  # fmt: skip
        """The same voxels, said to be something else; they are only looked at where need be.

        Args:
            geometry: Of the same shape; as it is where None.
            labels: What values mean; as it is where None.
            provenance: As it is where None.

        Raises:
            UnsafeGeometry: If the geometry has another shape.
            InvalidRequest: If a value is there that ``labels`` does not name.
        """
        geometry, labels = geometry or self.geometry, labels or self.labels
        provenance = self.provenance if provenance is None else provenance
        grows = {*labels.values} >= {*self.labels.values} and labels.dtype == self.labels.dtype
        same_masks = not self.is_overlapping or labels.values == self.labels.values
        if geometry.shape != self.geometry.shape or not grows or not same_masks:
            return Segmentation(self.data, geometry, labels, provenance)
        made = object.__new__(Segmentation)
        object.__setattr__(made, "data", self.data)
        object.__setattr__(made, "geometry", geometry)
        object.__setattr__(made, "labels", labels)
        object.__setattr__(made, "provenance", MappingProxyType(dict(provenance)))
        return made

    @property
    def is_overlapping(self) -> bool:
        """Is it one mask a label rather than one label map?"""
        return self.data.ndim == 4

    @property
    def label_map(self) -> NDArray[Any]:
        """(I, J, K) label map.

        Raises:
            InvalidRequest: If labels overlap, so that no single map can hold them.
        """
        if self.is_overlapping:
            raise InvalidRequest(
                "these labels overlap and do not fit one label map",
                cure="Use mask(value) for each label.",
            )
        return self.data

    def mask(self, value: int) -> NDArray[np.bool_]:
        """(I, J, K) bool: where the label of that value is."""
        if self.is_overlapping:
            return self.data[self.labels.values.index(value)]
        return self.data == value

    def subset(self, labels: LabelSet) -> Segmentation:
        """The same grid with only ``labels`` kept; every other voxel becomes background."""
        if self.is_overlapping:
            rows = [self.labels.values.index(v) for v in labels.values]
            return Segmentation(self.data[rows], self.geometry, labels, self.provenance)
        kept = np.where(np.isin(self.data, labels.values), self.data, 0)
        return Segmentation(kept, self.geometry, labels, self.provenance)

    def reorient(self, codes: str) -> Segmentation:
        """The same voxels with axes permuted and reversed towards ``codes``; exact."""
        return Segmentation(
            reoriented_array(self.data, self.geometry, codes),
            self.geometry.reoriented(codes), self.labels, self.provenance,
        )  # fmt: skip
