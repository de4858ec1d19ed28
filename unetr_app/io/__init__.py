"""Reading and writing of images: the format is told by content, geometry comes out as RAS+ mm.

Each heavy library has one door here (nibabel, SimpleITK, pydicom) and is loaded on first use.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from unetr_app.errors import (
    InvalidRequest,
    UnetrError,
    UnevenSlices,
    UnreadableInput,
    UnsafeGeometry,
    UnwritableOutput,
)
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike, replacing, write_bytes, write_json, write_text
from unetr_app.io.formats import Format, require_format
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume, in_c_order

if TYPE_CHECKING:
    from unetr_app.io.dicom.window import StatedWindow
    from unetr_app.io.raster import Raster

__all__ = [
    "PathLike", "Readable", "read_geometry", "read_label_map", "read_volume",
    "read_windows", "replacing", "write_bytes", "write_json", "write_segmentation", "write_text",
]  # fmt: skip

OUTPUT_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
_WRITTEN_AS_MEANT_MM = 1e-4


class Readable(Protocol):
    """What a case offers to be read: see `unetr_app.cases.Case`."""

    @property
    def input(self) -> str:
        """The input as it was given."""
        ...

    @property
    def paths(self) -> tuple[str, ...]:
        """Its files."""
        ...

    @property
    def frames(self) -> tuple[tuple[str, int], ...]:
        """File and frame number of each slice, where the files hold several volumes."""
        ...

    @property
    def problem(self) -> UnetrError | None:
        """Why it cannot be read, where its headers already show that."""
        ...

    @property
    def parts(self) -> tuple[tuple[str, ...], ...]:
        """The files of each channel; empty where there is one image."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, one for each part."""
        ...

    @property
    def resample(self) -> bool:
        """Whether channels on other grids are put onto the first one's."""
        ...


def read_volume(
    path: PathLike | Readable, *, channel: int | None = None, regularise: bool = False
) -> Volume:
    """Read a scalar image.

    Values are those that MONAI's ``LoadImage`` gives for NIfTI, from DICOM HU for CT, and SUV by
    body weight for PET whose headers allow it.

    Args:
        path: A NIfTI, NRRD, MHA or MHD file, a folder that holds one DICOM series, or a case.
        channel: Which volume to take of a NIfTI file with several, or of a case with several.
        regularise: Resample DICOM slices at uneven distances (some missing, or jitter) at even
            ones rather than refuse them; a warning of the volume says so.

    Returns:
        One channel, float32; all channels of a case that has several.

    Raises:
        UnreadableInput: If a file is damaged, too large, or not one volume of real numbers.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory, or a channel lies
            on another grid than the first.
        InvalidRequest: If there is no such channel, or the folder holds several volumes.

    Example:
        >>> import nibabel, numpy, tempfile
        >>> path = f"{tempfile.mkdtemp()}/ramp.nii.gz"
        >>> ramp = numpy.arange(24, dtype="int16").reshape(2, 3, 4)
        >>> nibabel.save(nibabel.Nifti1Image(ramp, numpy.diag([1, 1, 3, 1])), path)
        >>> read_volume(path).geometry.spacing
        (1.0, 1.0, 3.0)
    """
    if isinstance(path, str | os.PathLike):
        return _read(path, channel=channel, regularise=regularise).to_volume(os.fspath(path))
    if not path.parts:
        return _read(path, channel=channel, regularise=regularise).to_volume(path.input)
    from unetr_app.io.channels import read_channels

    _files_of(path, regularise=regularise)
    return read_channels(
        path.parts, path.channels, path.input, only=channel, resample=path.resample,
        regularise=regularise,
    )  # fmt: skip


def read_geometry(path: PathLike | Readable) -> Geometry:
    """The geometry of an image, from its headers alone; of all channels, which share one grid.

    Args:
        path: As for `read_volume`.

    Raises:
        UnreadableInput: If a header is damaged or states no volume.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
        InvalidRequest: If the folder holds several volumes.
    """
    if not isinstance(path, str | os.PathLike) and path.parts:
        from unetr_app.io.channels import read_grid

        _files_of(path)
        return read_grid(path.parts, path.channels, resample=path.resample)
    from unetr_app.io.image import read_header

    return read_header(_files_of(path), frames=_frames_of(path))


def read_label_map(path: PathLike, labels: LabelSet | None = None) -> Segmentation:
    """Read a label map: integers from 0 to 65535, which may be stored as floats.

    Args:
        path: A NIfTI, NRRD, MHA or MHD file.
        labels: What the values mean; where None, each value that is there is named ``label_<v>``,
            or as the fields of 3D Slicer say.

    Raises:
        UnreadableInput: If the file is damaged, or holds fractions or negative numbers.
        UnsafeGeometry: If the place of the voxels is unknown or contradictory.
        InvalidRequest: If a value is there that ``labels`` does not name.
    """
    if require_format(path) is Format.DICOM:
        raise UnreadableInput(
            "DICOM is not read as a label map",
            cure="Convert the SEG or RTSTRUCT first: unetr convert FILE -o labels.nii.gz.",
            path=path,
        )  # fmt: skip
    return _read(path, sparse=True).to_segmentation(labels)


