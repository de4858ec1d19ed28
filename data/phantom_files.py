"""Files of phantoms: NIfTI and DICOM series written straight by the format's own library.

Deliberately apart from the package's own writers, so that tests of those have an outside source.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetr_app.geometry import Geometry
from unetr_app.volume import Volume

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"  # DICOM PS3.4 B.5
_MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
_WHEN = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)


def write_nifti(array: ArrayLike, geometry: Geometry, path: Path) -> Path:
    """Write (I, J, K) voxels with sform and qform codes 1, units mm; dtype is kept."""
    import nibabel as nib

    image = nib.Nifti1Image(np.asarray(array), geometry.affine)
    image.set_sform(geometry.affine, code=1)
    image.set_qform(geometry.affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def write_dicom_series(
    volume: Volume,
    folder: Path,
    *,
    seed: int = 0,
    shuffle: bool = False,
    suffix: str = ".dcm",
    tags: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write channel 0 as a DICOM series, one file a slice along k (regular, also when sheared).

    Args:
        volume: ``modality`` ``"CT"`` gives a CT series with intercept -1024, else MR. Intensities
            are rounded to whole numbers.
        folder: Made where absent.
        seed: Decides every UID and the shuffle: the same seed and folder content, the same series.
        shuffle: Name the files without regard to the order of slices.
        suffix: Ending of the file names; may be empty.
        tags: Keyword to value, set last on every file.

    Returns:
        The paths in order of k.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    count = volume.geometry.shape[2]
    numbers = np.random.default_rng(seed).permutation(count) if shuffle else np.arange(count)
    common = _series_tags(volume, seed)
    is_ct = volume.modality == "CT"
    paths: list[Path] = []
    for k in range(count):
        slice_ = Dataset()
        for keyword, value in common.items():
            setattr(slice_, keyword, value)
        slice_.SOPInstanceUID = generate_uid(entropy_srcs=[f"unetr-phantom {seed} slice {k}"])
        slice_.InstanceNumber = k + 1
        place = volume.geometry.affine_lps @ (0, 0, k, 1)
        slice_.ImagePositionPatient = [_decimal(v) for v in place[:3]]
        _set_pixels(slice_, volume.data[0, :, :, k], intercept=-1024 if is_ct else 0)
        for keyword, value in (tags or {}).items():
            setattr(slice_, keyword, value)
        slice_.file_meta = FileMetaDataset()
        slice_.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        paths.append(folder / f"IM{int(numbers[k]):04d}{suffix}")
        slice_.save_as(paths[-1], enforce_file_format=True)
    return paths


def _decimal(value: float) -> str:
    """A decimal string of at most sixteen characters (DICOM PS3.5 6.2, VR DS)."""
    return np.format_float_positional(value, precision=9, trim="-", fractional=True)[:16]


def _series_tags(volume: Volume, seed: int) -> dict[str, Any]:
    from pydicom.uid import generate_uid

    def uid(of: str) -> str:
        return generate_uid(entropy_srcs=[f"unetr-phantom {seed} {of}"])

    modality = "CT" if volume.modality == "CT" else "MR"
    direction_lps = np.diag([-1.0, -1.0, 1.0]) @ volume.geometry.direction
    spacing = volume.geometry.spacing
    normal = np.cross(direction_lps[:, 0], direction_lps[:, 1])
    apart = abs(float(normal @ direction_lps[:, 2])) * spacing[2]  # less than spacing if sheared
    tags: dict[str, Any] = {
        "SOPClassUID": _CT_IMAGE if modality == "CT" else _MR_IMAGE,
        "StudyInstanceUID": uid("study"),
        "SeriesInstanceUID": uid("series"),
        "FrameOfReferenceUID": uid("frame"),
        "Modality": modality,
        "PatientName": "Phantom^Made^Up",
        "PatientID": "PHANTOM",
        "PatientBirthDate": "19000101",
        "PatientSex": "O",
        "StudyDate": _WHEN.strftime("%Y%m%d"),
        "StudyTime": _WHEN.strftime("%H%M%S"),
        "AccessionNumber": "",
        "StudyID": "1",
        "SeriesNumber": 2,
        "AcquisitionNumber": 1,
        "Manufacturer": "phantom",
        "ReferringPhysicianName": "",
        "PatientPosition": "HFS",
        "PositionReferenceIndicator": "",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "ImageOrientationPatient": [_decimal(v) for v in direction_lps[:, :2].T.ravel()],
        "PixelSpacing": [_decimal(spacing[1]), _decimal(spacing[0])],  # between rows, columns
        "SliceThickness": _decimal(apart),
    }
    if modality == "CT":
        tags |= {"KVP": "120", "RescaleType": "HU"}
    else:
        tags |= {"ScanningSequence": "GR", "SequenceVariant": "SP", "ScanOptions": "",
                 "MRAcquisitionType": "3D", "EchoTime": "3", "EchoTrainLength": "1"}  # fmt: skip
    return tags


def _set_pixels(slice_: Any, plane: NDArray[np.float32], *, intercept: int) -> None:
    """Store an (I, J) plane: I runs along a row of pixels, J down the rows."""
    slice_.Rows, slice_.Columns = plane.shape[1], plane.shape[0]
    slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
    slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit = 16, 16, 15
    slice_.PixelRepresentation = 0
    if intercept:
        slice_.RescaleIntercept, slice_.RescaleSlope = str(intercept), "1"
    slice_.PixelData = np.rint(plane.T - intercept).astype("<u2").tobytes()
