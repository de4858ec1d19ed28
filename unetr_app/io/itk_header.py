"""ItkHeader: what the text header of a NRRD or MetaImage file promises."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Shape
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import Format, opening
from unetr_app.io.integrity import Packing
from unetr_app.io.raster import volume_shape

_LONGEST = 1 << 20  # bytes of text looked through for the header's end
_UNKNOWN_CURE = ("If its position is known to be right, state it: save the image with 3D Slicer or "
                 "SimpleITK.")  # fmt: skip

_NRRD_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t",
                     "char"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t",
                     "ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32",
                     "uint32_t", "float"), 4),
    **dict.fromkeys(("longlong", "long long", "long long int", "signed long long",
                     "signed long long int", "int64", "int64_t", "ulonglong",
                     "unsigned long long", "unsigned long long int", "uint64", "uint64_t",
                     "double"), 8),
}  # fmt: skip
_META_BYTES = {
    "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2, "MET_INT": 4, "MET_UINT": 4,
    "MET_LONG": 4, "MET_ULONG": 4, "MET_LONG_LONG": 8, "MET_ULONG_LONG": 8, "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}  # fmt: skip
_LPS_SIGNS = {
    "left-posterior-superior": (1, 1, 1), "lps": (1, 1, 1),
    "right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1),
    "left-anterior-superior": (1, -1, 1), "las": (1, -1, 1),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ItkHeader:
    """What a text header promises.

    Args:
        shape: Voxels along i, j, k.
        affine_lps: (4, 4), voxel index to LPS+ mm.
        bytes_per_voxel: Size of one stored number.
        data_path: The file that holds the voxels.
        data_offset: Where in it they begin.
        packing: How they are packed.
        label_names: Names of label values, where 3D Slicer's fields state them.
    """

    shape: Shape
    affine_lps: NDArray[np.float64]
    bytes_per_voxel: int
    data_path: Path
    data_offset: int
    packing: Packing
    label_names: dict[int, str] = field(default_factory=dict[int, str])


def read_header(path: PathLike, kind: Format) -> ItkHeader:
    """Read the text header.

    Args:
        path: The file.
        kind: `Format.NRRD` or `Format.METAIMAGE`.

    Raises:
        UnreadableInput: If it is damaged, or the image is not one volume of real numbers.
        UnsafeGeometry: If it does not say where the voxels lie.
    """
    head = opening(path, _LONGEST)
    try:
        return _nrrd(path, head) if kind is Format.NRRD else _metaimage(path, head)
    except (ValueError, IndexError, OverflowError) as error:
        raise UnreadableInput(
            "the header is damaged: a field does not hold the numbers that it should",
            cure="Copy or export the file again.", path=path,
        ) from error  # fmt: skip


def _nrrd(path: PathLike, head: bytes) -> ItkHeader:
    end = re.search(rb"\r?\n\r?\n", head)
    if end is None:
        raise _damaged("the header has no end", path)
    fields: dict[str, str] = {}
    notes: dict[str, str] = {}
    for line in head[: end.start()].decode("utf-8", "replace").splitlines()[1:]:
        if line.startswith("#"):
            continue
        if ":=" in line:
            key, value = line.split(":=", 1)
            notes[key] = value
        elif ": " in line:
            key, value = line.split(": ", 1)
            fields[key.strip().lower()] = value.strip()
    for detached in ("data file", "datafile"):
        if detached in fields:
            raise UnreadableInput(
                "the header and the voxels are in separate files, which is not read for NRRD",
                cure="Save the image as one .nrrd file.", path=path,
            )  # fmt: skip
    if any(int(fields.get(skip, "0")) for skip in ("byte skip", "line skip", "byteskip")):
        raise _damaged("the header asks to skip part of the data", path)
    packing = {"raw": "none", "gzip": "gzip", "gz": "gzip"}.get(fields.get("encoding", "").lower())
    if packing is None:
        raise UnreadableInput(
            f"the voxels are packed as {fields.get('encoding', '')!r}; raw and gzip are read",
            cure="Save the image again with gzip compression.", path=path,
        )  # fmt: skip
    return ItkHeader(
        volume_shape(_nrrd_sizes(fields, path), path), _nrrd_affine(fields, path),
        _size_of(fields.get("type", ""), _NRRD_BYTES, path), Path(path), end.end(),
        packing, _slicer_names(notes),  # pyright: ignore[reportArgumentType]
    )  # fmt: skip


def _nrrd_sizes(fields: dict[str, str], path: PathLike) -> list[int]:
    sizes = [int(n) for n in fields.get("sizes", "").split()]
    if len(sizes) != int(fields.get("dimension", "-1")):
        raise _damaged("the header's sizes and dimension disagree", path)
    kinds = fields.get("kinds", "").split()
    if len(sizes) > 3 and kinds and kinds[0].lower() not in ("domain", "space", "???", "none"):
        raise UnreadableInput(
            f"there are {sizes[0]} values a voxel ({kinds[0]}); one is needed",
            cure="Save one channel, or non-overlapping labels, as a file of its own.", path=path,
        )  # fmt: skip
    return sizes


def _nrrd_affine(fields: dict[str, str], path: PathLike) -> NDArray[np.float64]:
    space = fields.get("space", "").lower()
    signs = _LPS_SIGNS.get(space.removesuffix("-time"))
    vectors = re.findall(r"\(([^)]*)\)", fields.get("space directions", ""))
    origin = re.findall(r"\(([^)]*)\)", fields.get("space origin", ""))
    if signs is None or len(vectors) < 3 or len(origin) != 1:
        raise UnsafeGeometry(
            "the header does not say where in the patient the voxels lie (space, space directions "
            "and space origin are needed)",
            cure=_UNKNOWN_CURE, path=path,
        )  # fmt: skip
    if fields.get("space directions", "").lower().startswith("none"):
        raise _damaged("the first axis has no direction", path)
    columns = [_numbers(v.replace(",", " "), 3) for v in vectors[:3]]
    return _affine(columns, _numbers(origin[0].replace(",", " "), 3), signs)


def _metaimage(path: PathLike, head: bytes) -> ItkHeader:
    fields: dict[str, str] = {}
    end = 0
    for line in re.finditer(rb"[^\n]*\n", head):
        key, equals, value = line[0].decode("utf-8", "replace").partition("=")
        if not equals:
            raise _damaged("the header has a line without a value", path)
        fields[key.strip()] = value.strip()
        end = line.end()
        if key.strip() == "ElementDataFile":
            break
    data_path, offset = _meta_data_file(fields, path, end)
    if int(fields.get("ElementNumberOfChannels", "1")) != 1:
        raise UnreadableInput(
            f"there are {fields['ElementNumberOfChannels']} values a voxel; one is needed",
            cure="Save each channel as a file of its own.", path=path,
        )  # fmt: skip
    if fields.get("BinaryData", "True").lower() != "true":
        raise _damaged("the voxels are stored as text", path)
    packed = fields.get("CompressedData", "False").lower() == "true"
    sizes = [int(n) for n in fields.get("DimSize", "").split()]
    return ItkHeader(
        volume_shape(sizes, path), _meta_affine(fields, len(sizes), path),
        _size_of(fields.get("ElementType", ""), _META_BYTES, path), data_path, offset,
        "zlib" if packed else "none",
    )  # fmt: skip


def _meta_data_file(fields: dict[str, str], path: PathLike, end: int) -> tuple[Path, int]:
    name = fields.get("ElementDataFile", "")
    if name.upper() == "LOCAL":
        return Path(path), end
    if not name or name != Path(name).name or "%" in name or name.upper().startswith("LIST"):
        raise UnreadableInput(
            "the voxels are not in one file beside the header",
            cure="Save the image as one .mha file.", path=path,
        )  # fmt: skip
    if int(fields.get("HeaderSize", "0")) != 0:
        raise _damaged("the header asks to skip part of the data", path)
    return Path(path).with_name(name), 0


def _meta_affine(fields: dict[str, str], axes: int, path: PathLike) -> NDArray[np.float64]:
    def first(*names: str) -> str | None:
        return next((fields[name] for name in names if name in fields), None)

    matrix = first("TransformMatrix", "Rotation", "Orientation")
    origin = first("Offset", "Position", "Origin")
    spacing = first("ElementSpacing")
    if matrix is None or origin is None or spacing is None:
        raise UnsafeGeometry(
            "the header does not say where in the patient the voxels lie (TransformMatrix, Offset "
            "and ElementSpacing are needed)",
            cure=_UNKNOWN_CURE, path=path,
        )  # fmt: skip
    rows = _numbers(matrix, axes * axes).reshape(axes, axes)[:3, :3]
    columns = list(rows * _numbers(spacing, axes)[:3, None])
    return _affine(columns, _numbers(origin, axes)[:3], (1, 1, 1))


def _affine(
    columns: Sequence[NDArray[np.float64]], origin: NDArray[np.float64], signs: Sequence[int]
) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = np.stack(columns, axis=1)
    affine[:3, 3] = origin
    return np.diag([*signs, 1]) @ affine


def _numbers(text: str, count: int) -> NDArray[np.float64]:
    values = np.array([float(word) for word in text.split()])
    if values.shape != (count,):
        raise ValueError(f"{count} numbers expected")
    return values


def _size_of(word: str, table: dict[str, int], path: PathLike) -> int:
    size = table.get(word.strip())
    if size is None:
        raise UnreadableInput(
            f"the voxels are of type {word!r}; integers or floats are needed",
            cure="Convert the image to 16-bit integers or 32-bit floats.", path=path,
        )  # fmt: skip
    return size


def _slicer_names(notes: dict[str, str]) -> dict[int, str]:
    names: dict[int, str] = {}
    for key, value in notes.items():
        match = re.fullmatch(r"Segment(\d+)_LabelValue", key)
        name = notes.get(f"Segment{match[1]}_Name", "").strip() if match else ""
        if name and value.strip().isdigit():
            names[int(value)] = name
    return names


def _damaged(what: str, path: PathLike) -> UnreadableInput:
    return UnreadableInput(what, cure="Copy or export the file again.", path=path)
