"""Files and volumes that are channels of one case come together, in the bundle's order."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io_files import OBLIQUE, integers, save_itk, save_nifti, save_series
from unetr_app.cases import Case, find_cases, survey
from unetr_app.errors import UnreadableInput
from unetr_app.io import read_volume

FOUR = ("T1c", "T1", "T2", "FLAIR")
TWO = FOUR[:2]


def save_case(folder: Path, name: str, numbers: range | list[int] = range(4)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        save_nifti(folder / f"{name}_{n:04d}.nii.gz", integers(OBLIQUE.shape, n)) for n in numbers
    ]


def ids(cases: list[Case]) -> list[str]:
    return [case.id for case in cases]


def text_of(case: Case) -> str:
    assert isinstance(case.problem, UnreadableInput)
    return str(case.problem)


# --- endings ---------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 5), seed=st.integers(0, 999))
def test_channels_are_in_the_bundles_order_whatever_that_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, count: int, seed: int
) -> None:
    files = save_case(tmp_path_factory.mktemp("in"), "liver", range(count))
    names = tuple(f"channel {n}" for n in range(count))
    mixed = random.Random(seed).sample(files, count)
    (found,) = find_cases(mixed, channels=names)
    assert (found.id, found.problem, found.channels) == ("liver", None, names)
    assert found.parts == tuple((str(file),) for file in files)
    assert found.paths == tuple(map(str, files))
    assert found.input == str(files[0])
    expected = np.stack([read_volume(file).data[0] for file in files])
    volume = read_volume(found)
    assert np.array_equal(volume.data, expected)
    assert volume.channel_names == names


def test_each_name_of_each_folder_is_a_case(tmp_path: Path) -> None:
    save_case(tmp_path, "liver_1")
    save_case(tmp_path, "liver_2")
    save_case(tmp_path / "more", "liver_2")
    found = find_cases(tmp_path, channels=FOUR)
    assert [case.id.rsplit("-")[0] for case in found] == ["liver_1", "liver_2", "liver_2"]
    assert len(set(ids(found))) == 3
    assert not any(case.problem for case in found)
    again = find_cases([tmp_path / "more", tmp_path], channels=FOUR)
    assert [repr(case) for case in again] == [repr(case) for case in found]


def test_formats_may_differ_from_channel_to_channel(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a_0000.nii")
    save_itk(tmp_path / "a_0001.nrrd", integers(OBLIQUE.shape, 1), OBLIQUE)
    (found,) = find_cases(tmp_path, channels=TWO)
    assert found.form == "nifti + nrrd"
    assert read_volume(found).data.shape == (2, *OBLIQUE.shape)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([0, 2], "of a: _0001 (T1), _0003 (FLAIR) are missing; "),
        ([1, 2, 3], "of a: _0000 (T1c) is missing; "),
        ([0, 1, 2, 3, 4], "of a: _0004 is too many; "),
        ([1, 2, 3, 4], "of a: _0000 (T1c) is missing; _0004 is too many; "),
    ],
)
def test_channels_that_are_missing_or_too_many_are_named(
    tmp_path: Path, numbers: list[int], words: str
) -> None:
    files = save_case(tmp_path, "a", numbers)
    save_case(tmp_path, "whole")
    found, whole = find_cases(tmp_path, channels=FOUR)
    assert text_of(found).startswith(words)
    assert "the bundle takes 4 channels (T1c, T1, T2, FLAIR)" in text_of(found)
    assert found.paths == tuple(map(str, files))
    assert found.input == str(tmp_path / "a_0000.nii.gz")
    assert whole.problem is None
    with pytest.raises(UnreadableInput):
        read_volume(found)


def test_a_channel_that_is_there_twice_is_named(tmp_path: Path) -> None:
    save_case(tmp_path, "a", [0, 1])
    save_nifti(tmp_path / "a_0001.nii")
    (found,) = find_cases(tmp_path, channels=TWO)
    assert text_of(found).startswith("of a: _0001 (T1) is there twice; ")


def test_one_broken_channel_breaks_its_case_alone(tmp_path: Path) -> None:
    save_case(tmp_path, "a", [0, 1])
    save_case(tmp_path, "b", [0, 1])
    (tmp_path / "a_0001.nii.gz").write_bytes(b"")
    bad, good = find_cases(tmp_path, channels=TWO)
    assert text_of(bad).startswith("a_0001.nii.gz: the file is empty")
    assert good.problem is None


def test_a_number_that_is_no_channels_stays_in_the_name(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan_2019.nii")
    save_nifti(tmp_path / "scan_2020.nii", integers((3, 4, 5, 4)))
    found = find_cases(tmp_path, channels=FOUR)
    assert ids(found) == ["scan_2019", "scan_2020"]
    assert "one image, where the bundle takes 4 channels" in text_of(found[0])
    assert found[1].problem is None


# --- one image where several are needed ------------------------------------------------------


def test_a_file_with_a_volume_for_each_channel_is_a_case(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "BRATS_0001.nii.gz", integers((3, 4, 5, 4)))
    (found,) = find_cases(tmp_path, channels=FOUR)
    assert (found.id, found.problem, found.form) == ("BRATS_0001", None, "4 x nifti")
    assert found.paths == (str(path),)
    assert found.parts == ((str(path),),) * 4
    expected = np.stack([read_volume(path, channel=n).data[0] for n in range(4)])
    assert np.array_equal(read_volume(found).data, expected)


def test_what_holds_another_number_of_volumes_says_so(tmp_path: Path) -> None:
    save_nifti(tmp_path / "one.nii")
    save_nifti(tmp_path / "three.nii", integers((3, 4, 5, 3)))
    save_nifti(tmp_path / "five.nii", integers((3, 4, 5, 1, 4)))
    save_itk(tmp_path / "other.nrrd", integers(OBLIQUE.shape), OBLIQUE)
    save_series(tmp_path / "dicom")
    found = {case.id: text_of(case) for case in find_cases(tmp_path, channels=FOUR)}
    takes = "where the bundle takes 4 channels (T1c, T1, T2, FLAIR)"
    assert len(found) == 5
    assert f"3 volumes in the file, {takes}" in found.pop("three")
    for words in found.values():
        assert f"one image, {takes}" in words


def test_a_header_that_is_damaged_is_the_cases_problem(tmp_path: Path) -> None:
    def nine_axes(header: Any) -> None:
        header["dim"][0] = 9

    save_nifti(tmp_path / "a.nii", edit=nine_axes)
    (found,) = find_cases(tmp_path, channels=TWO)
    assert "states 9 axes" in text_of(found)


# --- bundles of one channel ------------------------------------------------------------------


@pytest.mark.parametrize("channels", [(), ("CT",)])
def test_a_bundle_of_one_channel_sees_what_it_always_saw(
    tmp_path: Path, channels: tuple[str, ...]
) -> None:
    save_case(tmp_path, "a", [0, 1])
    save_nifti(tmp_path / "b.nii", integers((3, 4, 5, 4)))
    save_itk(tmp_path / "c.mha", integers(OBLIQUE.shape), OBLIQUE)
    series = save_series(tmp_path / "dicom")
    shutil.copy(series[0], tmp_path / "dicom" / "IM_0001.dcm")
    (tmp_path / "broken_0000.nrrd").write_bytes(b"rubbish")
    (tmp_path / "cases.csv").write_text("image\nb.nii\n")
    found = survey(tmp_path, channels=channels)
    assert {"a_0000", "a_0001", "b", "broken_0000", "c"} < set(ids(list(found.cases)))
    assert found.passed_over == 1
    for case in found.cases:
        assert (case.parts, case.channels) == ((), ())
    by_id = {case.id: case for case in found.cases}
    for name in ("a_0000", "b", "c"):
        assert by_id[name].paths == (by_id[name].input,)
    with pytest.raises(UnreadableInput, match="4 volumes in one file"):
        read_volume(by_id["b"])
    assert [repr(c) for c in found.cases] == [repr(c) for c in survey([tmp_path]).cases]
