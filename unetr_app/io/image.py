"""Image: one image of any format, whether it is one file or the slices of a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import Format, require_format

if TYPE_CHECKING:
    from unetr_app.io.raster import Raster


def read_image(
    files: Sequence[PathLike], *, channel: int | None = None, sparse: bool = False,
    frames: Sequence[tuple[str, int]] = (), regularise: bool = False,
) -> Raster:  # fmt: skip
    """Read an image to its end.

    Args:
        files: One file, or the slices of one series in any order.
        channel: Which volume to take of a NIfTI file with several.
        sparse: Whether the content may be mostly empty, as label maps are.
        frames: Path and frame number of each slice, where DICOM files hold several volumes.
        regularise: Resample DICOM slices at uneven distances rather than refuse them.

    Raises:
        UnreadableInput: If a file is damaged, too large, or not one volume of real numbers.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
        InvalidRequest: If there is no such volume, or the files hold several.
    """
    kind = require_format(files[0])
    if kind is Format.NIFTI:
        from unetr_app.io import nifti

        return nifti.read(files[0], channel=channel, sparse=sparse)
    if channel:
        raise InvalidRequest(
            f"there is no volume {channel}", cure="There is only one.", path=files[0]
        )
    if kind is Format.DICOM:
        from unetr_app.io.dicom import series as dicom_series

        return dicom_series.read(files, frames=frames, regularise=regularise)
    from unetr_app.io import itk_reader

    return itk_reader.read(files[0], kind, sparse=sparse)


def read_header(
    files: Sequence[PathLike], *, channel: int | None = None,
    frames: Sequence[tuple[str, int]] = (), regularise: bool = False,
) -> Geometry:  # fmt: skip
    """The geometry of an image, from its headers alone.

    Args:
        files: As for `read_image`.
        channel: As for `read_image`.
        frames: As for `read_image`.
        regularise: As for `read_image`.

    Raises:
        UnreadableInput: If a header is damaged or states no volume.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
        InvalidRequest: If the files hold several volumes.
    """
    from unetr_app.io.raster import require_depth

    kind = require_format(files[0])
    if kind is Format.DICOM:
        from unetr_app.io.dicom import series as dicom_series

        return dicom_series.read_geometry(files, frames=frames, regularise=regularise)
    if kind is Format.NIFTI:
        from unetr_app.io import nifti

        return require_depth(nifti.read_geometry(files[0], channel=channel), files[0])
    from unetr_app.io import itk_reader

    return require_depth(itk_reader.read_geometry(files[0], kind), files[0])
