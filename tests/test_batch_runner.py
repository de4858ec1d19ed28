from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.batch_fakes import (
    SHAPE,
    FakeCard,
    FakeSegmenter,
    Limit,
    manifest_of,
    results_of,
    truth,
    write_bundle,
    write_case,
    write_cases,
)
from unetr_app.batch import work
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.progress import Progress
from unetr_app.batch.runner import run_batch
from unetr_app.batch.segmenting import OnDemand
from unetr_app.cases import find_cases
from unetr_app.errors import DeviceMemory, UnusableWeights, UnwritableOutput
from unetr_app.inference.prepared import Prepared
from unetr_app.io import read_geometry, read_label_map
from unetr_app.volume import Segmentation, Volume

PLAIN = BatchOptions(preview=False)


@pytest.fixture
def card(tmp_path: Path) -> FakeCard:
    return FakeCard(write_bundle(tmp_path / "bundle"))


@pytest.fixture
def segmenter(card: FakeCard) -> FakeSegmenter:
    return FakeSegmenter(card)


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    write_cases(tmp_path / "in", 4)
    return tmp_path / "in"


@pytest.mark.parametrize("jobs", [0, 1, 3])
def test_each_case_gets_its_label_map_measurements_and_rows(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, jobs: int
):
    out = tmp_path / "out"
    result = run_batch(find_cases(inputs), segmenter, out=out, options=replace(PLAIN, jobs=jobs))
    ids = [f"case_{n:02d}" for n in range(4)]
    assert [o.case_id for o in result.done] == ids
    assert result.inputs == 4
    rows = manifest_of(out)
    assert [row["case_id"] for row in rows] == ids
    for n, row in enumerate(rows):
        found = read_label_map(out / ids[n] / "labels.nii.gz")
        assert np.array_equal(found.label_map, truth(n))
        assert found.geometry.is_close(read_geometry(inputs / f"case_{n:02d}.nii.gz"), 1e-4)
        assert row["status"] == "done"
        assert row["error"] is None
        assert row["input"] == str(inputs / f"case_{n:02d}.nii.gz")
        assert row["outputs"] == [f"{ids[n]}/labels.nii.gz", f"{ids[n]}/measurements.json"]
        assert row["bundle"]["weights_hash"] == segmenter.card.weights_hash  # pyright: ignore
        assert (out / str(row["input_from_manifest"])).resolve() == Path(str(row["input"]))
    lines = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert [(line["case_id"], line["label"]) for line in lines] == [
        (i, v) for i in ids for v in "12"
    ]
    for line in lines:
        expected = np.count_nonzero(truth(int(line["case_id"][-2:])) == int(line["label"]))
        assert int(line["voxels"]) == expected
        assert float(line["millilitres"]) == pytest.approx(expected * 1.0 * 1.5 * 2.5 / 1000)
    assert sorted(p.name for p in out.iterdir()) == [*ids, "manifest.jsonl", "summary.csv"]


@dataclass
class _Ahead(FakeSegmenter):
    """Segments a case only when the next one is prepared, or says that it never was."""

    prepared: list[str] = field(default_factory=list)
    in_vain: list[str] = field(default_factory=list)

    def prepare(self, volume: Volume) -> Volume:
        self.prepared.append(Path(volume.source).name)
        if self.prepared[-1] in self.in_vain:
            raise MemoryError("not enough memory")
        return volume

    def segment(self, volume: Volume | Prepared, **more: Any) -> Segmentation:
        assert isinstance(volume, Volume)
        number = int(Path(volume.source).name[5:7])
        waited = time.monotonic()
        while number < 3 and f"case_{number + 1:02d}.nii.gz" not in self.prepared:
            assert time.monotonic() - waited < 20, "the next case was not prepared"
            time.sleep(0.01)
        return super().segment(volume, **more)


@pytest.mark.parametrize("in_vain", [[], ["case_02.nii.gz"]])
def test_the_next_case_is_prepared_while_this_one_is_segmented(
    tmp_path: Path, inputs: Path, in_vain: list[str]
):
    segmenter = _Ahead(FakeCard(write_bundle(tmp_path / "bundle")), in_vain=in_vain)
    options = replace(PLAIN, jobs=1)
    result = run_batch(find_cases(inputs), segmenter, out=tmp_path / "out", options=options)
    assert len(result.done) == 4
    assert len(segmenter.prepared) == 4


