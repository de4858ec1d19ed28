"""Plane: the pixels of a DICOM slice as the values that they stand for."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import FileMetaDataset
from pydicom.pixels import get_decoder  # pyright: ignore[reportPrivateImportUsage]
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from unetr_app.errors import UnreadableInput
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, Slice, numbers_of, read_dataset, text_of

_PLAIN = {"", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}


def missing_decoder(syntax: str) -> str:
    """The name of a transfer syntax that cannot be decoded here; empty where it can.

    Args:
        syntax: Transfer Syntax UID.
    """
    if syntax in _PLAIN:
        return ""
    uid = UID(syntax)
    try:
        return "" if get_decoder(uid).is_available else uid.name
    except NotImplementedError:
        return uid.name


@dataclass(frozen=True, eq=False)
class Plane:
    """The values of one slice.

    Args:
        values: (columns, rows) float32, rescaled, MONOCHROME1 inverted.
        padding: (columns, rows), where the pixels are padding; None where none is.
    """

    values: NDArray[np.float32]
    padding: NDArray[np.bool_] | None


def read_plane(slice_: Slice) -> Plane:
    """The values of one slice.

    Raises:
        UnreadableInput: If the pixels are absent, truncated, damaged or not decodable.
    """
    dataset = read_dataset(slice_.path, pixels=True)
    pixels = _decoded(dataset, slice_)
    if pixels.shape != (slice_.rows, slice_.columns):
        raise _damaged(slice_, f"the pixels have shape {pixels.shape}")
    padding = _padding(dataset, pixels)
    pixels = _stored_bits(dataset, pixels)
    if text_of(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        pixels = _inverted(dataset, pixels, slice_)
    slope, intercept = _rescale(dataset, slice_)
    with np.errstate(over="ignore"):
        values = (pixels.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise _damaged(slice_, "there are pixels that are not finite")
    return Plane(values.T, None if padding is None else padding.T)


def _decoded(dataset: pydicom.Dataset, slice_: Slice) -> NDArray[Any]:
    if not getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None):
        implicit, little = dataset.original_encoding
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = (
            ExplicitVRBigEndian if little is False
            else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dataset.pixel_array
        except PYDICOM_ERRORS as error:
            raise _damaged(slice_, "the pixels are absent, truncated or damaged") from error


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


def _inverted(dataset: pydicom.Dataset, pixels: NDArray[Any], slice_: Slice) -> NDArray[Any]:
    """MONOCHROME1 as MONOCHROME2: the range of stored values turned over, as ITK does."""
    stored = numbers_of(dataset, "BitsStored", 1)
    if pixels.dtype.kind == "i":
        return ~pixels
    if pixels.dtype.kind != "u" or stored is None:
        raise _damaged(slice_, "MONOCHROME1 needs integer pixels and BitsStored")
    return pixels.dtype.type((1 << int(stored[0])) - 1) - pixels


def _rescale(dataset: pydicom.Dataset, slice_: Slice) -> tuple[float, float]:
    if "ModalityLUTSequence" in dataset:
        raise UnreadableInput(
            "pixel values go through a lookup table (Modality LUT), which is not read",
            cure="Export the series with a rescale slope and intercept.", path=slice_.path,
        )  # fmt: skip
    found = [
        numbers_of(dataset, name, 1) if text_of(dataset, name) else np.array([default])
        for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
    ]
    if found[0] is None or found[1] is None or found[0][0] == 0:
        raise _damaged(slice_, "RescaleSlope or RescaleIntercept is 0 or not a number")
    return float(found[0][0]), float(found[1][0])


def _damaged(slice_: Slice, what: str) -> UnreadableInput:
    return UnreadableInput(what, cure="Copy or export the file again.", path=slice_.path)
