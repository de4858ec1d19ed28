"""The index of series: any tree, told apart rightly or refused, and said in numbers and words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from tests.io_files import OBLIQUE, edit_dicom, save_series, series_values
from unetr_app.cases import Case, find_cases, survey
from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume

SMALL = Geometry((3, 4, 4), np.diag([1.0, 1.0, 2.0, 1.0]))
Files = list[Path]


@pytest.fixture
def series(tmp_path: Path) -> Files:
    return save_series(tmp_path / "series")


def again(paths: Files, to: Path, name: str, *, shift: int = 1, **tags: Any) -> Files:
    """Every slice once more at its place, with other pixels and tags; callables get the number."""
    to.mkdir(parents=True, exist_ok=True)
    made: Files = []
    for n, path in enumerate(paths):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = generate_uid()
        pixels = np.frombuffer(dataset.PixelData, np.uint8)
        dataset.PixelData = np.roll(pixels, 2 * shift).tobytes()
        for keyword, value in tags.items():
            setattr(dataset, keyword, value(n) if callable(value) else value)
        made.append(to / f"{name}_{path.name}")
        dataset.save_as(made[-1])
    return made


def forms(folder: Path) -> list[str]:
    return [case.form for case in find_cases(folder)]


# --- O1: names, endings, folders and order change nothing ------------------------------------


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_names_endings_and_folders_change_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    clean = tmp_path_factory.mktemp("clean")
    paths = save_series(clean, SMALL)
    (before,) = find_cases(clean)
    names = data.draw(
        st.lists(
            st.text("abcXYZ019 _-.\né", min_size=1, max_size=12).filter(
                lambda name: not name.startswith(".") and name.strip(". ")),
            min_size=len(paths), max_size=len(paths), unique_by=str.casefold,
        )
    )  # fmt: skip
    folders = data.draw(st.lists(st.sampled_from(["", "a", "a/b", "c"]), min_size=len(paths),
                                 max_size=len(paths)))  # fmt: skip
    root = tmp_path_factory.mktemp("moved")
    for path, folder, name in zip(paths, folders, names, strict=True):
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / folder / f"_{name}")
    (after,) = find_cases(root)
    assert (after.id, after.geometry, after.form) == (before.id, before.geometry, before.form)
    assert np.array_equal(read_volume(after).data, read_volume(before).data)


# --- O3 to O7 --------------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, -1])
def test_an_outermost_slice_missing_is_accepted_and_the_numbers_reported(
    series: Files, which: int
) -> None:
    series.pop(which).unlink()
    (found,) = find_cases(series[0].parent)
    assert found.problem is None
    assert found.report is not None
    assert found.report["instance_numbers"] == ([2, 7] if which == 0 else [1, 6])
    assert any("2 to 7" in w for w in found.warnings) == (which == 0)


def test_exact_copies_are_dropped_and_named(series: Files) -> None:
    shutil.copy(series[2], series[2].with_name("copy.dcm"))
    (found,) = find_cases(series[0].parent)
    assert found.report is not None
    assert found.report["copies"] in (
        [{"file": "copy.dcm", "of": "IM0002.dcm"}], [{"file": "IM0002.dcm", "of": "copy.dcm"}]
    )  # fmt: skip
    assert np.array_equal(read_volume(found).data[0], series_values())


def test_a_place_that_two_slices_claim_is_refused_with_both_files(series: Files) -> None:
    again(series[3:4], series[0].parent, "other")
    (found,) = find_cases(series[0].parent)
    assert found.form == "duplicates"
    assert {"IM0003.dcm", "other_IM0003.dcm"} == set(found.report["same_place"][0])  # type: ignore[index]
    assert "IM0003.dcm" in str(found.problem)
    assert "other_IM0003.dcm" in str(found.problem)


def test_two_series_in_a_folder_are_two_cases(tmp_path: Path) -> None:
    save_series(tmp_path, SMALL)
    for path in save_series(tmp_path / "b", SMALL, seed=4):
        path.rename(tmp_path / f"b{path.name}")
    found = find_cases(tmp_path)
    assert [len(case.paths) for case in found] == [4, 4]
    assert len({case.id for case in found}) == 2


def test_what_is_set_aside_is_listed_with_its_kind(series: Files) -> None:
    folder = series[0].parent
    for n in range(2):
        edit_dicom(series[n], folder / f"scout{n}", SOPInstanceUID=generate_uid(),
                   ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    edit_dicom(series[0], folder / "sr", SOPInstanceUID=generate_uid(), Modality="SR",
               SeriesInstanceUID=generate_uid(), SOPClassUID="1.2.840.10008.5.1.4.1.1.88.33",
               PixelData=None, Rows=None, Columns=None, ImagePositionPatient=None)  # fmt: skip
    again(series[2:3], folder, "derived", ImageType=["DERIVED", "SECONDARY", "MIP"])
    found = survey(folder)
    assert [case.form for case in found.cases] == ["regular"]
    assert np.array_equal(read_volume(found.cases[0]).data[0], series_values())
    aside = sorted((case.form, len(case.paths), str(case.problem)) for case in found.aside)
    assert [row[:2] for row in aside] == [("localizer", 2), ("not-a-volume", 1),
                                          ("not-a-volume", 1)]  # fmt: skip
    assert aside[0][2].startswith("scout0: a localizer (2 files)")
    assert any("Comprehensive SR" in row[2] for row in aside)
    assert any("derived picture" in row[2] for row in aside)
    assert found.set_aside == 4


def test_a_derived_slice_that_the_series_needs_is_not_left_out(series: Files) -> None:
    edit_dicom(series[6], ImageType=["DERIVED", "SECONDARY"])
    (found,) = find_cases(series[0].parent)
    assert isinstance(found.problem, UnsafeGeometry)
    assert "image type" in str(found.problem)


# --- O14, O15 --------------------------------------------------------------------------------


def test_a_truncated_slice_refuses_its_series_and_others_are_counted(series: Files) -> None:
    folder = series[0].parent
    series[3].write_bytes(series[3].read_bytes()[:-30])
    (folder / "empty").touch()
    (folder / "notes.txt").write_text("x")
    shutil.copy(series[0], folder / "DICOMDIR")
    found = survey(folder)
    (case,) = found.cases
    assert "IM0003.dcm: the file is truncated" in str(case.problem)
    assert found.passed_over == 3


# --- phases ----------------------------------------------------------------------------------

PHASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "acquisition number": ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
    "echo time": ({"EchoTime": 5}, {"EchoTime": 90}),
    "inversion time": ({"InversionTime": 100}, {"InversionTime": 900}),
    "flip angle": ({"FlipAngle": 5}, {"FlipAngle": 26}),
    "b-value": ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}),
    "cardiac phase": ({"TriggerTime": 10}, {"TriggerTime": 300}),
    "frame reference time": ({"FrameReferenceTime": 100}, {"FrameReferenceTime": 9000}),
    "acquisition time": ({"AcquisitionTime": "101500.5"}, {"AcquisitionTime": "101600"}),
}


@pytest.mark.parametrize("word", PHASES)
def test_phases_are_told_apart_by_what_differs(series: Files, word: str) -> None:
    first, second = PHASES[word]
    for path in series:
        edit_dicom(path, **first)
    again(series, series[0].parent, "later", **second)
    found = find_cases(series[0].parent)
    assert [case.form for case in found] == ["phases", "phases"]
    assert all(case.report is not None and case.report["told_apart_by"] == word for case in found)
    assert all(any(f"told apart by {word}" in w for w in case.warnings) for case in found)
    volumes = [read_volume(case).data[0] for case in found]
    assert sum(np.array_equal(v, series_values()) for v in volumes) == 1
    for case in found:
        assert len({Path(p).name.startswith("later") for p in case.paths}) == 1


def test_times_that_differ_slice_by_slice_tell_passes_apart(series: Files) -> None:
    for n, path in enumerate(series):
        edit_dicom(path, AcquisitionTime=f"1015{10 + n}")
    again(series, series[0].parent, "later", AcquisitionTime=lambda n: f"1016{10 + n}.25")
    assert forms(series[0].parent) == ["phases", "phases"]


def test_times_that_interleave_tell_nothing(series: Files) -> None:
    for n, path in enumerate(series):
        edit_dicom(path, AcquisitionTime=f"1015{10 + 2 * n}")
    again(series, series[0].parent, "later", AcquisitionTime=lambda n: f"1015{11 + 2 * n}")
    assert forms(series[0].parent) == ["duplicates"]


def test_trigger_times_of_a_heart_differ_from_place_to_place(series: Files) -> None:
    for n, path in enumerate(series):
        edit_dicom(path, TriggerTime=f"{10 + n / 3:.3f}")
    again(series, series[0].parent, "b", TriggerTime=lambda n: f"{60 - n / 7:.3f}")
    again(series, series[0].parent, "c", shift=2, TriggerTime=lambda n: f"{102 + n / 9:.3f}")
    found = find_cases(series[0].parent)
    assert [case.form for case in found] == ["phases"] * 3
    for case in found:
        assert len({Path(p).name[:2] for p in case.paths}) == 1


def test_an_incomplete_phase_is_refused(series: Files) -> None:
    for path in series:
        edit_dicom(path, AcquisitionNumber=1)
    again(series[:-1], series[0].parent, "later", AcquisitionNumber=2)
    assert forms(series[0].parent) == ["duplicates"]


def test_a_number_that_runs_through_the_slices_splits_nothing(series: Files) -> None:
    for n, path in enumerate(series):
        edit_dicom(path, AcquisitionNumber=n, TriggerTime=n * 7, AcquisitionTime=f"1010{10 + n}")
    assert forms(series[0].parent) == ["regular"]


# --- folders that share a UID ----------------------------------------------------------------


def test_versions_of_a_series_in_folders_are_taken_folder_by_folder(series: Files) -> None:
    top = series[0].parent.parent
    again(series, top / "other", "x")
    cut = save_series(top / "cut")
    cut.pop(3).unlink()
    for path in cut:
        edit_dicom(path, Rows=5, PixelData=bytes(5 * 5 * 2))
    found = find_cases(top)
    assert sorted(case.form for case in found) == ["gaps", "regular", "regular"]
    assert len({case.id for case in found}) == 3
    assert all(any("folder by folder" in w for w in case.warnings) for case in found)
    moved = top.with_name("moved")
    shutil.copytree(top, moved)
    assert [case.id for case in find_cases(moved)] == [case.id for case in found]


def test_halves_in_two_folders_with_a_slice_missing_stay_one_refused_series(series: Files) -> None:
    other = series[0].parent.parent / "second"
    other.mkdir()
    for path in series[4:]:
        path.rename(other / path.name)
    series[2].unlink()
    (found,) = find_cases(other.parent)
    assert found.form == "gaps"


# --- missing UIDs ----------------------------------------------------------------------------


@pytest.mark.parametrize("uid", ["", "ANON", "0"])
def test_series_without_uids_in_one_folder_are_told_apart_by_geometry(
    tmp_path: Path, uid: str
) -> None:
    geometries = [OBLIQUE, Geometry((6, 5, 4), np.diag([2.0, 2.0, 2.0, 1.0]))]
    for n, geometry in enumerate(geometries):
        for path in save_series(tmp_path / f"s{n}", geometry, seed=n):
            dataset = pydicom.dcmread(path)
            for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
                dataset[keyword].value = uid
            del dataset.SeriesNumber
            dataset.save_as(tmp_path / f"{n}{path.name}")
        shutil.rmtree(tmp_path / f"s{n}")
    found = find_cases(tmp_path)
    assert sorted(len(case.paths) for case in found) == [4, 7]
    for case in found:
        assert case.problem is None
        assert any("no UID" in w for w in case.warnings)
        assert case.report is not None
        assert case.report["grouped_by"] == "folder and geometry"


def test_one_odd_slice_without_uid_is_still_refused(series: Files) -> None:
    for path in series:
        edit_dicom(path, SeriesInstanceUID="", FrameOfReferenceUID=None)
    edit_dicom(series[6], Rows=4, PixelData=bytes(4 * 5 * 2))
    assert forms(series[0].parent) == ["not-a-volume"]


def test_names_written_in_other_ways_are_one_patient_and_two_stay_refused(series: Files) -> None:
    for n, path in enumerate(series):
        edit_dicom(path, PatientName=("DOE^JANE", "Doe^Jane^^")[n % 2])
    assert forms(series[0].parent) == ["regular"]
    edit_dicom(series[2], PatientID="OTHER")
    (found,) = find_cases(series[0].parent)
    assert found.form == "mixed-patients"
    assert "IM0002.dcm" in str(found.problem)
    assert "DOE" not in str(found.problem)
    assert "OTHER" not in str(found.problem)


# --- the report ------------------------------------------------------------------------------


def test_the_report_states_gaps_and_tilt(tmp_path: Path) -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[1, 2] = 2.5 * np.tan(np.deg2rad(20))
    paths = save_series(tmp_path, Geometry((6, 7, 9), affine))
    (found,) = find_cases(tmp_path)
    report = found.report
    assert report is not None
    json.dumps(report)
    assert report["tilt_degrees"] == pytest.approx(20, abs=1e-2)
    assert report["median_gap_mm"] == pytest.approx(2.5, abs=1e-4)
    assert report["tolerance_mm"] == pytest.approx(0.025, abs=1e-5)
    assert report["uneven_gaps"] == []
    paths[3].unlink()
    paths[4].unlink()
    (gapped,) = find_cases(tmp_path)
    assert gapped.report is not None
    (gap,) = gapped.report["uneven_gaps"]
    assert {gap["after"], gap["before"]} == {"IM0002.dcm", "IM0005.dcm"}
    assert gap["missing_slices"] == 2
    assert gap["gap_mm"] == pytest.approx(7.5, abs=1e-4)


# --- O13, O26, O28: hostile headers ----------------------------------------------------------

HOSTILE = ["../../x", "/etc/passwd", "a\x00b", "a\nb", "x" * 300, "\N{BRAIN}", "CON",
           "\N{RIGHT-TO-LEFT OVERRIDE}gpj"]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_uids_give_safe_ids(tmp_path: Path, text: str) -> None:
    for path in save_series(tmp_path, SMALL):
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "PatientName"):
            dataset.pop(keyword, None)
            dataset.add_new(keyword, "LT", text)
        dataset.save_as(path)
    (found,) = find_cases(tmp_path)
    assert found.problem is None
    assert found.id.replace("-", "").isalnum()
    assert found.id.isascii()


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(8)))
def test_the_order_of_slices_does_not_matter_to_phases(
    tmp_path_factory: pytest.TempPathFactory, order: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("phases")
    paths = [edit_dicom(path, AcquisitionNumber=1) for path in save_series(folder, SMALL)]
    paths += again(paths, folder, "b", AcquisitionNumber=2)
    mixed = folder / "mixed"
    mixed.mkdir()
    for n, path in zip(order, paths, strict=True):
        path.rename(mixed / f"{n}")
    found = find_cases(folder)
    values = [read_volume(case).data[0] for case in found]
    assert [case.form for case in found] == ["phases", "phases"]
    assert sum(np.array_equal(v, series_values(SMALL)) for v in values) == 1
    _same_ids_always(found)


_IDS: set[tuple[str, ...]] = set()


def _same_ids_always(found: list[Case]) -> None:
    _IDS.add(tuple(case.id for case in found))
    assert len(_IDS) == 1
