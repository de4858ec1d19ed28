from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.multival import MultiValue
from pydicom.pixels import apply_voi_lut

from data.phantom import oblique_geometry, phantom
from data.phantom_files import write_dicom_series, write_nifti
from tests.enhanced_files import frames_of_volume, save_enhanced
from unetr_app.cases import find_cases
from unetr_app.errors import UnreadableInput
from unetr_app.io import read_volume, read_windows
from unetr_app.io.dicom.window import StatedWindow
from unetr_app.io.dicom.window import read_windows as stated_windows
from unetr_app.review.intensity_windows import window_limits

GRID = oblique_geometry((12, 10, 8))


@pytest.fixture(scope="module")
def mr():
    return phantom(GRID)[0]


def series(folder, volume, **tags):
    return write_dicom_series(volume, folder, tags=tags)


def edit(path, **tags):
    dataset = pydicom.dcmread(path)
    for keyword, value in tags.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def test_windows_are_read_in_order_with_their_names_each_once(tmp_path, mr):
    paths = series(
        tmp_path, mr, WindowCenter=["40", "-600", "40"], WindowWidth=["400", "1500", "400"],
        WindowCenterWidthExplanation=["SOFT", "LUNG", "SOFT"],
    )  # fmt: skip
    found = stated_windows(paths)
    assert found == (
        StatedWindow(40, 400, "LINEAR", "SOFT"), StatedWindow(-600, 1500, "LINEAR", "LUNG")
    )  # fmt: skip
    (case,) = find_cases(tmp_path)
    assert read_windows(case) == read_windows(tmp_path) == found


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_the_function_is_kept(tmp_path, mr, function):
    paths = series(
        tmp_path, mr, WindowCenter="40", WindowWidth="0.5" if function != "LINEAR" else "2",
        VOILUTFunction=function,
    )  # fmt: skip
    (window,) = stated_windows(paths)
    assert window.function == function


def test_slices_that_differ_give_their_median(tmp_path, mr):
    paths = series(tmp_path, mr, WindowCenter="40", WindowWidth="400")
    middles = [10, 20, 30, 40, 50, 60, 70, 9000]
    for path, level in zip(paths, middles, strict=True):
        edit(path, WindowCenter=str(level), WindowWidth=str(2 * level))
    assert stated_windows(paths) == (StatedWindow(45, 90),)


def test_slices_without_a_window_leave_it_to_the_others(tmp_path, mr):
    paths = series(tmp_path, mr, WindowCenter="40", WindowWidth="400")
    edit(paths[0], WindowCenter=None, WindowWidth=None)
    edit(paths[1], WindowCenter=["40", "3"], WindowWidth=["400", "4"])
    assert stated_windows(paths) == (StatedWindow(40, 400),)


@pytest.mark.parametrize(
    "tags",
    [
        {}, {"WindowCenter": "40"}, {"WindowCenter": "40", "WindowWidth": "0"},
        {"WindowCenter": "40", "WindowWidth": "-5"}, {"WindowCenter": "", "WindowWidth": ""},
        {"WindowCenter": "40", "WindowWidth": "0.5"},  # LINEAR needs 1
        {"WindowCenter": "40", "WindowWidth": "400", "VOILUTFunction": "CUBIC"},
        {"WindowCenter": "40", "WindowWidth": "400", "Modality": "PT"},
    ],
)  # fmt: skip
def test_what_is_no_window_is_passed_over(tmp_path, mr, tags):
    assert stated_windows(series(tmp_path, mr, **tags)) == ()


