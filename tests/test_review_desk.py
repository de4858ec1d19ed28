"""Desk: one reviewer at a time, nothing painted is lost, and nothing lands on other labels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data.phantom_files import write_nifti
from tests.napari_out import add_case, write_image
from tests.review_out import made, paint, voxels, write_out
from unetr_app.errors import CaseInUse, InvalidRequest, UnwritableOutput
from unetr_app.review.clock import Clock
from unetr_app.review.decision import Decision
from unetr_app.review.export import export_job
from unetr_app.review.worklist import Worklist, open_worklist

HOLD = """
import sys
from unetr_app.review.worklist import open_worklist
desk = open_worklist(sys.argv[1]).open("case_1", "bert")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def worklist(tmp_path: Path) -> Worklist:
    return open_worklist(write_out(tmp_path, 1))


def out_of(worklist: Worklist) -> Path:
    return worklist.folder.parent


def test_the_second_reviewer_is_told_who_has_it_and_since_when(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        with pytest.raises(CaseInUse, match=r"open with anna since 20\d\d-") as caught:
            worklist.open("case_1", "bert")
        assert "read-only" in caught.value.cure
        with worklist.open("case_1", "bert", read_only=True) as other:
            assert other.is_read_only
            for forbidden in (other.save, other.discard_strokes, lambda: other.record(Decision())):
                with pytest.raises(InvalidRequest, match="looking only"):
                    forbidden()
        paint(desk, 3)  # the reader took nothing away
        assert desk.save() is not None
    worklist.open("case_1", "bert").close()


def test_a_killed_holder_lets_go_at_once(worklist: Worklist) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out_of(worklist))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdin is not None
    assert child.stdout.readline() == "held\n"
    with pytest.raises(CaseInUse, match="bert"):
        worklist.open("case_1", "anna")
    child.kill()
    child.wait()
    worklist.open("case_1", "anna").close()
    child.stdin.close()
    child.stdout.close()


def test_looking_writes_nothing(worklist: Worklist) -> None:
    with worklist.open("case_1", "bert", read_only=True):
        pass
    assert not worklist.folder.exists()


def test_strokes_are_there_again(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        paint(desk, 700, value=2)
        desk.history.undo()
        painted = voxels(desk)
        assert worklist.row("case_1").has_unsaved
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), painted)
        assert desk.history.redoable == "brush"
        assert "2 steps" in desk.warnings[0] or "3 steps" in desk.warnings[0]
        assert worklist.row("case_1").status == "editing"


def test_undo_goes_past_a_version_and_survives(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        original = voxels(desk)
        paint(desk, 100)
        desk.save()
        desk.history.undo()
        assert np.array_equal(voxels(desk), original)
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), original)
        version = desk.save()
        assert version is not None
        assert version.number == 2


def test_a_journal_whose_strokes_are_all_saved_is_removed(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.save()
        assert not desk.is_unsaved
    assert not worklist.case_folder("case_1").strokes.parent.exists()
    assert not worklist.row("case_1").has_unsaved


def test_discarded_strokes_are_set_aside(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        data, original = desk.history.data, voxels(desk)
        paint(desk, 100)
        desk.discard_strokes()
        assert desk.history.data is data  # the layers that show it go on
        assert np.array_equal(data, original)
        assert not desk.is_unsaved
        paint(desk, 5)
        assert desk.is_unsaved
    (aside,) = worklist.case_folder("case_1").strokes.parent.glob("aside-*")
    assert aside.stat().st_size > 100


def test_accepting_saves_first(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        kept = desk.record(Decision("accepted", grade=5))
        assert kept.version == 1
        assert [v.reason for v in desk.versions.all()] == ["accepted"]
    row = worklist.row("case_1")
    assert (row.status, row.grade, row.has_unsaved) == ("accepted", 5, False)


def test_a_killed_process_that_had_just_saved_leaves_no_edits_twice(worklist: Worklist) -> None:
    folder = worklist.case_folder("case_1")
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        before = folder.strokes.read_bytes()
        desk.save()
        saved = voxels(desk)
    folder.strokes.parent.mkdir(exist_ok=True)
    folder.strokes.write_bytes(before)  # as if it had died before the journal was begun anew
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), saved)
        assert not desk.is_unsaved
        assert desk.warnings == ()


def test_strokes_of_other_labels_are_set_aside_and_never_applied(worklist: Worklist) -> None:
    out = out_of(worklist)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
    add_case(out, out.parent / "images" / "case_1.nii.gz", made(5), case_id="case_1",
             input_hash="right")  # fmt: skip
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), made(5)[1].data)
        assert any("set aside as aside-0001.journal" in words for words in desk.warnings)
        assert any("prediction was replaced" in words for words in desk.warnings)
    assert (worklist.case_folder("case_1").strokes.parent / "aside-0001.journal").exists()