def test_the_number_of_jobs_changes_no_byte(tmp_path: Path, inputs: Path, segmenter: FakeSegmenter):
    cases = find_cases(inputs)[:3]
    for jobs in (0, 2):
        options = BatchOptions(jobs=jobs, split_labels=True)
        run_batch(cases, segmenter, out=tmp_path / f"out{jobs}", options=options)
    assert results_of(tmp_path / "out0") == results_of(tmp_path / "out2")
    assert (tmp_path / "out0/case_00/preview.png").read_bytes().startswith(b"\x89PNG")


def test_one_bad_case_spoils_no_other(tmp_path: Path, inputs: Path, segmenter: FakeSegmenter):
    clean, out = tmp_path / "clean", tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=clean, options=PLAIN)
    bad = inputs / "case_01.nii.gz"
    bad.write_bytes(bad.read_bytes()[:-40])
    result = run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert [o.case_id for o in result.failed] == ["case_01"]
    assert len(result.done) == 3
    row = manifest_of(out)[1]
    assert row["status"] == "failed"
    assert row["outputs"] == []
    assert row["error"]["code"] == "unreadable-input"  # pyright: ignore
    assert "case_01.nii.gz" in row["error"]["cause"]  # pyright: ignore
    assert row["error"]["cure"]  # pyright: ignore
    assert not (out / "case_01").exists()
    expected = {k: v for k, v in results_of(clean).items() if k.startswith("case_0")}
    found = {k: v for k, v in results_of(out).items() if k.startswith("case_0")}
    assert found == {k: v for k, v in expected.items() if not k.startswith("case_01")}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "device-memory"),
        (DeviceMemory("full", cure="Use --device cpu."), "device-memory"),
        (KeyError("Jane Doe"), "unexpected"),
        (UnusableWeights("odd", cure="-"), "unusable-weights"),
    ],
)
def test_whatever_the_network_raises_the_rest_goes_on(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, error: Exception, code: str
):
    segmenter.fails["case_02.nii.gz"] = error
    result = run_batch(find_cases(inputs), segmenter, out=tmp_path / "out", options=PLAIN)
    assert [o.case_id for o in result.failed] == ["case_02"]
    assert len(result.done) == 3
    problem = result.failed[0].error
    assert problem is not None
    assert problem.code == code
    assert "Jane" not in (tmp_path / "out/manifest.jsonl").read_text()
    assert not (tmp_path / "out/debug.log").exists()


def test_debug_keeps_the_details(tmp_path: Path, inputs: Path, segmenter: FakeSegmenter):
    segmenter.fails["case_02.nii.gz"] = KeyError("the details")
    options = replace(PLAIN, debug=True)
    run_batch(find_cases(inputs), segmenter, out=tmp_path / "out", options=options)
    assert "KeyError: 'the details'" in (tmp_path / "out/debug.log").read_text()


def test_a_second_run_does_nothing(tmp_path: Path, inputs: Path, segmenter: FakeSegmenter):
    out = tmp_path / "out"
    first = run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    times = {p: p.stat().st_mtime_ns for p in out.glob("case_*/*")}
    before, rows = results_of(out), manifest_of(out)
    segmenter.seen.clear()
    os.utime(inputs / "case_00.nii.gz")
    second = run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert segmenter.seen == []
    assert len(second.skipped) == 4
    assert [o.outputs for o in second] == [o.outputs for o in first]
    assert (results_of(out), manifest_of(out)) == (before, rows)
    assert {p: p.stat().st_mtime_ns for p in out.glob("case_*/*")} == times


def test_a_batch_in_which_all_is_done_opens_no_bundle(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, card: FakeCard
):
    run_batch(find_cases(inputs), segmenter, out=tmp_path / "out", options=PLAIN)

    def opened() -> FakeSegmenter:
        raise AssertionError("opened")

    lazy = OnDemand(card, opened)
    assert (
        len(run_batch(find_cases(inputs), lazy, out=tmp_path / "out", options=PLAIN).skipped) == 4
    )


