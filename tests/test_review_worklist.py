"""Worklist: what there is to review, whatever names it, and what is known of each case."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest

from data.phantom_files import write_nifti
from tests.napari_out import add_case
from tests.review_out import made, paint, write_out, write_pair
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.review.decision import Decision
from unetr_app.review.worklist import open_worklist


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return write_out(tmp_path)


def set_row(out: Path, case_id: str, **changes: object) -> None:
    rows = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    lines = [row | (changes if row["case_id"] == case_id else {}) for row in rows]
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))


def test_opening_an_output_folder_reads_no_image_and_writes_nothing(out: Path) -> None:
    before = sorted(out.rglob("*"))
    worklist = open_worklist(out)
    assert worklist.cases == ("case_1", "case_2")
    assert [row.status for row in worklist.rows()] == ["unreviewed"] * 2
    assert worklist.folder == out / "reviews"
    assert sorted(out.rglob("*")) == before


def test_a_case_is_loaded_on_exactly_the_grid_of_its_image(out: Path) -> None:
    loaded = open_worklist(out).load("case_2")
    assert loaded.volume is not None
    assert loaded.prediction.geometry == loaded.volume.geometry
    assert np.array_equal(loaded.prediction.data, made(2)[1].data)
    assert loaded.prediction.labels.names == ("Anterior", "Posterior")
    assert loaded.warnings == ()
    assert loaded.source_hash
    assert loaded.prediction_hash


def test_a_failed_case_says_why_and_cannot_be_opened(out: Path) -> None:
    shutil.rmtree(out / "case_1")
    error = {"code": "unreadable-input", "cause": "the file is empty", "cure": "Copy it again."}
    set_row(out, "case_1", status="failed", outputs=[], error=error)
    worklist = open_worklist(out)
    first, second = worklist.rows()
    assert "the file is empty. Copy it again." in str(first.problem)
    assert second.problem is None
    with pytest.raises(UnreadableInput, match="file is empty"):
        worklist.open("case_1", "anna")
    assert worklist.resume_at() == "case_2"


def test_masks_of_overlapping_labels_are_read_with_their_names(out: Path) -> None:
    (out / "case_1" / "labels.nii.gz").unlink()
    loaded = open_worklist(out).load("case_1")
    assert loaded.prediction.is_overlapping
    for value in (1, 2):
        assert np.array_equal(loaded.prediction.mask(value), made(1)[1].mask(value))


def test_the_uncertainty_map_of_a_case_comes_with_it(out: Path) -> None:
    volume, _ = made(1)
    ramp = np.linspace(0, 1, volume.data[0].size, dtype=np.float32).reshape(volume.data[0].shape)
    write_nifti(ramp, volume.geometry, out / "case_1" / "uncertainty.nii.gz")
    loaded = open_worklist(out).load("case_1")
    assert loaded.uncertainty is not None
    assert np.allclose(loaded.uncertainty.data[0], ramp)
    assert open_worklist(out).load("case_2").uncertainty is None


def test_reviews_are_no_inputs_of_a_later_run(out: Path, tmp_path: Path) -> None:
    worklist = open_worklist(out)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.save()
    found = {path for case in find_cases(tmp_path) for path in case.paths}
    assert found == {str(p) for p in (tmp_path / "images").iterdir()}


def test_a_case_called_reviews_keeps_its_results_and_its_review(tmp_path: Path) -> None:
    from unetr_app.batch.folder import OutputFolder
    from unetr_app.outputs import read_manifest
    from unetr_app.review.results import read_result
    from unetr_app.scoring import find_pairs

    out = write_out(tmp_path, 1)
    for case_id in ("reviews", "labels"):
        add_case(out, tmp_path / "images" / "case_1.nii.gz", made(1), case_id=case_id)
    worklist = open_worklist(out)
    for case_id in worklist.cases:
        with worklist.open(case_id, "anna") as desk:
            paint(desk, 50)
            desk.record(Decision("accepted"))
    OutputFolder(out).remove_results("reviews")  # as a later run does
    add_case(out, tmp_path / "images" / "case_1.nii.gz", made(1), case_id="reviews")
    again = open_worklist(out)
    assert [row.status for row in again.rows()] == ["accepted"] * 3
    assert all(again.load(case_id).version for case_id in again.cases)
    assert find_pairs(out, out).matched[-1].case_id == "reviews"
    assert len(find_pairs(out, out).matched) == 3
    assert set(read_manifest(out)) == {"case_1", "reviews", "labels"}
    assert read_result(out / "reviews").segmentation.labels.names == ("Anterior", "Posterior")


LISTS = {
    "comma": "image,labels,id\na.nii.gz,a_seg.nii.gz,one\nb.nii.gz,b_seg.nii.gz,two\n",
    "semicolon": "ID;Labels;Image\none;a_seg.nii.gz;a.nii.gz\n\ntwo;b_seg.nii.gz;b.nii.gz\n",
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_a_csv_list_names_cases(tmp_path: Path, text: str) -> None:
    write_pair(tmp_path, "a", 1)
    write_pair(tmp_path, "b", 2)
    (tmp_path / "cases.csv").write_text(text)
    worklist = open_worklist(tmp_path / "cases.csv")
    assert worklist.cases == ("one", "two")
    assert worklist.folder == tmp_path / "cases.reviews"
    assert np.array_equal(worklist.load("two").prediction.data, made(2)[1].data)


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 1)
    write_pair(tmp_path, "b", 2)
    (tmp_path / "cases.csv").write_bytes(
        b'image,labels\n"a.nii.gz,a_seg.nii.gz\nb.nii.gz,gone.nii.gz\nb.nii.gz,\xff\n'
        b"a.nii.gz,a_seg.nii.gz,x\nb.nii.gz,b_seg.nii.gz\nb.nii.gz"
    )
    rows = open_worklist(tmp_path / "cases.csv").rows()
    good = [row for row in rows if row.problem is None]
    assert len(rows) == 6
    assert len(good) == 1
    for number in (2, 3, 4, 5, 7):
        assert any(f"line {number}" in str(row.problem) for row in rows), number


def test_a_json_list_has_second_readers_bundles_and_uncertainty(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 1)
    _, other = write_pair(tmp_path, "b", 2)
    cases = [
        {"id": "one", "image": "a.nii.gz", "labels": "a_seg.nii.gz", "second": other.name,
         "bundle": "kidneys", "uncertainty": 0.25},
        "torn",
        {"image": "a.nii.gz", "prediction": "a_seg.nii.gz"},
    ]  # fmt: skip
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    worklist = open_worklist(tmp_path / "cases.json")
    row = worklist.row("one")
    assert (row.bundle, row.uncertainty) == ("kidneys", 0.25)
    loaded = worklist.load("one")
    assert loaded.second is not None
    assert np.array_equal(loaded.second.data, made(2)[1].data)
    assert worklist.load("a").second is None
    assert sum(row.problem is not None for row in worklist.rows()) == 1


def test_cases_of_one_id_are_told_apart(tmp_path: Path) -> None:
    for n, name in enumerate(("x", "y")):
        write_pair(tmp_path / name, "scan", n)
    text = "image,labels\nx/scan.nii.gz,x/scan_seg.nii.gz\ny/scan.nii.gz,y/scan_seg.nii.gz\n"
    (tmp_path / "cases.csv").write_text(text)
    worklist = open_worklist(tmp_path / "cases.csv")
    assert len(set(worklist.cases)) == 2
    assert worklist.cases == open_worklist(tmp_path / "cases.csv").cases


def test_labels_on_another_grid_are_shown_alone_with_the_reason(tmp_path: Path) -> None:
    image, labels = write_pair(tmp_path, "a", 1)
    volume, _ = made(1)
    write_nifti(volume.data[0], volume.geometry.cropped((1, 0, 0), volume.geometry.shape), image)
    (tmp_path / "cases.csv").write_text(f"image,labels\n{image.name},{labels.name}\n")
    loaded = open_worklist(tmp_path / "cases.csv").load("a")
    assert loaded.volume is None
    assert "is not the labels' grid" in loaded.warnings[0]


def test_a_data_set_names_its_labels(tmp_path: Path) -> None:
    image, labels = write_pair(tmp_path, "a", 1)
    table = {
        "name": "hands", "labels": {"0": "background", "1": "thumb", "2": "palm"},
        "modality": {"0": "CT"},
        "training": [{"image": f"./{image.name}", "label": f"./{labels.name}"}, 7],
    }  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(table))
    for path in (tmp_path, tmp_path / "dataset.json"):
        worklist = open_worklist(path)
        assert worklist.title == "hands"
        assert worklist.load("a").prediction.labels.names == ("thumb", "palm")
        assert worklist.row("a").modality == "CT"
    assert worklist.rows()[-1].problem is not None


def test_the_hippocampus_data_set_opens(shared: Path, tmp_path: Path) -> None:
    worklist = open_worklist(shared / "data" / "Task04_Hippocampus", reviews=tmp_path / "reviews")
    assert len(worklist.cases) == 200
    assert worklist.rows()[0].modality == "MR"
    loaded = worklist.load(worklist.cases[0])
    assert loaded.prediction.labels.names == ("Anterior", "Posterior")
    assert loaded.volume is not None


def test_a_plain_folder_pairs_images_with_labels(tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    write_pair(folder, "a", 1)
    write_nifti(np.ones((4, 5, 6), np.int16), made()[0].geometry.cropped((0, 0, 0), (4, 5, 6)),
                folder / "alone.nii.gz")  # fmt: skip
    worklist = open_worklist(folder)
    assert worklist.cases == ("a",)
    assert any("without labels" in note for note in worklist.notes)
    with worklist.open("a", "anna") as desk:
        paint(desk, 70)
        desk.save()
    again = open_worklist(folder)
    assert again.cases == ("a",)  # what was saved below it is no case
    assert again.row("a").versions == 1


def test_paths_that_name_nothing_say_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.csv").write_text("image,mask\na,b\n")
    (tmp_path / "nothing.json").write_text("{}")
    (tmp_path / "bare.csv").write_text("image,labels\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.jsonl").write_text("")
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("gone", "empty", "text.csv", "nothing.json", "bare.csv", "out", "notes.txt"):
        with pytest.raises((InvalidRequest, UnreadableInput)) as caught:
            open_worklist(tmp_path / name)
        assert caught.value.cure, name


def test_rows_follow_what_happens(out: Path) -> None:
    worklist = open_worklist(out)
    with open_worklist(out).open("case_2", "anna") as desk:
        desk.record(Decision("rejected", flagged=True, grade=2, comment="moved"))
        row = worklist.row("case_2")
    assert (row.status, row.flagged, row.grade, row.comment) == ("rejected", True, 2, "moved")
    assert row.reviewer == "anna"
    assert row.when
    worklist.note_findings("case_1", {"flags": ("touches the border",), "uncertainty": 0.5})
    worklist.note_findings("case_1", {"modality": "MR"})
    found = open_worklist(out).row("case_1")
    assert (found.flags, found.uncertainty, found.modality) == (("touches the border",), 0.5, "MR")


def test_a_case_that_is_segmented_meanwhile_appears(out: Path, tmp_path: Path) -> None:
    worklist = open_worklist(out)
    assert len(worklist.rows()) == 2
    add_case(out, tmp_path / "images" / "case_1.nii.gz", made(1), case_id="case_3")
    assert [row.case_id for row in worklist.rows()] == ["case_1", "case_2", "case_3"]


def test_unchanged_files_are_not_read_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from unetr_app.review.log import Log

    worklist = open_worklist(out)
    worklist.rows()
    read: list[Path] = []
    events = Log.events
    monkeypatch.setattr(Log, "events", lambda self: read.append(self.path) or events(self))
    worklist.rows()
    assert read == []
    worklist.note_findings("case_2", {"uncertainty": 0.1})
    worklist.rows()
    assert [path.parent.name for path in read] == ["case_2"]


def test_work_goes_on_where_it_stopped(out: Path, tmp_path: Path) -> None:
    assert open_worklist(out).resume_at() == "case_1"
    with open_worklist(out).open("case_2", "anna") as desk:
        desk.record(Decision("accepted"))
    assert open_worklist(out).resume_at() == "case_2"
    with open_worklist(out).open("case_1", "anna") as desk:
        desk.record(Decision("editing"))
    with open_worklist(out).open("case_2", "anna"):
        pass
    assert open_worklist(out).resume_at() == "case_1"


def test_a_dicom_series_is_paired_with_its_seg(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "dicom" / "dcmqi_segmentations"
    folder = tmp_path / "series"
    shutil.copytree(source / "23x38x3" / "image", folder / "image")
    shutil.copytree(source / "23x38x3" / "seg", folder / "seg")
    worklist = open_worklist(folder)
    (row,) = [row for row in worklist.rows() if row.problem is None]
    assert row.kind == "dicom-series"
    loaded = worklist.load(row.case_id)
    assert loaded.volume is not None
    assert loaded.prediction.data.any()


def test_nibabel_agrees_on_what_was_loaded(tmp_path: Path) -> None:
    image, labels = write_pair(tmp_path, "a", 3)
    loaded = open_worklist(tmp_path).load("a")
    reference = nibabel.Nifti1Image.load(labels)
    assert np.array_equal(np.asarray(reference.dataobj), loaded.prediction.label_map)
    assert np.allclose(reference.affine, loaded.geometry.affine, atol=1e-4)
    assert image.exists()


def test_ids_do_not_depend_on_how_the_path_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n, name in enumerate(("x", "y")):
        write_pair(tmp_path / name, "scan", n)
    text = "image,labels\nx/scan.nii.gz,x/scan_seg.nii.gz\ny/scan.nii.gz,y/scan_seg.nii.gz\n"
    (tmp_path / "cases.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert open_worklist("cases.csv").cases == open_worklist(tmp_path / "cases.csv").cases
    assert open_worklist(".").cases == open_worklist(tmp_path).cases


@pytest.mark.parametrize(
    "text", ['{"uncertainty": 1' + "0" * 400 + "}", '{"uncertainty": NaN}', "[]", '{"flags": 3}']
)
def test_damaged_findings_are_none(out: Path, text: str) -> None:
    folder = open_worklist(out).case_folder("case_1")
    folder.make()
    folder.findings.write_text(text)
    row = open_worklist(out).row("case_1")
    assert (row.flags, row.uncertainty) == ((), None)


def test_rows_that_name_nothing_or_the_same_again_spoil_no_other(tmp_path: Path) -> None:
    write_pair(tmp_path, "a", 1)
    text = "image;labels;id\n;;\na.nii.gz;a_seg.nii.gz;A\na.nii.gz;a_seg.nii.gz;a\n"
    (tmp_path / "cases.csv").write_text(text)
    first, second = open_worklist(tmp_path / "cases.csv").cases
    assert first.startswith("a-")
    assert second == "line-2"
    rows = [{"image": "a.nii.gz", "labels": label} for label in (chr(0xD800), chr(0xD801), "a")]
    (tmp_path / "cases.json").write_text(json.dumps(rows))
    assert len(open_worklist(tmp_path / "cases.json").cases) == 3
