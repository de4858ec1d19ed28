"""NIfTI-1 and NIfTI-2, single files: the door to nibabel.

One policy for the affine: the sform where its code is above 0, else the qform where its code is,
else nothing, and the file is refused (the standard's third method knows no orientation). Files
whose two statements disagree are refused, since readers differ in which they believe.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry, Shape
from unetr_app.io.atomic import PathLike
from unetr_app.io.integrity import CheckedStream
from unetr_app.io.limits import check_ratio, check_voxels
from unetr_app.io.raster import Raster, located, to_float32, volume_shape

_DISAGREEMENT_MM = 0.1  # sform and qform may differ by rounding, not by more
_SHEAR_MM = 0.01  # a qform further than this from the affine is left out
_QUATERNION_ROUNDING = 1e-5  # by which the length of a rotation's quaternion may exceed 1
_SLACK = 4096  # bytes that some writers leave behind the voxels
_MAX_AXIS = 32767  # NIfTI-1 stores sizes in 16 bits
_PART = 1 << 22  # numbers of a map that are written at a time
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown, metre, millimetre, micron
_NUMBERS = {2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280}  # datatype codes of real numbers
_OTHERS = {32: "complex", 1792: "complex", 2048: "complex", 128: "RGB colour", 2304: "RGBA colour",
           1536: "128-bit float", 1: "one-bit"}  # fmt: skip

_Header = nibabel.Nifti1Header | nibabel.Nifti2Header


@dataclass(frozen=True)
class _Layout:
    """Where the wanted voxels are in the unpacked file."""

    shape: Shape
    dtype: np.dtype[Any]
    before: int  # bytes between the header and the first wanted voxel
    after: int  # bytes of further volumes behind the last one

    @property
    def count(self) -> int:
        """Bytes of the wanted voxels."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


def read_geometry(path: PathLike, *, channel: int | None = None) -> Geometry:
    """The geometry that a file's header states; the voxels are not read.

    Args:
        path: As for `read`.
        channel: As for `read`.

    Raises:
        UnreadableInput: If the header is damaged or states no volume.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
    """
    with CheckedStream(path) as stream:
        header = _read_header(stream)
        layout = _plan(header, stream, channel, sparse=True)
        _scale(header, path)
        return _place(header, layout.shape, path)


def read(path: PathLike, *, channel: int | None = None, sparse: bool = False) -> Raster:
    """Read a file to its end, checksum included.

    Args:
        path: A ``.nii`` or ``.nii.gz`` file, told apart by content.
        channel: Which volume to take of a file with several.
        sparse: Whether the content may be mostly empty, as label maps are.

    Raises:
        UnreadableInput: If the file is damaged, too large, or not one volume of real numbers.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
        InvalidRequest: If there is no volume of number ``channel``.
    """
    with CheckedStream(path) as stream:
        header = _read_header(stream)
        layout = _plan(header, stream, channel, sparse=sparse)
        scale = _scale(header, path)
        geometry = _place(header, layout.shape, path)
        stream.skip(layout.before)
        stored = _next_volume(stream, layout)
        stream.finish(layout.after + _SLACK)
    return Raster(_scaled(stored, scale, path), geometry, path)


def read_volume_count(path: PathLike) -> int:
    """How many volumes of three axes a file holds, by its header; 1 for anything else.

    Raises:
        UnreadableInput: If the header is damaged.
    """
    with CheckedStream(path) as stream:
        sizes = _sizes(_read_header(stream), path)
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    return sizes[3] if len(sizes) == 4 else 1


def read_each(path: PathLike, count: int) -> Generator[Raster]:
    """Read all volumes of a file, one after another; the checksum after the last one.

    Args:
        path: As for `read`.
        count: How many volumes there have to be; two at least.

    Raises:
        UnreadableInput: If the file is damaged, too large, or holds another number of volumes.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
    """
    held = read_volume_count(path)
    if held != count:
        raise UnreadableInput(
            f"{held} volumes in the file, where {count} are needed",
            cure="Give one volume for each channel.", path=path,
        )  # fmt: skip
    with CheckedStream(path) as stream:
        header = _read_header(stream)
        layout = _plan(header, stream, 0, sparse=False)
        scale = _scale(header, path)
        geometry = _place(header, layout.shape, path)
        stream.skip(layout.before)
        for _ in range(count):
            yield Raster(_scaled(_next_volume(stream, layout), scale, path), geometry, path)
        stream.finish(_SLACK)


def _next_volume(stream: CheckedStream, layout: _Layout) -> NDArray[Any]:
    """(I, J, K), as stored."""
    packed = np.empty(layout.count, np.uint8)
    if stream.read_into(packed) < layout.count:
        raise _truncated(stream.path)
    return packed.view(layout.dtype).reshape(layout.shape, order="F")