def test_damaged_values_and_files_are_passed_over(tmp_path, mr):
    paths = series(tmp_path, mr, WindowCenter="40", WindowWidth="400")
    for path, bad in zip(paths[:3], (b"4.O", b"nan", b"inf"), strict=True):
        data = path.read_bytes()
        at = data.index(b"\x28\x00\x51\x10DS") + 8
        path.write_bytes(data[:at] + bad.ljust(4)[:4] + data[at + 4 :])
    paths[3].write_bytes(b"no DICOM")
    paths[4].write_bytes(paths[4].read_bytes()[:300])
    assert stated_windows(paths) == (StatedWindow(40, 400),)
    assert stated_windows([tmp_path / "gone.dcm"]) == ()


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT"])
def test_an_inverted_image_looks_the_same_with_its_window(tmp_path, mr, signed, function):
    """By pydicom's own window on the stored pixels, white where MONOCHROME1 has low values."""
    paths = series(tmp_path, mr, WindowCenter="300", WindowWidth="400", VOILUTFunction=function)
    for path in paths:
        edit(
            path, PhotometricInterpretation="MONOCHROME1", PixelRepresentation=signed,
            BitsStored=12, HighBit=11, RescaleSlope="2", RescaleIntercept="-100",
        )  # fmt: skip
    (window,) = read_windows(tmp_path)
    low, high = window_limits(window.level, window.width, window.function)
    values = read_volume(tmp_path).data[0]
    ours = np.clip((values - low) / (high - low), 0, 1)
    assert ours.std() > 0.1
    for path in paths:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.astype(float) * 2 - 100
        theirs = apply_voi_lut(stored, dataset)
        theirs = (theirs - _least(dataset, 0)) / (_least(dataset, 1) - _least(dataset, 0))
        plane = _plane_of(dataset, ours)
        np.testing.assert_allclose(plane, 1 - theirs.T, atol=2e-3)


def _least(dataset, end):
    """The ends of the range that pydicom maps a window to: all that rescaled pixels can be."""
    bits, signed = dataset.BitsStored, dataset.PixelRepresentation
    low = -(2 ** (bits - 1)) if signed else 0
    high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1
    return (high if end else low) * 2 - 100


def _plane_of(dataset, volume):
    position = np.array(dataset.ImagePositionPatient, float) * (-1, -1, 1)
    return volume[..., round(float(GRID.world_to_index(position)[2]))]


def test_frames_of_one_file_state_theirs_in_groups(tmp_path):
    stored = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    grid = oblique_geometry(stored.shape)
    frames = frames_of_volume(stored, grid)
    for n, frame in enumerate(frames):
        frame.groups = {
            "FrameVOILUTSequence": {
                "WindowCenter": str(10 * n), "WindowWidth": "60", "VOILUTFunction": "LINEAR_EXACT",
                "WindowCenterWidthExplanation": "FRAME",
            }
        }  # fmt: skip
    path = save_enhanced(tmp_path / "enhanced.dcm", frames, grid)
    assert stated_windows([path]) == (StatedWindow(25, 60, "LINEAR_EXACT", "FRAME"),)
    some = [(str(path), 1), (str(path), 2), (str(path), 5)]
    assert stated_windows([path], frames=some)[0].level == 20


def test_files_of_other_formats_state_none(tmp_path, mr):
    path = tmp_path / "image.nii.gz"
    write_nifti(mr.data[0], mr.geometry, path)
    assert read_windows(path) == ()
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableInput, match="no DICOM files"):
        read_windows(tmp_path / "empty")


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("ct_tilt/S3010", (StatedWindow(40, 80),)),  # stated twice
        ("hippocampus_crop", (StatedWindow(470, 950),)),
        ("dcmqi_segmentations/ct-3slice", (StatedWindow(40, 400),)),
        ("dcmqi_segmentations/24x38x3/multiframe", (StatedWindow(1, 2),)),  # once for all frames
        ("dicom2nifti/ge/anatomical/001", ()),
    ],
)
def test_real_series_state_what_their_headers_say(shared, folder, expected):
    (case,) = find_cases(shared / "data" / "dicom" / folder)
    assert read_windows(case) == expected


@pytest.mark.parametrize(
    "folder", ["brain_mr_oblique", "dicom2nifti/siemens_multiframe/anatomical/001"]
)
def test_real_mr_whose_slices_differ_has_the_median(shared, folder):
    folder = shared / "data" / "dicom" / folder
    found = []
    for path in folder.iterdir():
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        groups = dataset.get("PerFrameFunctionalGroupsSequence")
        found += [g.FrameVOILUTSequence[0] for g in groups] if groups else [dataset]
    assert not any(isinstance(d.WindowCenter, MultiValue) for d in found)
    (case,) = find_cases(folder)
    (window,) = read_windows(case)
    assert window.level == np.median([float(d.WindowCenter) for d in found])
    assert window.width == np.median([float(d.WindowWidth) for d in found])
    assert len({float(d.WindowCenter) for d in found}) > 1
