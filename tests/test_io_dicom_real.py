"""Real series: every folder reads as its reference has it, or is refused for the right reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from nibabel.orientations import io_orientation, ornt_transform

from unetr_app.cases import find_cases
from unetr_app.errors import UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.io import read_volume
from unetr_app.io.dicom.regularise import to_source_frames
from unetr_app.io.dicom.series import source_slices
from unetr_app.io.formats import opening

REFERENCED = [
    "failing/slicecount/001", "ge/anatomical/001", "ge/anatomical/001_implicit",
    "generic/compressed/001", "generic/compressed_j2k/001", "generic/compressed_jpeg/001",
    "generic/compressed_jpegls/001", "generic/compressed_rle/001", "siemens/anatomical/001",
    "siemens/anatomical/001_implicit", "siemens_multiframe/anatomical/001",
]  # fmt: skip

# The same volume in one file, and with a file for each slice.
ENHANCED = {
    "dcmqi_segmentations/23x38x3/multiframe": "dcmqi_segmentations/23x38x3/image",
    "dcmqi_segmentations/24x38x3/multiframe": "dcmqi_segmentations/24x38x3/image",
}

PLACED = [
    *(f"dicom2nifti/{name}" for name in REFERENCED),
    *ENHANCED,
    *ENHANCED.values(),
    "brain_mr_oblique",
    "hippocampus_crop",
    "ct_tilt/S3010",
    "dicom2nifti/failing/gantrytilting/001",
    "dcmqi_segmentations/ct-3slice",
]

# Two series under one UID; segmentations, which are no scans.
SEVERAL = ["dicom2nifti/failing/sliceorientation/001"]
NO_SCANS = [
    "dcmqi_segmentations",
    "dcmqi_segmentations/23x38x3/seg",
    "dcmqi_segmentations/24x38x3/seg",
]

REFUSED: dict[str, tuple[type[UnetrError], str, str]] = {
    "dicom2nifti/failing/sliceincrement/001": (
        UnsafeGeometry, "1 slice is missing: .*0009-0001.dcm to .*0010-0001.dcm is 10 mm", "gaps"),
    "dicom2nifti/failing/sliceincrement/002": (
        UnsafeGeometry, "1 slice is missing: .*0003.dcm to .*0005.dcm", "gaps"),
    "dicom2nifti/failing/notavolume/001": (UnsafeGeometry, "same place", "duplicates"),
    "dicom2nifti/ge/anatomical/001_single_slice": (UnsafeGeometry, "single slice", "single"),
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


def _groups(header: pydicom.Dataset, frame: int) -> dict[str, Any]:
    """Every element that holds for a frame by keyword, without the reader's help."""
    found = {e.keyword: e.value for e in header if e.VR != "SQ" and e.tag.group != 0x7FE0}
    for name, n in (("Shared", 0), ("PerFrame", frame)):
        for item in header.get(f"{name}FunctionalGroupsSequence", [])[n : n + 1]:
            found |= {e.keyword: e.value for group in item if group.VR == "SQ" for e in group[0]}
    return found


@pytest.mark.parametrize("name", PLACED)
def test_every_pixel_is_where_its_own_header_puts_it(shared: Path, name: str) -> None:
    """Each file by itself, after PS3.3 C.7.6.2.1.1, against the grid of the whole."""
    folder = shared / "data" / "dicom" / name
    (found,) = find_cases(folder)
    volume = read_volume(found)
    assert volume.geometry == found.geometry
    for k, slice_ in enumerate(source_slices(found.paths, frames=found.frames)):
        header = pydicom.dcmread(slice_.path)
        groups = _groups(header, slice_.frame)
        row, column = np.array(groups["ImageOrientationPatient"], float).reshape(2, 3)
        down, along = (float(v) for v in groups["PixelSpacing"])
        origin = np.array(groups["ImagePositionPatient"], float)
        pixels = header.pixel_array.reshape(-1, header.Rows, header.Columns)[slice_.frame]
        for i, j in ((0, 0), (header.Columns - 1, 0), (3, header.Rows - 1)):
            lps = origin + row * along * i + column * down * j
            found_at = volume.geometry.index_to_world((i, j, k))
            assert np.abs(found_at - lps * (-1, -1, 1)).max() < 2e-3  # rounding of the positions
            if i == j == 0:
                value = float(pixels[j, i]) * float(groups.get("RescaleSlope", 1))
                value += float(groups.get("RescaleIntercept", 0))
                padding = header.get("PixelPaddingValue")
                if padding is None or pixels[j, i] != padding:
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


@pytest.mark.parametrize("name", ENHANCED)
def test_one_file_holds_what_the_slices_hold(shared: Path, name: str) -> None:
    folder = shared / "data" / "dicom"
    (found,) = find_cases(folder / name)
    assert (found.form, len(found.paths)) == ("enhanced", 1)
    volume, slices = read_volume(found), read_volume(folder / ENHANCED[name])
    assert volume.geometry.is_close(slices.geometry, 1e-4)
    assert np.array_equal(volume.data, slices.data)


@pytest.mark.parametrize("name", [n for n in REFUSED if REFUSED[n][2] == "gaps"])
def test_gaps_are_filled_on_request(shared: Path, name: str) -> None:
    folder = shared / "data" / "dicom" / name
    volume = read_volume(folder, regularise=True)
    slices = source_slices([p for p in folder.iterdir() if p.is_file()])
    kept = to_source_frames(volume.data, volume.geometry, slices)[0]
    for k, slice_ in enumerate(slices):
        header = pydicom.dcmread(slice_.path)
        values = header.pixel_array * float(header.get("RescaleSlope", 1))
        values += float(header.get("RescaleIntercept", 0))
        padded = header.pixel_array == header.get("PixelPaddingValue", 70000)
        assert np.array_equal(kept[..., k].T[~padded], values[~padded].astype(np.float32))
    assert any("regularised" in w for w in volume.warnings)


def test_no_folder_is_forgotten(shared: Path) -> None:
    """Each folder of DICOM files has its row in one of the tables above."""
    root = shared / "data" / "dicom"
    files = [p for p in root.rglob("*") if p.is_file() and opening(p, 132)[128:] == b"DICM"]
    found = {str(p.parent.relative_to(root)) for p in files}
    assert found == {*PLACED, *REFUSED, *SEVERAL, *NO_SCANS}


@pytest.mark.parametrize("name", NO_SCANS)
def test_segmentations_are_no_cases(shared: Path, name: str) -> None:
    for path in (shared / "data" / "dicom" / name).iterdir():
        if path.suffix == ".dcm":
            with pytest.raises(UnreadableInput, match="no slices of a volume"):
                read_volume(path)


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