def read_windows(path: PathLike | Readable) -> tuple[StatedWindow, ...]:
    """The intensity windows that a DICOM image states, in the values of its volume.

    Args:
        path: As for `read_volume`; of a case of several images the first one's are taken.

    Returns:
        None for files of other formats, for PET, and where none is stated.

    Raises:
        UnetrError: If the case is one that cannot be read, or a folder holds no DICOM files.
    """
    if not isinstance(path, str | os.PathLike) and path.parts:
        files: tuple[PathLike, ...] = path.parts[0]
        frames = tuple(frame for frame in path.frames if frame[0] in path.parts[0])
    else:
        files, frames = _files_of(path, regularise=True), _frames_of(path)
    from unetr_app.io.formats import detect

    if not files or detect(files[0]) is not Format.DICOM:
        return ()
    from unetr_app.io.dicom.window import read_windows as read_stated

    return read_stated(files, frames=frames)


def write_segmentation(segmentation: Segmentation, path: PathLike) -> Path:
    """Write a label map on exactly its grid, read it back, and only then put it in place.

    Args:
        segmentation: Exclusive labels.
        path: The final name; its ending chooses the format: ``.nii.gz``, ``.nii``, ``.nrrd`` (with
            names and colours as 3D Slicer reads them from ``.seg.nrrd``) or ``.mha``.

    Returns:
        The final name.

    Raises:
        InvalidRequest: If the ending is none of these, or labels overlap.
        UnwritableOutput: If the file could not be written whole.
    """
    name = Path(path).name.lower()
    if not name.endswith(OUTPUT_ENDINGS):
        raise InvalidRequest(
            "the ending of the name says no format that is written",
            cure=f"Use {', '.join(OUTPUT_ENDINGS)}.", path=path,
        )  # fmt: skip
    data, geometry = segmentation.label_map, segmentation.geometry
    with replacing(path) as part:
        if name.endswith((".nii.gz", ".nii")):
            from unetr_app.io import nifti

            nifti.write(data, geometry, part)
        else:
            from unetr_app.io import itk

            itk.write(data, geometry, part, segmentation.labels)
        _require_equal(part, segmentation, path)
    return Path(path)


def _require_equal(part: Path, segmentation: Segmentation, path: PathLike) -> None:
    """Read the file to its end and compare with what was meant."""
    try:
        found = _read(part, sparse=True)
    except (UnreadableInput, UnsafeGeometry) as error:
        raise _not_as_meant(path) from error
    furthest = np.abs(segmentation.geometry.affine[:3]) @ (*segmentation.geometry.shape, 1)
    rounding = 8 * np.finfo(np.float32).eps * float(furthest.max())  # NIfTI holds 32-bit floats
    tolerance_mm = max(_WRITTEN_AS_MEANT_MM, float(rounding))
    same = found.geometry.is_close(segmentation.geometry, tolerance_mm)
    data = in_c_order(found.data, found.data.dtype)  # compared three times faster than as it lies
    if not same or not np.array_equal(data, segmentation.label_map):
        raise _not_as_meant(path)


def _not_as_meant(path: PathLike) -> UnwritableOutput:
    return UnwritableOutput(
        "what was read back from the disk is not what was written",
        cure="Check that there is space, and that the disk is sound; then run again.", path=path,
    )  # fmt: skip


def _read(
    path: PathLike | Readable, *, channel: int | None = None, sparse: bool = False,
    regularise: bool = False,
) -> Raster:  # fmt: skip
    from unetr_app.io.image import read_image

    return read_image(
        _files_of(path, regularise=regularise), channel=channel, sparse=sparse,
        frames=_frames_of(path), regularise=regularise,
    )  # fmt: skip


def _frames_of(path: PathLike | Readable) -> tuple[tuple[str, int], ...]:
    return () if isinstance(path, str | os.PathLike) else path.frames


def _files_of(path: PathLike | Readable, *, regularise: bool = False) -> tuple[PathLike, ...]:
    """The files to read: one image, or the slices of a series."""
    if not isinstance(path, str | os.PathLike):
        curable = regularise and isinstance(path.problem, UnevenSlices)
        if path.problem is not None and not curable:
            raise path.problem
        return path.paths
    if not Path(path).is_dir():
        return (path,)
    files = tuple(_dicom_files(path))
    if not files:
        raise UnreadableInput(
            "the folder holds no DICOM files itself", cure="Name the file or folder to read.",
            path=path,
        )  # fmt: skip
    return files


def _dicom_files(folder: PathLike) -> Iterable[Path]:
    from unetr_app.io.formats import detect
    from unetr_app.io.integrity import unreadable

    try:
        files = sorted(Path(folder).iterdir())
    except OSError as error:
        raise unreadable(error, folder) from error
    for file in files:
        hidden = file.name.startswith(".") or file.name.upper() == "DICOMDIR"
        if not hidden and file.is_file() and detect(file) is Format.DICOM:
            yield file
