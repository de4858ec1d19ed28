"""Every image is found once, under an id that is safe and depends on nothing but itself."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import generate_uid

from tests.io_files import OBLIQUE, edit_dicom, integers, save_itk, save_nifti, save_series
from unetr_app.cases import Case, find_cases, survey
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume

SMALL = Geometry((3, 4, 3), np.diag([1.0, 1.0, 2.0, 1.0]))
CANARY = "DOE^JANE"


def ids(found: list[Case] | tuple[Case, ...]) -> list[str]:
    return [case.id for case in found]


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A tree with one of everything, and things that are nothing."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    save_nifti(root / "one.nii.gz")
    save_nifti(root / "deep" / "two.nii")
    save_itk(root / "deep" / "three.nrrd", integers(OBLIQUE.shape), OBLIQUE)
    save_itk(root / "deep" / "er" / "four.mha", integers(OBLIQUE.shape), OBLIQUE)
    save_series(root / "dicom", SMALL, suffix="")
    (root / "notes.txt").write_text("no image")
    (root / "dicom" / "README").write_text("no image either")
    (root / "empty.nii.gz").touch()
    (root / "broken.nrrd").write_bytes(b"rubbish")
    return root


def test_everything_is_found_in_a_mixed_tree(mixed: Path) -> None:
    found = survey(mixed)
    by_form = {case.form: case for case in found.cases if case.problem is None}
    assert set(by_form) == {"nifti", "nrrd", "metaimage", "regular"}
    assert {"one", "two", "three", "four", "empty", "broken"} < set(ids(found.cases))
    assert found.passed_over == 2
    assert {c.id for c in found.cases if c.problem} == {"empty", "broken"}
    series = by_form["regular"]
    assert series.kind == "dicom-series"
    assert series.geometry is not None
    assert series.geometry.shape == SMALL.shape
    assert len(series.paths) == 3
    assert series.input == str(mixed / "dicom")
    for case in found.cases:
        if case.problem is None:
            assert read_volume(case).source == case.input


def test_reading_a_case_with_a_problem_raises_it(mixed: Path) -> None:
    case = next(c for c in find_cases(mixed) if c.id == "empty")
    with pytest.raises(UnreadableInput, match=r"empty\.nii\.gz: the file is empty"):
        read_volume(case)


def test_order_of_inputs_changes_nothing(mixed: Path) -> None:
    parts = sorted(mixed.iterdir())
    forward, backward = find_cases(parts), find_cases(list(reversed(parts)))
    assert [repr(case) for case in forward] == [repr(case) for case in backward]
    assert {c.id for c in find_cases([mixed, *parts])} >= {c.id for c in find_cases(mixed)}


def test_one_path_needs_no_list(mixed: Path) -> None:
    assert ids(find_cases(str(mixed))) == ids(find_cases([mixed]))


def test_numbers_in_names_count_as_numbers(tmp_path: Path) -> None:
    for n in (10, 9, 1):
        save_nifti(tmp_path / f"case{n}.nii")
    assert ids(find_cases(tmp_path)) == ["case1", "case9", "case10"]


def test_what_is_not_there_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no such file or folder"):
        find_cases([tmp_path, tmp_path / "absent"])


def test_a_file_that_the_user_names_is_never_passed_over(tmp_path: Path) -> None:
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    found = survey(notes)
    assert found.passed_over == 0
    assert ids(found.cases) == ["case_notes_txt"]
    assert found.cases[0].problem is not None
    assert "not of an image format" in str(found.cases[0].problem)


def test_hidden_files_and_dicomdir_are_passed_over(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii.gz")
    (tmp_path / "._a.nii.gz").write_bytes(b"\0\5\x16\7AppleDouble")
    save_nifti(tmp_path / ".labels.0123abcd.part.nii")
    (tmp_path / ".git").mkdir()
    save_nifti(tmp_path / ".git" / "b.nii")
    path = save_series(tmp_path / "dicom", SMALL)[0]
    edit_dicom(path, tmp_path / "dicom" / "DICOMDIR")
    directory = pydicom.dcmread(path)
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    del directory.SOPClassUID
    directory.save_as(tmp_path / "dicom" / "DIRFILE", enforce_file_format=False)
    found = survey(tmp_path)
    assert [case.form for case in found.cases] == ["nifti", "regular"]
    assert not any(case.problem for case in found.cases)
    assert found.passed_over == 4


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_are_followed_once(tmp_path: Path) -> None:
    root = tmp_path / "in"
    (root / "a").mkdir(parents=True)
    save_nifti(root / "a" / "scan.nii")
    (root / "a" / "loop").symlink_to(root)
    (root / "self").symlink_to("self")
    (root / "dangling").symlink_to("nowhere")
    (root / "other.nii").symlink_to(root / "a" / "scan.nii")
    outside = save_nifti(tmp_path / "outside.nii")
    (root / "link.nii").symlink_to(outside)
    assert ids(find_cases(root)) == ["link", "scan"]
    assert ids(find_cases([root, root / "a" / "scan.nii", outside])) == ["link", "scan"]


def test_a_link_that_leads_nowhere_is_not_lost(tmp_path: Path) -> None:
    try:
        (tmp_path / "scan.nii.gz").symlink_to(tmp_path / "absent")
        (tmp_path / "notes").symlink_to(tmp_path / "absent too")
    except OSError:
        pytest.skip("links are not allowed here")
    found = survey(tmp_path)
    assert ids(found.cases) == ["scan"]
    assert "no such file" in str(found.cases[0].problem)
    assert found.passed_over == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes there")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "scan.nii")
    save_nifti(tmp_path / "a.nii")
    assert ids(find_cases(tmp_path)) == ["a"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_what_may_not_be_read_is_a_case_with_a_problem(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii").chmod(0)
    (tmp_path / "shut").mkdir(mode=0)
    assert [str(c.problem) for c in find_cases(tmp_path)]


def test_a_case_can_be_sent_to_another_process(mixed: Path) -> None:
    for case in find_cases(mixed):
        sent = pickle.loads(pickle.dumps(case))
        assert str(sent.problem) == str(case.problem)
        assert (sent.id, sent.paths, sent.geometry) == (case.id, case.paths, case.geometry)


# --- identifiers -----------------------------------------------------------------------------


def test_equal_names_get_a_hash_each(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    save_nifti(tmp_path / "a" / "scan.nii.gz")
    save_nifti(tmp_path / "b" / "SCAN.nii")
    save_nifti(tmp_path / "c" / "other.nii")
    found = ids(find_cases(tmp_path))
    assert found[0] == "other"
    assert re.fullmatch(r"(?i)scan-[0-9a-f]{8}", found[1])
    assert re.fullmatch(r"(?i)scan-[0-9a-f]{8}", found[2])
    assert ids(find_cases([tmp_path / "c", tmp_path / "b", tmp_path / "a"])) == found
    assert ids(find_cases(tmp_path / "a")) == ["scan"]


def test_a_name_that_looks_like_anothers_hash_stays_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        save_nifti(tmp_path / name / "scan.nii")
    taken = ids(find_cases(tmp_path))[0]
    save_nifti(tmp_path / "b" / f"{taken}.nii")
    found = ids(find_cases(tmp_path))
    assert len(set(found)) == 3


NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=40
)


@settings(max_examples=40, deadline=None)
@given(names=st.lists(NAMES, min_size=2, max_size=5, unique=True))
def test_any_names_give_safe_and_unique_ids(
    tmp_path_factory: pytest.TempPathFactory, names: list[str]
) -> None:
    root = tmp_path_factory.mktemp("names")
    template = save_nifti(root / "template.nii").read_bytes()
    (root / "template.nii").unlink()
    count = 0
    for name in names:
        try:
            (root / f"a{name}.nii").write_bytes(template)
        except OSError:
            continue  # longer than the file system takes
        count = len(list(root.iterdir()))
    found = ids(find_cases(root))
    assert len({name.casefold() for name in found}) == count
    for name in found:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name)
        assert ".." not in name


HOSTILE = ["../../x", "/etc/passwd", "a\nb", "x" * 64, "😀", "CON", "\u202egnp", ""]


@pytest.mark.parametrize("text", HOSTILE)
def test_dicom_ids_hold_nothing_of_the_headers_text(tmp_path: Path, text: str) -> None:
    for path in save_series(tmp_path, SMALL):
        dataset = pydicom.dcmread(path)
        for keyword in ("PatientName", "PatientID", "SeriesDescription", "Modality"):
            dataset.SpecificCharacterSet = "ISO_IR 192"
            dataset.pop(keyword, None)
            dataset.add_new(keyword, "LO" if keyword != "PatientName" else "PN", text)
        dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[text])
        dataset.save_as(path)
    (found,) = find_cases(tmp_path)
    assert re.fullmatch(r"[A-Z0-9]{1,8}-\d{3}-[0-9a-f]{8}", found.id)
    assert (Path("root") / found.id).resolve().parent == Path("root").resolve()


def test_a_dicom_id_is_modality_number_and_hash_of_the_uid(tmp_path: Path) -> None:
    import hashlib

    for path in save_series(tmp_path, SMALL):
        edit_dicom(path, SeriesNumber=13, Modality="MR", PatientName=CANARY)
    (found,) = find_cases(tmp_path)
    uid = pydicom.dcmread(found.paths[0]).SeriesInstanceUID
    assert found.id == f"MR-013-{hashlib.sha256(uid.encode()).hexdigest()[:8]}"
    assert found.series_uid == uid
    assert uid not in repr(found)
    assert CANARY not in repr(found)


def test_volumes_of_one_series_have_ids_of_their_own(tmp_path: Path) -> None:
    for path in save_series(tmp_path, SMALL):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = generate_uid()
        dataset.EchoNumbers = 2
        dataset.save_as(tmp_path / f"echo_{path.name}")
    found = find_cases(tmp_path)
    assert len({case.id for case in found}) == 2
    assert [len(case.paths) for case in found] == [3, 3]
    for case in found:
        assert read_volume(case).geometry == case.geometry


def test_copies_of_a_series_in_two_folders_count_once(tmp_path: Path) -> None:
    save_series(tmp_path / "a", SMALL)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (found,) = find_cases(tmp_path)
    assert len(found.paths) == 3
    assert any("exact copies" in w for w in found.warnings)


def test_folders_named_by_uids_that_differ_at_the_end_stay_apart(tmp_path: Path) -> None:
    uid = generate_uid(entropy_srcs=["x"])[:-2]
    for last in "12":
        for path in save_series(tmp_path / f"{uid}.{last}", SMALL):
            edit_dicom(path, SeriesInstanceUID=f"{uid}.{last}")
    assert len(set(ids(find_cases(tmp_path)))) == 2


def test_a_broken_dicom_file_has_an_id_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "DOE_JANE.dcm").write_bytes(b"rubbish")
    (found,) = find_cases(tmp_path)
    assert re.fullmatch(r"DICOM-[0-9a-f]{8}", found.id)
    assert found.form == "dicom"
    assert isinstance(found.problem, UnreadableInput)


# --- DICOM in a search -----------------------------------------------------------------------


def test_slices_may_lie_in_several_folders(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "a", SMALL)
    (tmp_path / "b").mkdir()
    paths[1].rename(tmp_path / "b" / paths[1].name)
    (found,) = find_cases(tmp_path)
    assert found.input == str(tmp_path)
    assert read_volume(found).geometry.shape == SMALL.shape


def test_slices_named_one_by_one_make_a_series(tmp_path: Path, monkeypatch: Any) -> None:
    save_series(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    (found,) = find_cases(sorted(os.listdir()))
    assert found.input == "."
    assert len(found.paths) == 3
    names = sorted(os.listdir())
    (mixed,) = find_cases([str(tmp_path / names[0]), *names[1:]])
    assert len(mixed.paths) == 3


def test_localizers_are_set_aside_unless_named(tmp_path: Path) -> None:
    paths = save_series(tmp_path / "a", SMALL)
    scout = edit_dicom(paths[0], tmp_path / "a" / "scout", SOPInstanceUID=generate_uid(),
                       SeriesInstanceUID=generate_uid(),
                       ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    found = survey(tmp_path)
    assert (len(found.cases), found.set_aside) == (1, 1)
    (named,) = find_cases(scout)
    assert str(named.problem).startswith("scout: a localizer is no slice of a volume")
    assert named.form == "localizer"


def test_a_damaged_file_beside_a_series_is_said(tmp_path: Path) -> None:
    paths = save_series(tmp_path, SMALL)
    (tmp_path / "IM0009.dcm").write_bytes(paths[0].read_bytes()[:300])
    found = {case.kind: case for case in find_cases(tmp_path)}
    assert found["file"].problem is not None
    assert any("damaged DICOM file" in w for w in found["dicom-series"].warnings)


def test_a_series_that_headers_show_unusable_has_a_problem(tmp_path: Path) -> None:
    save_series(tmp_path)[3].unlink()
    (found,) = find_cases(tmp_path)
    assert found.form == "gaps"
    assert found.geometry is None
    assert isinstance(found.problem, UnsafeGeometry)
    with pytest.raises(UnetrError, match="missing"):
        read_volume(found)


# --- results of our own ----------------------------------------------------------------------


def results(folder: Path, case_id: str, given: str, *, row: bool = True) -> None:
    (folder / case_id).mkdir(parents=True)
    save_nifti(folder / case_id / "labels.nii.gz")
    (folder / "summary.csv").write_text("case_id\n")
    with open(folder / "manifest.jsonl", "a", encoding="utf-8") as manifest:
        if row:
            line = {"case_id": case_id, "status": "done", "input": given}
            manifest.write(json.dumps(line) + "\n")
        manifest.write('{"case_id": "torn')


def test_results_in_the_input_tree_are_no_inputs(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan.nii.gz")
    before = find_cases(tmp_path)
    results(tmp_path / "out", "scan", str(tmp_path / "scan.nii.gz"))
    results(tmp_path / "out", "unfinished", "", row=False)
    assert find_cases(tmp_path) == before
    assert find_cases(tmp_path / "out") == []


def test_results_beside_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    save_nifti(tmp_path / "scan.nii.gz")
    (tmp_path / "other").mkdir()
    save_nifti(tmp_path / "other" / "other.nii.gz")
    before = find_cases(tmp_path)
    results(tmp_path, "scan", "scan.nii.gz")
    shutil.copy(tmp_path / "scan" / "labels.nii.gz", tmp_path / "other" / "labels.nii.gz")
    with open(tmp_path / "manifest.jsonl", "a") as manifest:
        row = {"case_id": "other", "status": "done", "input": "other/other.nii.gz"}
        manifest.write("\n" + json.dumps(row) + "\n")
    assert find_cases(tmp_path) == before


def test_a_manifest_of_others_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('{"name": "x"}\nno json\n')
    (tmp_path / "scan").mkdir()
    save_nifti(tmp_path / "scan" / "labels.nii.gz")
    assert ids(find_cases(tmp_path)) == ["labels"]
