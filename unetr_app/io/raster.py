"""Raster: the voxels of one file and their place, before they count as Volume or label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry, Shape
from unetr_app.io.atomic import PathLike
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume, values_in

MAX_LABEL = 65535
_FURTHEST_MM = 1e6


@dataclass(frozen=True, eq=False)
class Raster:
    """What a file holds, with scale factors applied.

    Args:
        data: (I, J, K); integers as stored, or float32.
        geometry: Where the voxels lie.
        path: The file or folder, for messages.
        modality: DICOM modality code; empty where unknown.
        warnings: What the user should know.
        label_names: Names of label values, where the file states them.
    """

    data: NDArray[Any]
    geometry: Geometry
    path: PathLike
    modality: str = ""
    warnings: tuple[str, ...] = ()
    label_names: Mapping[int, str] = field(default_factory=dict[int, str])

    def to_volume(self, source: str) -> Volume:
        """A scalar image.

        Raises:
            UnreadableInput: If a value is not finite or all values are the same.
            UnsafeGeometry: If it is a single slice.
        """
        require_depth(self.geometry, self.path)
        data = to_float32(self.data, self.path)
        lowest, highest = float(data.min()), float(data.max())
        if not np.isfinite(lowest) or not np.isfinite(highest):
            raise _not_finite(data, self.path)
        if lowest == highest:
            raise UnreadableInput(
                f"all voxels have the same value, {lowest:g}: there is nothing to see",
                cure="Export the image again from its source.", path=self.path,
            )  # fmt: skip
        return Volume(
            data[None], self.geometry, modality=self.modality, source=source,
            warnings=self.warnings,
        )  # fmt: skip

    def to_segmentation(self, labels: LabelSet | None) -> Segmentation:
        """A label map; integers stored as floats are accepted.

        Raises:
            UnreadableInput: If a value is no integer from 0 to 65535.
            UnsafeGeometry: If it is a single slice.
            InvalidRequest: If ``labels`` does not name a value that is there.
        """
        require_depth(self.geometry, self.path)
        values = _label_values(self.data, self.path)
        if labels is None:
            present = [v for v in values_in(values) if v]
            names = {v: self.label_names.get(v) or f"label_{v}" for v in present}
            if len(set(names.values())) < len(names):
                names = {v: f"label_{v}" for v in present}
            labels = LabelSet.from_names(names)
        try:
            return Segmentation(values, self.geometry, labels)
        except InvalidRequest as error:
            raise InvalidRequest(error.what, cure=error.cure, path=self.path) from error


def require_depth(geometry: Geometry, path: PathLike) -> Geometry:
    """The geometry itself, if it is one of a volume.

    Raises:
        UnsafeGeometry: If it is a single slice.
    """
    if min(geometry.shape) > 1:
        return geometry
    raise UnsafeGeometry(
        f"a single slice ({' x '.join(map(str, geometry.shape))} voxels) is no volume",
        cure="Give the whole image; at least two voxels along each axis are needed.", path=path,
    )  # fmt: skip


def volume_shape(sizes: Sequence[int], path: PathLike, channel: int | None = None) -> Shape:
    """The three spatial sizes of an array with ``sizes``, trailing axes of length 1 left out.

    Args:
        sizes: Length of each axis as the header has it.
        path: The file, for messages.
        channel: Which volume of a four-dimensional image is wanted.

    Raises:
        UnreadableInput: If it is not a volume, nor a series of volumes of which one is wanted.
        InvalidRequest: If there is no volume of that number.
    """
    shape = [int(n) for n in sizes]
    while len(shape) > 3 and shape[-1] == 1:
        shape.pop()
    words = " x ".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise UnreadableInput(
            f"the header states an axis without voxels ({words or 'no axes'})",
            cure="Export the image again from its source.", path=path,
        )  # fmt: skip
    if len(shape) == 4 and channel is not None:
        if not 0 <= channel < shape[3]:
            raise InvalidRequest(
                f"there is no volume {channel}", cure=f"Choose 0 to {shape[3] - 1}.", path=path
            )
        return shape[0], shape[1], shape[2]
    if len(shape) != 3:
        what = f"{shape[3]} volumes in one file" if len(shape) == 4 else f"{len(shape)} axes"
        raise UnreadableInput(
            f"the image has {what} ({words}); one volume of three axes is needed",
            cure="Save each volume as a file of its own." if len(shape) > 3 else
                 "Give the whole volume rather than a slice.",
            path=path,
        )  # fmt: skip
    if channel:
        raise InvalidRequest(f"there is no volume {channel}", cure="There is only one.", path=path)
    return shape[0], shape[1], shape[2]


def located(shape: Shape, affine: ArrayLike, path: PathLike, *, lps: bool = False) -> Geometry:
    """A Geometry whose errors name the file.

    Args:
        shape: Voxels along i, j, k.
        affine: (4, 4), index to mm.
        path: The file, for messages.
        lps: Whether the affine leads into LPS+ rather than RAS+.

    Raises:
        UnsafeGeometry: If the affine is not finite or singular.
    """
    values = np.asarray(affine, dtype=np.float64)
    try:
        if not np.isfinite(values).all():
            raise UnsafeGeometry("the affine holds values that are not finite")
        if np.abs(values).max() > _FURTHEST_MM:
            raise UnsafeGeometry("the affine puts voxels more than a kilometre away")
        return Geometry.from_lps(shape, values) if lps else Geometry(shape, values)
    except UnsafeGeometry as error:
        raise UnsafeGeometry(
            error.what, cure="Export the image again with a valid position and orientation.",
            path=path,
        ) from error  # fmt: skip


def to_float32(data: NDArray[Any], path: PathLike) -> NDArray[np.float32]:
    """Values as float32; NaN and infinity stay.

    Raises:
        UnreadableInput: If a finite value is beyond what float32 holds.
    """
    if data.dtype == np.float32:
        return data
    with np.errstate(over="ignore"):
        values = data.astype(np.float32)
    if data.dtype.kind == "f":
        lost = np.isinf(values) & np.isfinite(data)
        if lost.any():
            raise UnreadableInput(
                f"{int(lost.sum())} values are beyond 3.4e38, more than 32-bit floats hold; the "
                f"first is at index {_first(lost)}",
                cure="Scale or repair the image.", path=path,
            )  # fmt: skip
    return values


def _not_finite(data: NDArray[Any], path: PathLike) -> UnreadableInput:
    bad = ~np.isfinite(data)
    return UnreadableInput(
        f"{int(bad.sum())} voxels are not finite (NaN or infinite), the first at index "
        f"{_first(bad)}",
        cure="Repair the image, for example by replacing these voxels with background.",
        path=path,
    )


def _first(mask: NDArray[np.bool_]) -> tuple[int, ...]:
    return tuple(int(n) for n in np.unravel_index(int(mask.argmax()), mask.shape))


def _label_values(data: NDArray[Any], path: PathLike) -> NDArray[np.uint16]:
    if data.dtype.kind == "f":
        if not np.isfinite(data).all():
            raise _not_finite(data, path)
        fractions = data != np.rint(data)
        if fractions.any():
            where = _first(fractions)
            raise UnreadableInput(
                f"a label map holds whole numbers, but there is {float(data[where]):g} at index "
                f"{where}",
                cure="Give the label map rather than an image or a map of probabilities.",
                path=path,
            )
    lowest, highest = data.min(), data.max()
    if lowest < 0 or highest > MAX_LABEL:
        raise UnreadableInput(
            f"a label map holds values from 0 to {MAX_LABEL}, but these run from {lowest:g} to "
            f"{highest:g}",
            cure="Give the label map rather than an image.", path=path,
        )  # fmt: skip
    return data.astype(np.uint16)