def test_a_journal_that_is_none_is_set_aside(worklist: Worklist) -> None:
    strokes = worklist.case_folder("case_1").strokes
    strokes.parent.mkdir(parents=True)
    strokes.write_bytes(b"something else altogether")
    with worklist.open("case_1", "anna") as desk:
        assert any("set aside" in words for words in desk.warnings)
        paint(desk, 1)
    assert (strokes.parent / "aside-0001.journal").read_bytes() == b"something else altogether"


def test_versions_on_a_replaced_prediction_are_used_with_a_warning(worklist: Worklist) -> None:
    out = out_of(worklist)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.save()
        saved = voxels(desk)
    add_case(out, out.parent / "images" / "case_1.nii.gz", made(5), case_id="case_1",
             input_hash="right")  # fmt: skip
    loaded = worklist.load("case_1")
    assert loaded.saved is not None
    assert np.array_equal(loaded.saved.data, saved)
    assert np.array_equal(loaded.prediction.data, made(5)[1].data)
    assert any("another prediction" in words for words in loaded.warnings)


def test_versions_on_another_grid_are_kept_and_refused_with_the_cause(worklist: Worklist) -> None:
    out = out_of(worklist)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        version = desk.save()
    assert version is not None
    volume, labels = made(1)
    grid = volume.geometry.cropped((2, 0, 0), volume.geometry.shape)
    from unetr_app.volume import Segmentation, Volume

    moved = (Volume(volume.data, grid), Segmentation(labels.data, grid, labels.labels))
    image = write_image(out.parent / "images" / "case_1.nii.gz", moved[0])
    add_case(out, image, moved, case_id="case_1", input_hash="right")
    loaded = worklist.load("case_1")
    assert loaded.saved is None
    assert any("version 1 was made on a grid" in words for words in loaded.warnings)
    assert version.folder.is_dir()


@pytest.mark.parametrize("what", ["image", "prediction"])
def test_a_file_replaced_under_the_reviewers_hands_is_found_on_saving(
    worklist: Worklist, what: str
) -> None:
    out = out_of(worklist)
    image, labels = out.parent / "images" / "case_1.nii.gz", out / "case_1" / "labels.nii.gz"
    path = image if what == "image" else labels
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        os.utime(path, ns=(1, 1))  # touched, and the same
        assert desk.check_files() == ()
        volume, found = made(7)
        data = volume.data[0] if what == "image" else found.label_map.astype(np.uint8)
        write_nifti(data, volume.geometry, path)
        version = desk.save()
        assert version is not None  # what was painted is kept
        assert any(f"the {what} was replaced" in words for words in version.warnings)
        assert desk.warnings == version.warnings
    with worklist.open("case_1", "anna") as desk:
        assert any("replaced" in words or "changed" in words for words in desk.warnings)


def test_what_was_prefetched_is_read_again_where_it_changed(worklist: Worklist) -> None:
    early = worklist.load("case_1")
    with worklist.open("case_1", "anna", early) as desk:
        assert desk.loaded is early
        paint(desk, 100)
        desk.save()
    with worklist.open("case_1", "bert", early) as desk:
        assert desk.loaded is not early
        assert desk.loaded.version is not None