def test_a_changed_input_is_redone_and_no_other(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    path = inputs / "case_02.nii.gz"
    status = path.stat()
    write_case(path, 7)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # the clock does not tell
    segmenter.seen.clear()
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert segmenter.seen == ["case_02.nii.gz"]
    assert np.array_equal(read_label_map(out / "case_02/labels.nii.gz").label_map, truth(7))


def test_changed_weights_options_and_overwrite_redo_all(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    other = FakeSegmenter(replace(segmenter.card, weights_hash="00"))
    run_batch(find_cases(inputs), other, out=out, options=PLAIN)
    assert len(other.seen) == 4
    run_batch(find_cases(inputs), other, out=out, options=replace(PLAIN, labels=(2,)))
    assert len(other.seen) == 8
    run_batch(find_cases(inputs), other, out=out, options=replace(PLAIN, labels=(2,)))
    assert len(other.seen) == 8
    options = replace(PLAIN, labels=(2,), overwrite=True)
    run_batch(find_cases(inputs), other, out=out, options=options)
    assert len(other.seen) == 12


@pytest.mark.parametrize("harm", ["cut", "gone", "changed"])
def test_a_damaged_result_is_redone(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, harm: str
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    before = results_of(out)
    victim = out / "case_03/labels.nii.gz"
    if harm == "gone":
        victim.unlink()
    else:
        content = bytearray(victim.read_bytes())
        content[-1] ^= 1
        victim.write_bytes(content if harm == "changed" else content[:-5])
    segmenter.seen.clear()
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert segmenter.seen == ["case_03.nii.gz"]
    assert results_of(out) == before


def test_a_failed_redo_leaves_nothing_that_could_be_taken_for_its_result(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    options = replace(PLAIN, split_labels=True)
    run_batch(find_cases(inputs), segmenter, out=out, options=options)
    (out / "case_00/notes.txt").write_text("mine")
    for n in (0, 1):
        (inputs / f"case_0{n}.nii.gz").write_bytes(b"no image")
    result = run_batch(find_cases(inputs), segmenter, out=out, options=options)
    assert [o.case_id for o in result.failed] == ["case_00", "case_01"]
    assert [p.name for p in (out / "case_00").iterdir()] == ["notes.txt"]
    assert not (out / "case_01").exists()
    assert "case_00" not in (out / "summary.csv").read_text()
    assert len(result.skipped) == 2


def test_a_failed_case_is_tried_again_and_its_row_replaced(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    segmenter.fails["case_02.nii.gz"] = MemoryError()
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    segmenter.fails.clear()
    segmenter.seen.clear()
    result = run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert segmenter.seen == ["case_02.nii.gz"]
    assert not result.failed
    assert [row["status"] for row in manifest_of(out)] == ["done"] * 4


def test_two_inputs_of_one_name_in_two_runs_keep_two_results(
    tmp_path: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    write_case(tmp_path / "a/scan.nii.gz", 1)
    write_case(tmp_path / "b/scan.nii.gz", 2)
    for _ in range(2):
        for folder in "ab":
            run_batch(find_cases(tmp_path / folder), segmenter, out=out, options=PLAIN)
    assert len(segmenter.seen) == 2
    rows = manifest_of(out)
    assert [Path(str(row["input"])).parent.name for row in rows] == ["a", "b"]
    for row, seed in zip(rows, (1, 2), strict=True):
        found = read_label_map(out / str(row["case_id"]) / "labels.nii.gz")
        assert np.array_equal(found.label_map, truth(seed))


def test_a_moved_input_is_known_by_its_content(tmp_path: Path, segmenter: FakeSegmenter):
    out = tmp_path / "out"
    write_case(tmp_path / "old/scan.nii.gz", 1)
    run_batch(find_cases(tmp_path / "old"), segmenter, out=out, options=PLAIN)
    shutil.move(tmp_path / "old", tmp_path / "new")
    result = run_batch(find_cases(tmp_path / "new"), segmenter, out=out, options=PLAIN)
    assert [o.case_id for o in result.skipped] == ["scan"]
    (row,) = manifest_of(out)
    assert row["input_from_manifest"] == "../new/scan.nii.gz"


def test_a_subset_of_labels_and_a_mask_for_each(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    options = replace(PLAIN, labels=(2,), split_labels=True)
    run_batch(find_cases(inputs), segmenter, out=out, options=options)
    found = read_label_map(out / "case_00/labels.nii.gz").label_map
    assert np.array_equal(found, np.where(truth(0) == 2, 2, 0))
    assert [p.name for p in (out / "case_00/labels").iterdir()] == ["bright-body.nii.gz"]
    mask = read_label_map(out / "case_00/labels/bright-body.nii.gz").label_map
    assert np.array_equal(mask, truth(0) == 2)
    measured = json.loads((out / "case_00/measurements.json").read_text())
    assert [row["name"] for row in measured["labels"]] == ["Bright body"]
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert not (out / "case_00/labels").exists()


def test_an_unfit_image_is_refused_unless_forced_and_not_kept_without(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    strict = FakeSegmenter(replace(segmenter.card, training_range=Limit(SHAPE[0] - 1)))
    cases = find_cases(inputs)
    refused = run_batch(cases, strict, out=out, options=PLAIN)
    assert {o.error.code for o in refused.failed if o.error} == {"unfit-input"}
    assert len(refused.failed) == 4
    assert strict.seen == []
    forced = run_batch(cases, strict, out=out, options=replace(PLAIN, force=True))
    assert [o.warnings for o in forced.done] == [("accepted by force: the image is too long",)] * 4
    assert len(run_batch(cases, strict, out=out, options=replace(PLAIN, force=True)).skipped) == 4
    assert len(run_batch(cases, strict, out=out, options=PLAIN).failed) == 4
    assert not (out / "case_00").exists()


def test_force_alone_redoes_nothing_that_was_fit(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    result = run_batch(find_cases(inputs), segmenter, out=out, options=replace(PLAIN, force=True))
    assert len(result.skipped) == 4


def test_a_picture_that_cannot_be_drawn_is_a_warning(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("unetr_app.pictures.preview", broken)
    result = run_batch(find_cases(inputs), segmenter, out=tmp_path / "out")
    assert len(result.done) == 4
    assert result[0].warnings == ("no preview could be drawn (RuntimeError)",)
    assert len(run_batch(find_cases(inputs), segmenter, out=tmp_path / "out").skipped) == 4


def test_asked_to_stop_it_drops_the_case_at_hand_and_can_go_on(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    heard: list[Progress] = []

    def should_stop() -> bool:
        return sum(p.stage == "segmenting" and p.windows[0] == 2 for p in heard) >= 2

    result = run_batch(
        find_cases(inputs), segmenter, out=out, options=PLAIN,
        on_progress=heard.append, should_stop=should_stop,
    )  # fmt: skip
    assert [o.case_id for o in result.done] == ["case_00"]
    assert result.remaining == ("case_01", "case_02", "case_03")
    assert result.stopped is not None
    assert result.stopped.code == "cancelled"
    assert sorted(p.name for p in out.iterdir()) == ["case_00", "manifest.jsonl", "summary.csv"]
    again = run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    assert (len(again.skipped), len(again.done)) == (1, 3)


def test_progress_tells_windows_and_ends(tmp_path: Path, inputs: Path, segmenter: FakeSegmenter):
    heard: list[Progress] = []
    run_batch(
        find_cases(inputs), segmenter, out=tmp_path / "out", options=PLAIN, on_progress=heard.append
    )
    ends = [p for p in heard if p.stage == "ended"]
    assert [(p.case_id, p.ended, p.cases) for p in ends] == [
        (f"case_{n:02d}", n + 1, 4) for n in range(4)
    ]
    windows = [p.windows for p in heard if p.stage == "segmenting" and p.case_id == "case_01"]
    assert windows == [(0, 0), (1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_bundle_that_does_not_open_ends_the_batch_and_blames_no_case(
    tmp_path: Path, inputs: Path, card: FakeCard
):
    def opened() -> FakeSegmenter:
        raise UnusableWeights("the weights are damaged", cure="Fetch them again.")

    result = run_batch(
        find_cases(inputs), OnDemand(card, opened), out=tmp_path / "out", options=PLAIN
    )
    assert isinstance(result.stopped, UnusableWeights)
    assert len(result.remaining) == 4
    assert list((tmp_path / "out").iterdir()) == []


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_full_disk_stops_cleanly_and_the_next_run_completes(
    tmp_path: Path,
    inputs: Path,
    segmenter: FakeSegmenter,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
):
    out, clean = tmp_path / "out", tmp_path / "clean"
    options = replace(PLAIN, jobs=jobs)
    run_batch(find_cases(inputs), segmenter, out=clean, options=options)
    original = work.write_results

    def write(volume: object, *args: object, **kwargs: object) -> list[str]:
        if getattr(kwargs["case"], "id", "") == "case_01":
            with monkeypatch.context() as patch:
                patch.setattr("os.fsync", full)
                return original(volume, *args, **kwargs)  # pyright: ignore
        return original(volume, *args, **kwargs)  # pyright: ignore

    with monkeypatch.context() as patch:
        patch.setattr(work, "write_results", write)
        result = run_batch(find_cases(inputs), segmenter, out=out, options=options)
    assert isinstance(result.stopped, UnwritableOutput)
    assert "Free some space" in result.stopped.cure
    assert "MiB" in result.stopped.cure
    assert [o.case_id for o in result.failed] == ["case_01"]
    assert "case_00" in [o.case_id for o in result.done]
    assert "case_03" in result.remaining
    assert not (out / "case_01").exists()
    assert not list(out.rglob("*.part*"))
    assert not (out / ".working").exists()
    done = {k: v for k, v in results_of(out).items() if k.startswith("case_00")}
    assert done == {k: v for k, v in results_of(clean).items() if k.startswith("case_00")}
    assert not run_batch(find_cases(inputs), segmenter, out=out, options=options).failed
    assert results_of(out) == results_of(clean)


def test_a_full_disk_costs_no_earlier_good_result(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    before = results_of(out)
    monkeypatch.setattr(work, "write_results", full)
    options = replace(PLAIN, overwrite=True)
    result = run_batch(find_cases(inputs), segmenter, out=out, options=options)
    assert [o.case_id for o in result.failed] == ["case_00"]
    assert results_of(out) == before
    assert [row["status"] for row in manifest_of(out)] == ["done"] * 4


def test_a_row_that_cannot_be_kept_takes_its_results_with_it(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("unetr_app.batch.journal.append_line", full)
    options = replace(PLAIN, jobs=0)
    result = run_batch(find_cases(inputs), segmenter, out=tmp_path / "out", options=options)
    assert result.stopped is not None
    assert len(result.failed) == 1
    assert [p.name for p in (tmp_path / "out").iterdir()] in ([], ["manifest.jsonl"])


def test_an_input_is_never_overwritten_by_a_result(tmp_path: Path, segmenter: FakeSegmenter):
    out = tmp_path / "out"
    write_case(out / "scan/labels.nii.gz", 1)
    write_case(tmp_path / "scan.nii.gz", 2)
    before = (out / "scan/labels.nii.gz").read_bytes()
    cases = find_cases([out / "scan/labels.nii.gz", tmp_path / "scan.nii.gz"])
    result = run_batch(cases, segmenter, out=out, options=PLAIN)
    assert [o.case_id for o in result.failed] == ["scan"]
    assert (out / "scan/labels.nii.gz").read_bytes() == before


@pytest.mark.parametrize("link", ["case_00", "case_00/labels"])
def test_a_linked_folder_is_not_followed(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, link: str
):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.nii.gz").write_bytes(b"mine")
    (out / link).parent.mkdir(parents=True)
    (out / link).symlink_to(elsewhere)
    options = replace(PLAIN, split_labels=True)
    result = run_batch(find_cases(inputs), segmenter, out=out, options=options)
    assert [o.case_id for o in result.failed] == ["case_00"]
    assert [p.name for p in elsewhere.iterdir()] == ["mine.nii.gz"]
    assert manifest_of(out)[0]["status"] == "failed"


def test_a_linked_manifest_is_not_written_through(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.txt"
    out.mkdir()
    elsewhere.write_text("mine")
    (out / "manifest.jsonl").symlink_to(elsewhere)
    options = replace(PLAIN, jobs=0)
    result = run_batch(find_cases(inputs), segmenter, out=out, options=options)
    assert not result.done
    assert elsewhere.read_text() == "mine"


def test_edited_measurements_of_another_case_do_not_stop_a_batch(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    out = tmp_path / "out"
    run_batch(find_cases(inputs), segmenter, out=out, options=PLAIN)
    edited = {"labels": [{"value": 1, "name": "Body"}, "what", {"value": 2}]}
    (out / "case_00/measurements.json").write_text(json.dumps(edited))
    result = run_batch(find_cases(inputs)[1:], segmenter, out=out, options=PLAIN)
    assert result.stopped is None
    lines = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert lines[0] == dict.fromkeys(lines[0], "") | {
        "case_id": "case_00", "label": "1", "name": "Body",
    }  # fmt: skip
    assert [line["case_id"] for line in lines[1:3]] == ["case_01"] * 2


def test_an_output_folder_that_cannot_be_made_is_said_at_once(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter
):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="output folder"):
        run_batch(find_cases(inputs), segmenter, out=tmp_path / "file/out", options=PLAIN)


def test_reading_runs_ahead_of_the_network_by_as_many_cases_as_jobs(
    tmp_path: Path, inputs: Path, segmenter: FakeSegmenter, monkeypatch: pytest.MonkeyPatch
):
    read: list[str] = []
    original = work.read_volume

    def watched(case: object, **options: object) -> object:
        read.append(case.id)  # pyright: ignore
        return original(case, **options)  # pyright: ignore

    monkeypatch.setattr(work, "read_volume", watched)
    most_ahead: list[int] = []

    def on_progress(progress: Progress) -> None:
        if progress.stage == "segmenting" and progress.windows[0] == 1:
            time.sleep(0.05)
            most_ahead.append(len(read) - len(segmenter.seen))

    run_batch(
        find_cases(inputs), segmenter, out=tmp_path / "out", options=replace(PLAIN, jobs=2),
        on_progress=on_progress,
    )  # fmt: skip
    assert max(most_ahead) <= 2
