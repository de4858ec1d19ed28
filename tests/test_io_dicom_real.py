"""Real series: every folder reads as its reference has it, or is refused for the right reason."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.orientations import io_orientation, ornt_transform

from unetr_app.cases import find_cases
from unetr_app.errors import UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.io import read_volume

REFERENCED = [
    "failing/slicecount/001", "ge/anatomical/001", "ge/anatomical/001_implicit",
    "generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_rle/001",
    "siemens/anatomical/001", "siemens/anatomical/001_implicit",
]  # fmt: skip

PLACED = [*(f"dicom2nifti/{name}" for name in REFERENCED), "brain_mr_oblique", "hippocampus_crop",
          "ct_tilt/S3010", "dicom2nifti/failing/gantrytilting/001",
          "dcmqi_segmentations/ct-3slice", "dcmqi_segmentations/23x38x3/image",
          "dcmqi_segmentations/24x38x3/image"]  # fmt: skip

REFUSED: dict[str, tuple[type[UnetrError], str, str]] = {
    "dicom2nifti/failing/sliceincrement/001": (
        UnsafeGeometry, "1 slice is missing: .*0009-0001.dcm to .*0010-0001.dcm is 10 mm", "gaps"),
    "dicom2nifti/failing/sliceincrement/002": (
        UnsafeGeometry, "1 slice is missing: .*0003.dcm to .*0005.dcm", "gaps"),
    "dicom2nifti/failing/notavolume/001": (UnsafeGeometry, "same place", "duplicates"),
    "dicom2nifti/ge/anatomical/001_single_slice": (UnsafeGeometry, "single slice", "single"),
    "dicom2nifti/generic/compressed_jpeg/001": (UnreadableInput, "JPEG Lossless", "regular"),
    "dicom2nifti/generic/compressed_jpegls/001": (UnreadableInput, "JPEG-LS", "regular"),
    "dicom2nifti/siemens_multiframe/anatomical/001": (UnreadableInput, "frames", "enhanced"),
    "dcmqi_segmentations/23x38x3/multiframe": (UnreadableInput, "frames", "enhanced"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFERENCED)
def test_value_for_value_and_place_for_place_as_the_reference(shared: Path, name: str) -> None:
    folder = shared / "data" / "dicom" / "dicom2nifti" / name
    volume = read_volume(folder)
    reference = nibabel.load(folder.with_name(f"{folder.name}_ground_truth.nii.gz"))
    ours = nibabel.Nifti1Image(volume.data[0], volume.geometry.affine)
    turn = ornt_transform(io_orientation(ours.affine), io_orientation(reference.affine))
    ours = ours.as_reoriented(turn)
    assert np.abs(ours.affine - reference.affine).max() < 1e-4
    assert np.array_equal(ours.get_fdata(), reference.get_fdata())


@pytest.mark.parametrize("name", PLACED)
def test_every_pixel_is_where_its_own_header_puts_it(shared: Path, name: str) -> None:
    """Each file by itself, after PS3.3 C.7.6.2.1.1, against the grid of the whole."""
    folder = shared / "data" / "dicom" / name
    (found,) = find_cases(folder)
    volume = read_volume(found)
    assert volume.geometry == found.geometry
    for k, path in enumerate(found.paths):
        header = pydicom.dcmread(path)
        row, column = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
        down, along = (float(v) for v in header.PixelSpacing)
        for i, j in ((0, 0), (header.Columns - 1, 0), (3, header.Rows - 1)):
            lps = np.array(header.ImagePositionPatient, float) + row * along * i + column * down * j
            found_at = volume.geometry.index_to_world((i, j, k))
            assert np.abs(found_at - lps * (-1, -1, 1)).max() < 2e-3  # rounding of the positions
            if i == j == 0:
                value = float(header.pixel_array[j, i])
                value = value * float(header.get("RescaleSlope", 1))
                value += float(header.get("RescaleIntercept", 0))
                padding = header.get("PixelPaddingValue")
                if padding is None or header.pixel_array[j, i] != padding:
                    assert volume.data[0, i, j, k] == value


@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_the_right_reason(shared: Path, name: str) -> None:
    kind, words, form = REFUSED[name]
    folder = shared / "data" / "dicom" / name
    with pytest.raises(kind, match=words):
        read_volume(folder)
    (found,) = find_cases(folder)
    assert found.form == form
    assert found.problem is not None


def test_two_series_under_one_uid_are_two_volumes(shared: Path) -> None:
    folder = shared / "data" / "dicom" / "dicom2nifti" / "failing" / "sliceorientation" / "001"
    found = find_cases(folder)
    assert [case.id[:6] for case in found] == ["MR-202", "MR-501"]
    assert np.allclose([read_volume(case).geometry.spacing for case in found],
                       [(0.32, 0.32, 3.3), (0.5556, 0.5556, 4.4)], atol=1e-3)  # fmt: skip


def test_a_crop_for_the_hippocampus_and_an_oblique_brain_read(shared: Path) -> None:
    crop = read_volume(shared / "data" / "dicom" / "hippocampus_crop")
    assert crop.geometry.shape == (35, 51, 32)
    assert crop.geometry.spacing == (1, 1, 1)
    brain = read_volume(shared / "data" / "dicom" / "brain_mr_oblique")
    assert brain.geometry.is_oblique
    assert np.allclose(brain.geometry.spacing, (0.4297, 0.4297, 6.5), atol=1e-4)


def test_the_whole_tree_is_surveyed_with_unique_ids(shared: Path) -> None:
    found = find_cases(shared / "data" / "dicom")
    assert len({case.id.casefold() for case in found}) == len(found)
    readable = [case for case in found if case.kind == "dicom-series" and case.problem is None]
    assert len(readable) >= 15