def write(data: NDArray[Any], geometry: Geometry, path: PathLike) -> None:
    """Write an array of (I, J, K); packed where the name ends in ``.gz``, always to equal bytes.

    Sform and qform state the same affine; where only one of them holds it exactly, the other is
    left out.

    Raises:
        UnwritableOutput: If an axis is too long for the format.
    """
    _require_axes(geometry.shape, path, cure="Write .nrrd instead.")
    image = nibabel.Nifti1Image(data, None)
    image.header.set_xyzt_units("mm")
    _state_affine(image, geometry)
    with open(path, "wb") as file:
        if str(path).lower().endswith(".gz"):
            with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
                image.to_stream(packed)
        else:
            image.to_stream(file)


def write_map(
    data: NDArray[Any], geometry: Geometry, path: PathLike, *, slope: float = 1,
    after_part: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Write a large array part by part, so that one on disk is never in memory as a whole.

    Args:
        data: (I, J, K), or (I, J, K, L) of channels, in Fortran order.
        geometry: Of its first three axes.
        path: Of the file; packed where the name ends in ``.gz``, always to equal bytes.
        slope: What stored numbers are multiplied by, as readers do.
        after_part: Called after each part.

    Raises:
        UnwritableOutput: If an axis is too long for the format.
    """
    _require_axes(data.shape, path, cure="Leave the map out.")
    image = nibabel.Nifti1Image(np.broadcast_to(np.zeros((), data.dtype), data.shape), None)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, 0)
    _state_affine(image, geometry)
    header = image.header
    header["magic"], header["vox_offset"] = b"n+1", 352
    flat = data.reshape(-1, order="F")
    with open(path, "wb") as file, contextlib.ExitStack() as stack:
        packs = str(path).lower().endswith(".gz")
        target = stack.enter_context(gzip.GzipFile("", "wb", 1, file, mtime=0)) if packs else file
        target.write(header.binaryblock + bytes(4))
        for start in range(0, len(flat), _PART):
            target.write(flat[start : start + _PART].tobytes())
            after_part()


def _require_axes(shape: tuple[int, ...], path: PathLike, *, cure: str) -> None:
    if max(shape) > _MAX_AXIS:
        raise UnwritableOutput(
            f"an axis of {max(shape)} voxels does not fit NIfTI ({_MAX_AXIS})",
            cure=cure, path=path,
        )  # fmt: skip


def _state_affine(image: nibabel.Nifti1Image, geometry: Geometry) -> None:
    image.set_qform(geometry.affine, code=1)
    from_qform = Geometry(geometry.shape, np.asarray(image.header.get_qform()))
    image.set_sform(geometry.affine, code=1)
    from_sform = Geometry(geometry.shape, np.asarray(image.header.get_sform()))
    if not from_qform.is_close(geometry, _SHEAR_MM):
        image.header["qform_code"] = 0  # a quaternion holds no shear
    elif from_qform == geometry != from_sform:
        image.header["sform_code"] = 0  # the source stated a qform alone; so do we


def _read_header(stream: CheckedStream) -> _Header:
    head = stream.read(nibabel.Nifti1Header.sizeof_hdr)
    one, two = (n.sizeof_hdr for n in (nibabel.Nifti1Header, nibabel.Nifti2Header))
    order = "<" if head[:4] in (one.to_bytes(4, "little"), two.to_bytes(4, "little")) else ">"
    kind: type[_Header] = nibabel.Nifti1Header
    if head[:4] in (two.to_bytes(4, "little"), two.to_bytes(4, "big")):
        kind = nibabel.Nifti2Header
        head += stream.read(two - one)
    if len(head) < kind.sizeof_hdr:
        raise _truncated(stream.path)
    try:
        return kind(head, endianness=order, check=False)
    except (HeaderDataError, ValueError) as error:
        raise _damaged("is not understood", stream.path) from error


def _plan(header: _Header, stream: CheckedStream, channel: int | None, *, sparse: bool) -> _Layout:
    """Check the header's promises against limits and the file's size, before memory is taken."""
    path = stream.path
    code = int(header["datatype"])
    if code not in _NUMBERS:
        raise UnreadableInput(
            f"the voxels are {_OTHERS.get(code, f'of unknown type {code}')}; real numbers are "
            "needed",
            cure="Convert the image to 16-bit integers or 32-bit floats.", path=path,
        )  # fmt: skip
    dtype = np.dtype(header.get_data_dtype())
    sizes = _sizes(header, path)
    shape = volume_shape(sizes, path, channel)
    total = check_voxels(sizes, path) * dtype.itemsize
    start = float(header["vox_offset"])
    smallest = header.single_vox_offset
    if not smallest <= start <= 2**40:
        raise _damaged(f"puts the voxels at byte {start:g}, which cannot be", path)
    promised = int(start) + total
    if stream.packing == "none":
        if stream.stored < promised:
            raise _truncated(path)
    else:
        check_ratio(promised, stream.stored, path, sparse=sparse)
    one = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    before = one * (channel or 0)
    unread = int(start) + before - header.sizeof_hdr
    return _Layout(shape, dtype, unread, total - before - one)


def _sizes(header: _Header, path: PathLike) -> list[int]:
    """The length of each axis."""
    axes = int(header["dim"][0])
    if not 1 <= axes <= 7:
        raise _damaged(f"states {axes} axes", path)
    return [int(n) for n in header["dim"][1 : axes + 1]]


def _scale(header: _Header, path: PathLike) -> tuple[float, float]:
    """Slope and intercept; 1 and 0 where the header says that the values are not scaled."""
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise _damaged("has a slope but no valid intercept (scl_inter)", path) from error
    return (1.0, 0.0) if slope is None else (slope, intercept or 0.0)


def _scaled(stored: NDArray[Any], scale: tuple[float, float], path: PathLike) -> NDArray[Any]:
    if scale == (1.0, 0.0):
        if stored.dtype.kind == "f":
            return to_float32(stored, path)
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    values = np.empty(stored.shape, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(stored.shape[2]):  # slice by slice, since scaling takes 8 bytes a voxel
            values[..., k] = to_float32(apply_read_scaling(stored[..., k], *scale), path)
    return values


def _place(header: _Header, shape: Shape, path: PathLike) -> Geometry:
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if not sform and not qform:
        raise UnsafeGeometry(
            "the codes of sform and qform are both 0, so left, right and position are unknown",
            cure="If its affine is known to be right, state so: with nibabel, "
                 "img.set_sform(img.affine, 1), and save.",
            path=path,
        )  # fmt: skip
    units = int(header["xyzt_units"]) & 7
    if units not in _MM_PER_UNIT:
        raise UnsafeGeometry(
            f"the unit of length has code {units}, which the standard does not define",
            cure="Set xyzt_units to 2 (millimetres) if that is what they are.", path=path,
        )  # fmt: skip
    affine = np.asarray(header.get_sform()) if sform else _qform(header, path)
    affine = _in_mm(affine, _MM_PER_UNIT[units])
    geometry = located(shape, affine, path)
    if sform and qform:
        _require_agreement(geometry, _in_mm(_qform(header, path), _MM_PER_UNIT[units]), path)
    return geometry


def _in_mm(affine: NDArray[Any], mm: float) -> NDArray[np.float64]:
    """The affine in mm; a converted one is rounded to what NIfTI can hold, so it can go home."""
    if mm == 1.0:
        return affine
    scaled = np.asarray(affine, dtype=np.float64).copy()
    scaled[:3] *= mm
    return scaled.astype(np.float32).astype(np.float64)


def _qform(header: _Header, path: PathLike) -> NDArray[np.float64]:
    header = header.copy()
    if float(header["pixdim"][0]) == 0.0:
        header["pixdim"][0] = 1.0  # the standard: 0 counts as 1
    try:
        _settle_half_turn(header)
        return np.asarray(header.get_qform())
    except (HeaderDataError, ValueError) as error:
        raise UnsafeGeometry(
            "the qform is not valid (its quaternion or its spacing)",
            cure="If the sform is right, set qform_code to 0; else export the image again.",
            path=path,
        ) from error


def _settle_half_turn(header: _Header) -> None:
    """Shorten a quaternion that rounding has made longer than 1, where nibabel would refuse it.

    The standard's own reader does so too; it concerns turns by very nearly 180 degrees.
    """
    names = ("quatern_b", "quatern_c", "quatern_d")
    try:
        header.get_qform_quaternion()
    except ValueError:
        length = float(np.sqrt(sum(float(header[name]) ** 2 for name in names)))
        if length < 1 + _QUATERNION_ROUNDING:
            for name in names:
                header[name] = float(header[name]) / length


def _require_agreement(geometry: Geometry, qform: NDArray[np.float64], path: PathLike) -> None:
    cure = ("Set the code of the wrong one to 0: with nibabel, img.set_qform(None, 0) or "
            "img.set_sform(None, 0), and save.")  # fmt: skip
    try:
        agree = Geometry(geometry.shape, qform).is_close(geometry, _DISAGREEMENT_MM)
    except UnsafeGeometry as error:
        raise UnsafeGeometry(f"the qform is not valid: {error.what}", cure=cure, path=path) from (
            error)  # fmt: skip
    if not agree:
        raise UnsafeGeometry(
            f"sform and qform put the voxels more than {_DISAGREEMENT_MM} mm apart: sform "
            f"{_rows(geometry.affine)}, qform {_rows(qform)}",
            cure=cure, path=path,
        )  # fmt: skip


def _rows(affine: NDArray[np.float64]) -> str:
    return str(np.round(affine[:3], 3).tolist())


def _truncated(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "the file is truncated: it holds fewer voxels than its header promises",
        cure="Copy or export the file again.", path=path,
    )  # fmt: skip


def _damaged(what: str, path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        f"the NIfTI header {what}", cure="Copy or export the file again.", path=path
    )
