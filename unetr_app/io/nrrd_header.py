"""The text header of NRRD files (teem.sourceforge.net/nrrd/format.html)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import opening
from unetr_app.io.integrity import Packing
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
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16",
                     "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long",
                     "signed long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "unsigned long long int", "uint64",
                     "uint64_t"), "u8"),
    "float": "f4", "double": "f8",
}  # fmt: skip
_ORDERS = {"little": "<", "big": ">"}
_PACKINGS: dict[str, Packing] = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
_LPS_SIGNS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip


def read_nrrd_header(path: PathLike) -> ItkHeader:
    """Read the header of a NRRD file.

    Raises:
        UnreadableInput: If it is damaged, or the image is not one volume of real numbers.
        UnsafeGeometry: If it does not say where the voxels lie.
        ValueError: If a field does not hold the numbers that it should.
    """
    head = opening(path, LONGEST)
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        raise damaged("the header has no end", path)
    fields, notes = _lines(head[: end.start()].decode("utf-8", "replace"))
    if "data file" in fields or "datafile" in fields:
        raise UnreadableInput(
            "the header and the voxels are in separate files, which is not read for NRRD",
            cure="Save the image as one .nrrd file.", path=path,
        )  # fmt: skip
    if any(int(fields.get(skip, "0")) for skip in ("byte skip", "line skip", "byteskip")):
        raise damaged("the header asks to skip part of the data", path)
    packing = _PACKINGS.get(fields.get("encoding", "").lower())
    if packing is None:
        raise UnreadableInput(
            f"the voxels are packed as {fields.get('encoding', '')!r}; raw and gzip are read",
            cure="Save the image again with gzip compression.", path=path,
        )  # fmt: skip
    return ItkHeader(
        shape=volume_shape(_sizes(fields, path), path),
        affine_lps=_affine(fields, path),
        dtype=_dtype(fields, path),
        data_path=Path(path),
        data_offset=end.end(),
        packing=packing,
        label_names=_slicer_names(notes),
    )


def _lines(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Fields of the format itself, names in lower case, and the writer's own key/value pairs."""
    fields: dict[str, str] = {}
    notes: dict[str, str] = {}
    for line in text.splitlines()[1:]:
        if line.startswith("#"):
            continue
        if ":=" in line:
            key, _, value = line.partition(":=")
            notes[key] = value
        else:
            key, _, value = line.partition(":")
            fields[key.strip().lower()] = value.strip()
    return fields, notes


def _dtype(fields: dict[str, str], path: PathLike) -> np.dtype[Any]:
    order = _ORDERS.get(fields.get("endian", "").lower())
    dtype = dtype_of(fields.get("type", ""), _DTYPES, order or "<", path)
    if order is None and dtype.itemsize > 1:
        raise damaged("the header does not say in which order the bytes are (endian)", path)
    return dtype


def _sizes(fields: dict[str, str], path: PathLike) -> list[int]:
    sizes = [int(n) for n in fields.get("sizes", "").split()]
    if len(sizes) != int(fields.get("dimension", "-1")):
        raise damaged("the header's sizes and dimension disagree", path)
    kinds = fields.get("kinds", "").split()
    if len(sizes) > 3 and kinds and kinds[0].lower() not in ("domain", "space", "???", "none"):
        raise UnreadableInput(
            f"there are {sizes[0]} values a voxel ({kinds[0]}); one is needed",
            cure="Save one channel, or non-overlapping labels, as a file of its own.", path=path,
        )  # fmt: skip
    return sizes


def _affine(fields: dict[str, str], path: PathLike) -> NDArray[np.float64]:
    space = fields.get("space", "").lower()
    signs = _LPS_SIGNS.get(space.removesuffix("-time"))
    vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    origin = re.findall(r"\(([^)]*)\)", fields.get("space origin", ""))
    if signs is None or len(vectors) < 3 or len(origin) != 1:
        raise UnsafeGeometry(
            "the header does not say where in the patient the voxels lie (space, space directions "
            "and space origin are needed)",
            cure=UNKNOWN_CURE, path=path,
        )  # fmt: skip
    if fields.get("space directions", "").lower().startswith("none"):
        raise damaged("the first axis has no direction", path)
    columns = [numbers(v.replace(",", " "), 3) for v in vectors[:3]]
    return affine_of(columns, numbers(origin[0].replace(",", " "), 3), signs)


def _slicer_names(notes: dict[str, str]) -> dict[int, str]:
    """Names of label values from the fields of 3D Slicer's .seg.nrrd."""
    names: dict[int, str] = {}
    for key, value in notes.items():
        match = re.fullmatch(r"Segment(\d+)_LabelValue", key)
        name = notes.get(f"Segment{match[1]}_Name", "").strip() if match else ""
        if name and value.strip().isdigit():
            names[int(value)] = name
    return names
