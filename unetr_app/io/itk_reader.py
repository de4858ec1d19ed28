"""Reading of NRRD and MetaImage: a text header, and voxels that it describes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import Format
from unetr_app.io.integrity import CheckedStream
from unetr_app.io.itk_header import ItkHeader, damaged
from unetr_app.io.limits import check_ratio, check_voxels
from unetr_app.io.metaimage_header import read_metaimage_header
from unetr_app.io.nrrd_header import read_nrrd_header
from unetr_app.io.raster import Raster, located


def read_geometry(path: PathLike, kind: Format) -> Geometry:
    """The geometry that a file's header states; the voxels are not read.

    Args:
        path: The file.
        kind: `Format.NRRD` or `Format.METAIMAGE`.

    Raises:
        UnreadableInput: If the header is damaged or states no volume.
        UnsafeGeometry: If the place of the voxels is unknown.
    """
    header = _read_header(path, kind)
    check_voxels(header.shape, path)
    return located(header.shape, header.affine_lps, path, lps=True)


def read(path: PathLike, kind: Format, *, sparse: bool = False) -> Raster:
    """Read a file whose data have the promised length and, where packed, the right checksum.

    Args:
        path: The file.
        kind: `Format.NRRD` or `Format.METAIMAGE`.
        sparse: Whether the content may be mostly empty, as label maps are.

    Raises:
        UnreadableInput: If the file is damaged, too large, or not one volume of real numbers.
        UnsafeGeometry: If the place of the voxels is unknown.
    """
    header = _read_header(path, kind)
    promised = check_voxels(header.shape, path) * header.dtype.itemsize
    geometry = located(header.shape, header.affine_lps, path, lps=True)
    data = _voxels(header, promised, sparse=sparse)
    return Raster(data, geometry, path, label_names=header.label_names)


def _read_header(path: PathLike, kind: Format) -> ItkHeader:
    try:
        return read_nrrd_header(path) if kind is Format.NRRD else read_metaimage_header(path)
    except (ValueError, LookupError, OverflowError) as error:
        raise damaged("a field of the header does not hold the numbers it should", path) from error


def _voxels(header: ItkHeader, promised: int, *, sparse: bool) -> NDArray[Any]:
    """(I, J, K), in the byte order of this machine."""
    path = header.data_path
    with CheckedStream(path, offset=header.data_offset, packing=header.packing) as stream:
        if header.packing != "none":
            check_ratio(promised, stream.stored, path, sparse=sparse)
        elif stream.stored < promised:
            raise _truncated(path)
        packed = np.empty(promised, np.uint8)
        if stream.read_into(packed) < promised:
            raise _truncated(path)
        stream.finish()
    stored = packed.view(header.dtype).reshape(header.shape, order="F")
    return stored.astype(header.dtype.newbyteorder("="), copy=False)


def _truncated(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "the file is truncated: it holds fewer voxels than its header promises",
        cure="Copy or export the file again.", path=path,
    )  # fmt: skip