def test_strokes_outlive_a_full_disk(worklist: Worklist, monkeypatch: pytest.MonkeyPatch) -> None:
    from unetr_app.review.editing import journal

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        monkeypatch.setattr(journal, "_write_all", full)
        with pytest.raises(UnwritableOutput):
            paint(desk, 300)
        painted = voxels(desk)
        assert desk.is_unsaved
        monkeypatch.undo()
        paint(desk, 600)
        painted = voxels(desk)
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), painted)


def test_a_place_that_cannot_be_written_to_is_told_with_the_way_out(tmp_path: Path) -> None:
    out = write_out(tmp_path, 1)
    (out / "reviews").write_text("a file in the way")
    worklist = open_worklist(out)
    with pytest.raises(UnwritableOutput, match="--reviews"):
        worklist.open("case_1", "anna")
    worklist.open("case_1", "anna", read_only=True).close()
    elsewhere = open_worklist(out, reviews=tmp_path / "mine")
    with elsewhere.open("case_1", "anna") as desk:
        desk.record(Decision("accepted"))
    assert (tmp_path / "mine" / "case_1" / "log.jsonl").exists()


def test_the_clock_stands_still_in_breaks() -> None:
    ticks = iter([0.0, 10.0, 100.0, 103.0, 103.0])
    clock = Clock(lambda: next(ticks))
    clock.pause()
    clock.pause()
    assert clock.seconds == 10.0
    clock.resume()
    assert clock.seconds == 13.0
    clock.pause()
    assert clock.seconds == 13.0


def test_the_log_holds_no_paths(worklist: Worklist, tmp_path: Path) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.record(Decision("accepted"))
    export_job(worklist, "nifti", tmp_path / "exports")
    text = worklist.case_folder("case_1").log.read_text()
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events == ["opened", "saved", "decided", "closed", "exported"]
    assert str(out_of(worklist).parent) not in text


