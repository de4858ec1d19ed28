"""The text header of MetaImage files (itk.org, MetaIO documentation)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import opening
from unetr_app.io.itk_header import (
    LONGEST,
    UNKNOWN_CURE,
    ItkHeader,
    affine_of,
    damaged,
    dtype_of,
    numbers,
)
from unetr_app.io.raster import volume_shape

_DTYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip


def read_metaimage_header(path: PathLike) -> ItkHeader:
    """Read the header of an MHA or MHD file.

    Raises:
        UnreadableInput: If it is damaged, or the image is not one volume of real numbers.
        UnsafeGeometry: If it does not say where the voxels lie.
        ValueError: If a field does not hold the numbers that it should.
    """
    fields, end = _lines(opening(path, LONGEST), path)
    data_path, offset = _data_file(fields, path, end)
    if int(fields.get("ElementNumberOfChannels", "1")) != 1:
        raise UnreadableInput(
            f"there are {fields['ElementNumberOfChannels']} values a voxel; one is needed",
            cure="Save each channel as a file of its own.", path=path,
        )  # fmt: skip
    if fields.get("BinaryData", "True").lower() != "true":
        raise damaged("the voxels are stored as text, which is not read", path)
    for name, neutral in (("ElementToIntensityFunctionSlope", 1.0),
                          ("ElementToIntensityFunctionOffset", 0.0)):  # fmt: skip
        if float(fields.get(name, neutral)) != neutral:
            raise damaged(f"the header scales the voxels ({name}), which is not read", path)
    sizes = [int(n) for n in fields.get("DimSize", "").split()]
    orders = (fields.get("BinaryDataByteOrderMSB"), fields.get("ElementByteOrderMSB"))
    is_big = next((word for word in orders if word), "False").lower() == "true"
    return ItkHeader(
        shape=volume_shape(sizes, path),
        affine_lps=_affine(fields, len(sizes), path),
        dtype=dtype_of(fields.get("ElementType", ""), _DTYPES, ">" if is_big else "<", path),
        data_path=data_path,
        data_offset=offset,
        packing="zlib" if fields.get("CompressedData", "False").lower() == "true" else "none",
    )


def _lines(head: bytes, path: PathLike) -> tuple[dict[str, str], int]:
    """The fields, and where the header ends: behind the line ElementDataFile."""
    fields: dict[str, str] = {}
    for line in re.finditer(rb"[^\n]*\n", head):
        key, equals, value = line[0].decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            return fields, line.end()
    raise damaged("the header does not say where the voxels are (ElementDataFile)", path)


def _data_file(fields: dict[str, str], path: PathLike, end: int) -> tuple[Path, int]:
    name = fields.get("ElementDataFile", "")
    if int(fields.get("HeaderSize", "0")) != 0:
        raise damaged("the header asks to skip part of the data", path)
    if name.upper() == "LOCAL":
        return Path(path), end
    if not name or name != Path(name).name or "%" in name or name.upper().startswith("LIST"):
        raise UnreadableInput(
            "the voxels are not in one file beside the header",
            cure="Save the image as one .mha file.", path=path,
        )  # fmt: skip
    return Path(path).with_name(name), 0


def _affine(fields: dict[str, str], axes: int, path: PathLike) -> NDArray[np.float64]:
    def first(*names: str) -> str | None:
        return next((fields[name] for name in names if name in fields), None)

    matrix = first("TransformMatrix", "Rotation", "Orientation")
    origin = first("Offset", "Position", "Origin")
    spacing = first("ElementSpacing")
    if matrix is None or origin is None or spacing is None:
        raise UnsafeGeometry(
            "the header does not say where in the patient the voxels lie (TransformMatrix, Offset "
            "and ElementSpacing are needed)",
            cure=UNKNOWN_CURE, path=path,
        )  # fmt: skip
    rows = numbers(matrix, axes * axes).reshape(axes, axes)[:3, :3]
    columns = list(rows * numbers(spacing, axes)[:3, None])
    return affine_of(columns, numbers(origin, axes)[:3], (1, 1, 1))
