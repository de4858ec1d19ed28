"""NRRD and MetaImage: the door to SimpleITK.

The reader is pinned by format, with no other to fall back on. SimpleITK is given a file only after
its text header and the length and checksum of its data have been found in order, because it
allocates what a header promises and invents geometry that a header leaves out.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813  the name that everybody knows it by
from numpy.typing import NDArray

from unetr_app.errors import UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import Format
from unetr_app.io.integrity import CheckedStream
from unetr_app.io.itk_header import ItkHeader, damaged
from unetr_app.io.limits import check_ratio, check_voxels
from unetr_app.io.metaimage_header import read_metaimage_header
from unetr_app.io.nrrd_header import read_nrrd_header
from unetr_app.io.raster import Raster, located
from unetr_app.labels import LabelSet

_IMAGE_IO = {Format.NRRD: "NrrdImageIO", Format.METAIMAGE: "MetaImageIO"}
_DISAGREEMENT_MM = 1e-3  # SimpleITK's geometry against our own reading of the header


def read_geometry(path: PathLike, kind: Format) -> Geometry:
    """The geometry that a file's header states; the voxels are not read.

    Raises:
        UnreadableInput: If the header is damaged or states no volume.
        UnsafeGeometry: If the place of the voxels is unknown.
    """
    header = _read_header(path, kind)
    check_voxels(header.shape, path)
    geometry = located(header.shape, header.affine_lps, path, lps=True)
    with _quiet():
        reader = _reader(path, kind)
        try:
            reader.ReadImageInformation()
        except RuntimeError as error:
            raise _refused(path) from error
        _require_agreement(reader, geometry, path)
    return geometry


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
    promised = check_voxels(header.shape, path) * header.bytes_per_voxel
    geometry = located(header.shape, header.affine_lps, path, lps=True)
    _check_data(header, promised, sparse=sparse)
    with _quiet():
        reader = _reader(path, kind)
        try:
            image = reader.Execute()
        except RuntimeError as error:
            raise _refused(path) from error
        _require_agreement(image, geometry, path)
    data = sitk.GetArrayFromImage(image)  # (k, j, i), or (1, k, j, i)
    data = data.reshape(data.shape[-3:]).transpose()
    return Raster(data, geometry, path, label_names=header.label_names)


def write(data: NDArray[Any], geometry: Geometry, path: PathLike, labels: LabelSet) -> None:
    """Write a label map of (I, J, K) packed; NRRD carries names and colours as 3D Slicer reads.

    Raises:
        UnwritableOutput: If SimpleITK refuses.
    """
    nrrd = str(path).lower().endswith(".nrrd")
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    affine = geometry.affine_lps
    spacing = np.asarray(geometry.spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    if nrrd:
        for key, value in _slicer_keys(labels, geometry).items():
            image.SetMetaData(key, value)
    writer = sitk.ImageFileWriter()
    writer.SetImageIO(_IMAGE_IO[Format.NRRD if nrrd else Format.METAIMAGE])
    writer.SetFileName(str(path))
    writer.UseCompressionOn()
    with _quiet():
        try:
            writer.Execute(image)
        except RuntimeError as error:
            raise UnwritableOutput(
                "could not be written", cure="Check that there is space on the disk.", path=path
            ) from error


def _read_header(path: PathLike, kind: Format) -> ItkHeader:
    try:
        return read_nrrd_header(path) if kind is Format.NRRD else read_metaimage_header(path)
    except (ValueError, IndexError, OverflowError) as error:
        raise damaged("a field of the header does not hold the numbers it should", path) from error


def _slicer_keys(labels: LabelSet, geometry: Geometry) -> dict[str, str]:
    """Header fields of 3D Slicer's .seg.nrrd for one layer of exclusive labels."""
    extent = " ".join(f"0 {n - 1}" for n in geometry.shape)
    keys: dict[str, str] = {}
    for n, label in enumerate(labels):
        keys |= {
            f"Segment{n}_ID": f"Segment_{label.value}",
            f"Segment{n}_Name": label.name,
            f"Segment{n}_Color": " ".join(f"{c / 255:.6g}" for c in label.colour),
            f"Segment{n}_LabelValue": str(label.value),
            f"Segment{n}_Layer": "0",
            f"Segment{n}_Extent": extent,
        }
    return keys


def _check_data(header: ItkHeader, promised: int, *, sparse: bool) -> None:
    path = header.data_path
    with CheckedStream(path, offset=header.data_offset, packing=header.packing) as stream:
        if header.packing != "none":
            check_ratio(promised, stream.stored, path, sparse=sparse)
        if stream.skip(promised) < promised:
            raise UnreadableInput(
                "the file is truncated: it holds fewer voxels than its header promises",
                cure="Copy or export the file again.", path=path,
            )  # fmt: skip
        stream.finish()


def _reader(path: PathLike, kind: Format) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IMAGE_IO[kind])
    reader.SetFileName(str(path))
    return reader


def _require_agreement(
    found: sitk.Image | sitk.ImageFileReader, geometry: Geometry, path: PathLike
) -> None:
    axes = found.GetDimension()
    affine = np.eye(4)
    direction = np.reshape(found.GetDirection(), (axes, axes))[:3, :3]
    affine[:3, :3] = direction * np.asarray(found.GetSpacing()[:3])
    affine[:3, 3] = found.GetOrigin()[:3]
    shape = tuple(found.GetSize()[:3])
    theirs = located((shape[0], shape[1], shape[2]), affine, path, lps=True)
    if not theirs.is_close(geometry, _DISAGREEMENT_MM):
        raise UnsafeGeometry(
            "the header's position or orientation is ambiguous: two readers understand it "
            "differently",
            cure="Save the image again, for example with SimpleITK or 3D Slicer.", path=path,
        )  # fmt: skip


def _refused(path: PathLike) -> UnreadableInput:
    return UnreadableInput(
        "SimpleITK could not read the file", cure="Copy or export the file again.", path=path
    )


@contextmanager
def _quiet() -> Generator[None]:
    """Keep ITK from writing its warnings to the terminal."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)
