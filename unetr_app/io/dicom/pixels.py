"""Plane: the pixels of a DICOM slice as the values that they stand for."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.io.dicom.enhanced import group_of
from unetr_app.io.dicom.pixel_file import PixelFile
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, Slice, numbers_of, text_of

_HIGHEST_HU = 2**15  # that any CT has, metal with an extended scale among it


@dataclass(frozen=True, eq=False)
class Plane:
    """The values of one slice.

    Args:
        values: (columns, rows) float32, rescaled, MONOCHROME1 inverted.
        padding: (columns, rows), where the pixels are padding; None where none is.
    """

    values: NDArray[np.float32]
    padding: NDArray[np.bool_] | None


def read_planes(slices: Sequence[Slice]) -> Iterator[tuple[Plane, pydicom.Dataset]]:
    """The values of slices one after another, each with the headers of its file.

    Args:
        slices: In any order; those of one file that follow each other share one opening of it.

    Raises:
        UnreadableInput: If pixels are absent, truncated, damaged or not decodable.
    """
    n = 0
    while n < len(slices):
        with PixelFile(slices[n].path) as file:
            path = slices[n].path
            while n < len(slices) and slices[n].path == path:
                yield _plane(file, slices[n]), file.header
                n += 1


def _plane(file: PixelFile, slice_: Slice) -> Plane:
    pixels = file.stored(slice_.frame)
    if pixels.shape != (slice_.rows, slice_.columns):
        raise file.damaged(f"the pixels have shape {pixels.shape}")
    padding = _padding(file.header, pixels)
    pixels = _stored_bits(file.header, pixels)
    is_inverted = text_of(file.header, "PhotometricInterpretation") == "MONOCHROME1"
    if is_inverted:
        pixels = _inverted(file, pixels)
    slope, intercept = _rescale(file, slice_)
    with np.errstate(over="ignore", invalid="ignore"):
        values = (pixels.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise file.damaged("there are pixels that are not finite")
    if is_inverted and slice_.modality == "CT" and values.max() > _HIGHEST_HU:
        raise UnreadableInput(
            f"the pixels are MONOCHROME1, and turned over they give {values.max():g} HU, which CT "
            "does not have",
            cure="Export the series as MONOCHROME2.", path=slice_.path,
        )  # fmt: skip
    return Plane(values.T, None if padding is None else padding.T)


def _padding(dataset: pydicom.Dataset, pixels: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where the pixels are padding; None where nothing is."""
    value = _pixel_number(dataset, "PixelPaddingValue", pixels)
    if value is None:
        return None
    limit = _pixel_number(dataset, "PixelPaddingRangeLimit", pixels)
    other = value if limit is None else limit
    mask = (pixels >= min(value, other)) & (pixels <= max(value, other))
    return mask if mask.any() else None


def _pixel_number(dataset: pydicom.Dataset, keyword: str, pixels: NDArray[Any]) -> int | None:
    """A tag in the units of stored pixels; its sign is often declared wrongly."""
    found = numbers_of(dataset, keyword, 1)
    if found is None:
        return None
    value = int(found[0])
    if pixels.dtype.kind not in "iu":
        return value
    bounds = np.iinfo(pixels.dtype)
    modulus = 1 << bounds.bits
    if value > bounds.max:
        value -= modulus
    elif value < bounds.min:
        value += modulus
    return value


def _stored_bits(dataset: pydicom.Dataset, pixels: NDArray[Any]) -> NDArray[Any]:
    """Pixels with the bits cleared that are no part of them (old overlays lie there)."""
    stored, high = (numbers_of(dataset, name, 1) for name in ("BitsStored", "HighBit"))
    if stored is None or pixels.dtype.kind not in "iu":
        return pixels
    bits, allocated = int(stored[0]), pixels.dtype.itemsize * 8
    if not 0 < bits < allocated:
        return pixels
    shift = max(0, min(int(high[0]) + 1 - bits, allocated - bits)) if high is not None else 0
    up = allocated - bits - shift
    return (pixels << up) >> (allocated - bits)  # signed dtypes keep their sign


def _inverted(file: PixelFile, pixels: NDArray[Any]) -> NDArray[Any]:
    """MONOCHROME1 as MONOCHROME2: the range of stored values turned over, as ITK does."""
    stored = numbers_of(file.header, "BitsStored", 1)
    if pixels.dtype.kind == "i":
        return ~pixels
    if pixels.dtype.kind != "u" or stored is None:
        raise file.damaged("MONOCHROME1 needs integer pixels and BitsStored")
    return pixels.dtype.type((1 << int(stored[0])) - 1) - pixels


def _rescale(file: PixelFile, slice_: Slice) -> tuple[float, float]:
    """Slope and intercept of a slice; an enhanced file may have others for each frame."""
    header = file.header
    if slice_.is_enhanced:
        try:
            values = group_of(header, slice_.frame, "PixelValueTransformationSequence")
        except PYDICOM_ERRORS as error:
            raise file.damaged("the functional groups of its frames are damaged") from error
        header = values or header
    if "ModalityLUTSequence" in header:
        raise UnreadableInput(
            "pixel values go through a lookup table (Modality LUT), which is not read",
            cure="Export the series with a rescale slope and intercept.", path=slice_.path,
        )  # fmt: skip
    found = [
        numbers_of(header, name, 1) if text_of(header, name) else np.array([default])
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    ]
    if found[0] is None or found[1] is None or found[0][0] == 0:
        raise file.damaged("RescaleSlope or RescaleIntercept is 0 or not a number")
    return float(found[0][0]), float(found[1][0])
