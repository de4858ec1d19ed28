"""Image files for the tests of reading: written by the libraries themselves, damaged by hand."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from data.phantom import write_dicom_series
from unetr_app.geometry import Geometry
from unetr_app.volume import Volume

OBLIQUE = Geometry.from_parts(
    (5, 6, 7), (0.8, 1.3, 2.9),
    Rotation.from_euler("xyz", (9.0, -11.0, 18.0), degrees=True).as_matrix(), (-31.0, 12.5, 47.25),
)  # fmt: skip


def integers(shape: Sequence[int], seed: int = 0, high: int = 900) -> NDArray[np.int16]:
    """Noise whose every voxel tells where it was: the first is 0, the last the highest."""
    values = np.random.default_rng(seed).integers(1, high, tuple(shape)).astype(np.int16)
    values.flat[0], values.flat[-1] = 0, high
    return values


def save_nifti(
    path: Path,
    data: NDArray[Any] | None = None,
    *,
    affine: NDArray[Any] | None = None,
    edit: Callable[[Any], object] = lambda header: None,
    version: int = 1,
    order: str = "<",
) -> Path:
    """Write a NIfTI file byte by byte, its header changed by ``edit`` without being corrected."""
    data = integers(OBLIQUE.shape) if data is None else data
    affine = OBLIQUE.affine if affine is None else affine
    kind = nibabel.Nifti1Header if version == 1 else nibabel.Nifti2Header
    header = kind(endianness=order)
    header.set_data_dtype(data.dtype)
    header.set_data_shape(data.shape)
    header["magic"] = header.single_magic
    header["vox_offset"] = header.single_vox_offset
    header.set_sform(affine, 1)
    header.set_qform(affine, 1)
    header.set_xyzt_units("mm")
    edit(header)
    start = header.binaryblock.ljust(header.single_vox_offset, b"\0")
    content = start + data.astype(data.dtype.newbyteorder(order)).tobytes(order="F")
    path.write_bytes(gzip.compress(content, 6, mtime=0) if path.name.endswith(".gz") else content)
    return path


def save_itk(path: Path, data: NDArray[Any], geometry: Geometry, *, packed: bool = True) -> Path:
    """Write with SimpleITK, as users do."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.transpose()))
    affine = geometry.affine_lps
    spacing = np.asarray(geometry.spacing)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    sitk.WriteImage(image, str(path), packed)
    return path


_SERIES: dict[tuple[Any, ...], dict[str, bytes]] = {}  # written once, copied for each test


def save_series(folder: Path, geometry: Geometry = OBLIQUE, **options: Any) -> list[Path]:
    """Write a CT series of noise from -100 to 800 HU (MR: from 0); paths in order of k."""
    key = (geometry, *sorted(options.items()))
    if key not in _SERIES:
        modality = options.pop("modality", "CT")
        data = integers(geometry.shape).astype(np.float32) - (100 if modality == "CT" else 0)
        volume = Volume(data[None], geometry, modality=modality)
        with TemporaryDirectory() as scratch:
            paths = write_dicom_series(volume, Path(scratch), **options)
            _SERIES[key] = {path.name: path.read_bytes() for path in paths}
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in _SERIES[key].items():
        (folder / name).write_bytes(file)
    return [folder / name for name in _SERIES[key]]


def series_values(geometry: Geometry = OBLIQUE) -> NDArray[np.float32]:
    """What `save_series` wrote, on the grid that reading gives: slices along the normal."""
    return integers(geometry.shape).astype(np.float32) - 100


def edit_dicom(path: Path, to: Path | None = None, **tags: Any) -> Path:
    """Change tags of a DICOM file; None removes one."""
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            if keyword in dataset:
                del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(to or path, enforce_file_format=True)
    return to or path


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