def test_a_label_can_be_added_and_a_value_without_a_name_is_kept(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        added = desk.add_label("Vessel")
        assert added.value == 3
        with pytest.raises(InvalidRequest, match="share the name"):
            desk.add_label("Vessel")
        paint(desk, 100, value=3)
        paint(desk, 700, value=9)
    with worklist.open("case_1", "anna") as desk:
        assert desk.table.names == ("Anterior", "Posterior", "Vessel")
        version = desk.save()
        painted = voxels(desk)
    assert version is not None
    assert version.labels.names == ("Anterior", "Posterior", "Vessel", "label 9")
    loaded = worklist.load("case_1")
    assert loaded.saved is not None
    assert np.array_equal(loaded.saved.data, painted)
    assert loaded.prediction.labels.names == ("Anterior", "Posterior")


def test_strokes_that_were_taken_back_do_not_reopen_what_is_accepted(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.history.undo()
        desk.record(replace(desk.decision, status="accepted"))
        assert not desk.is_unsaved
        assert worklist.row("case_1").status == "accepted"
        assert desk.history.redo() is not None
        assert desk.is_unsaved
        painted = voxels(desk)
    with worklist.open("case_1", "anna") as desk:
        assert (voxels(desk) == painted).all()


def test_what_is_rejected_with_edits_is_rejected(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.record(replace(desk.decision, status="rejected"))
        assert desk.versions.numbers() == [1]
    assert worklist.row("case_1").status == "rejected"


def test_what_is_decided_holds_though_the_newest_version_is_damaged(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.save()
        paint(desk, 300)
        last = desk.save()
    assert last is not None
    (last.folder / "labels.nii.gz").write_bytes(b"")
    with worklist.open("case_1", "bert") as desk:
        assert desk.record(Decision("accepted")).version == 1
    row = open_worklist(out_of(worklist)).row("case_1")
    assert (row.status, row.reviewer) == ("accepted", "bert")


def test_a_disk_that_is_full_after_saving_loses_no_later_stroke(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetr_app.review import log
    from unetr_app.review.editing import journal

    def full(*_: object, **__: object) -> None:
        raise UnwritableOutput("the disk is full")

    desk = worklist.open("case_1", "anna")
    paint(desk, 100)
    with monkeypatch.context() as disk:
        disk.setattr(journal.StrokeJournal, "_begin", full)
        disk.setattr(log.Log, "append", full)
        with pytest.raises(UnwritableOutput):
            desk.save()
    paint(desk, 300)
    painted = voxels(desk)
    assert desk._held is not None  # killed: nothing is put away  # pyright: ignore
    desk._held.release()  # pyright: ignore
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(voxels(desk), painted)
        assert desk.start is not desk.loaded.prediction
        assert not [words for words in desk.warnings if "set aside" in words]


def test_strokes_that_a_full_disk_refused_are_written_on_leaving(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    from unetr_app.review.editing import journal

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with worklist.open("case_1", "anna") as desk:
        with monkeypatch.context() as disk:
            disk.setattr(journal, "_write_all", full)
            with pytest.raises(UnwritableOutput):
                paint(desk, 300)
            with pytest.raises(UnwritableOutput):
                desk.keep_strokes()
        painted = voxels(desk)
    desk = worklist.open("case_1", "anna")
    assert np.array_equal(voxels(desk), painted)
    monkeypatch.setattr(journal, "_write_all", full)
    with pytest.raises(UnwritableOutput):
        paint(desk, 600)
    with pytest.raises(UnwritableOutput):
        desk.close()
    worklist.open("case_1", "bert").close()  # it was let go all the same


def test_time_of_a_sitting_before_counts(worklist: Worklist) -> None:
    for begin in (100, 300):
        desk = worklist.open("case_1", "anna")
        desk.clock._spent += 60.0  # pyright: ignore
        paint(desk, begin)
        version = desk.save() if begin == 300 else None
        desk.close()
    assert version is not None
    assert 120.0 <= version.seconds < 125.0


def test_names_that_are_no_text_are_written_all_the_same(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna" + chr(0xDCFF)) as desk:
        paint(desk, 100)
        desk.add_label("new" + chr(0xD800))
        desk.record(Decision("accepted", comment="fine " + chr(0xD83D)))
    row = worklist.row("case_1")
    assert (row.status, row.reviewer, row.comment) == ("accepted", "anna?", "fine ?")


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "opened", "prediction_hash": "other"}',
        '{"event": "decided", "status": "accepted", "grade": 1e999}',
        '{"event": "saved", "version": 99999999999999999999}',
        '{"event": "label added", "label": 7.5, "name": ["x"]}',
    ],
)
def test_a_damaged_log_locks_nobody_out_and_loses_nothing(worklist: Worklist, line: str) -> None:
    folder = worklist.case_folder("case_1")
    folder.make()
    folder.log.write_text(line + "\n")
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        assert desk.save() is not None
        painted = voxels(desk)
    assert worklist.row("case_1").versions == 1
    assert np.array_equal(worklist.load("case_1").labels.data, painted)


@pytest.mark.skipif(sys.platform == "win32", reason="has no umask")
def test_reviewers_of_a_group_can_share_a_folder(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "only its owner may touch it")

    before = os.umask(0o002)
    try:
        with worklist.open("case_1", "anna") as desk:
            paint(desk, 100)
            desk.save()
            paint(desk, 300)
            modes = {p.name: p.stat().st_mode for p in worklist.folder.rglob("*")}
    finally:
        os.umask(before)
    assert set(modes) >= {"lock", "log.jsonl", "strokes.journal"}
    assert [name for name, mode in modes.items() if not mode & 0o020] == []
    monkeypatch.setattr(Path, "touch", denied)
    worklist.open("case_1", "bert").close()
