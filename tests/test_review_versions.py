"""Versions: each stays as it was saved, and says how it came about."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.review_out import made, paint, write_out
from unetr_app.errors import UnetrError, UnwritableOutput
from unetr_app.evaluation import dice
from unetr_app.geometry import Geometry
from unetr_app.labels import Code, Label, LabelSet
from unetr_app.review import versions as module
from unetr_app.review.desk import Desk
from unetr_app.review.label_table import labels_from, rows_of
from unetr_app.review.tallies import tally
from unetr_app.review.version import Version
from unetr_app.review.versions import Versions
from unetr_app.review.worklist import Worklist, open_worklist
from unetr_app.volume import Segmentation

GRID = Geometry((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))


@pytest.fixture
def worklist(tmp_path: Path) -> Worklist:
    return open_worklist(write_out(tmp_path, 1))


def saved(desk: Desk, begin: int) -> Version:
    paint(desk, begin)
    version = desk.save()
    assert version is not None
    return version


def contents(folder: Path) -> dict[str, str]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_a_version_never_touches_those_before_it(worklist: Worklist) -> None:
    source = contents(worklist.folder.parent / "case_1")
    before: dict[str, str] = {}
    with worklist.open("case_1", "anna") as desk:
        for n in range(3):
            version = saved(desk, 60 * n)
            assert version.number == n + 1
            assert before.items() <= contents(desk.versions.all()[0].folder.parent).items()
            before = contents(desk.versions.all()[0].folder.parent)
    assert contents(worklist.folder.parent / "case_1") == source


def test_what_was_saved_comes_back(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        saved(desk, 100)
        data = desk.history.data.copy()
    loaded = worklist.load("case_1")
    assert loaded.saved is not None
    assert np.array_equal(loaded.saved.data, data)
    assert loaded.saved.geometry == loaded.prediction.geometry
    assert np.array_equal(loaded.prediction.data, made(1)[1].data)


def test_masks_that_overlap_are_saved_as_masks(tmp_path: Path) -> None:
    out = write_out(tmp_path, 1)
    (out / "case_1" / "labels.nii.gz").unlink()
    worklist = open_worklist(out)
    with worklist.open("case_1", "anna") as desk:
        flat = desk.history.data.reshape(-1)
        where = np.flatnonzero(~flat)[:50].astype(np.int64)
        from unetr_app.review.editing.change import Change

        desk.history.apply(Change("brush", where, flat[where].copy(), ~flat[where]))
        desk.save()
        data = desk.history.data.copy()
    loaded = worklist.load("case_1")
    assert loaded.saved is not None
    assert loaded.saved.is_overlapping
    assert np.array_equal(loaded.saved.data, data)


def test_a_version_says_how_it_came_about(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        prediction = desk.loaded.prediction
        paint(desk, 100, 7, 2, "3D brush")
        paint(desk, 400, 3, 0 + 1, "fill")
        first = desk.save("asked for")
        second = saved(desk, 900)
    assert first is not None
    assert (first.reviewer, first.base, first.reason) == ("anna", 0, "asked for")
    assert first.steps == ("3D brush", "fill")
    assert (second.base, second.steps) == (1, ("brush",))
    labels = Versions(worklist.case_folder("case_1").versions).read(second, prediction.geometry)
    for edit in second.edits:
        reference = dice(labels.mask(edit.value), prediction.mask(edit.value))
        assert edit.dice_after == pytest.approx(reference, abs=1e-6)
        assert edit.voxels == int(labels.mask(edit.value).sum())
    assert first.edits[1].dice_before == 1.0
    assert second.edits[0].dice_before == first.edits[0].dice_after
    assert second.edits[0].added == 5
    assert second.source_hash
    assert second.prediction_hash
    assert second.when.endswith("+00:00")


def test_saving_what_did_not_change_makes_no_version(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        assert desk.save() is None
        paint(desk, 10)
        desk.history.undo()
        assert desk.save() is None
        saved(desk, 10)
        assert desk.save() is None
        assert len(desk.versions.all()) == 1


DAMAGE = {
    "deleted": lambda folder: shutil.rmtree(folder),
    "no description": lambda folder: (folder / "version.json").unlink(),
    "torn description": lambda folder: (folder / "version.json").write_text("{"),
    "another number": lambda folder: (folder / "version.json").write_text(
        (folder / "version.json").read_text().replace('"number": 2', '"number": 7')
    ),
    "edits that are none": lambda folder: (folder / "version.json").write_text(
        (folder / "version.json").read_text().replace('"added": ', '"added": "a", "was": ')
    ),
    "endless seconds": lambda folder: (folder / "version.json").write_text(
        (folder / "version.json").read_text().replace('"seconds": ', '"seconds": 1e999, "was": ')
    ),
    "no labels": lambda folder: (folder / "labels.nii.gz").unlink(),
    "torn labels": lambda folder: (folder / "labels.nii.gz").write_bytes(
        (folder / "labels.nii.gz").read_bytes()[:200]
    ),
    "other labels": lambda folder: shutil.copy(
        folder.parent / "0001" / "labels.nii.gz", folder / "labels.nii.gz"
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_version_gives_way_to_the_one_before(worklist: Worklist, damage: str) -> None:
    with worklist.open("case_1", "anna") as desk:
        saved(desk, 10)
        data = desk.history.data.copy()
        last = saved(desk, 500)
    DAMAGE[damage](last.folder)
    loaded = worklist.load("case_1")
    assert loaded.version is not None
    assert loaded.version.number == 1
    assert loaded.saved is not None
    assert np.array_equal(loaded.saved.data, data)
    assert damage == "deleted" or any("version 2" in words for words in loaded.warnings)
    with worklist.open("case_1", "anna") as desk:
        assert saved(desk, 800).number == 3  # a number is never given twice


def test_all_versions_damaged_leave_the_prediction(worklist: Worklist) -> None:
    with worklist.open("case_1", "anna") as desk:
        folder = saved(desk, 10).folder
    (folder / "labels.nii.gz").write_bytes(b"")
    loaded = worklist.load("case_1")
    assert loaded.labels is loaded.prediction
    assert "damaged" in loaded.warnings[0]


def test_a_version_that_cannot_be_written_leaves_nothing(
    worklist: Worklist, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise UnwritableOutput("the disk is full", cure="Free some space.")

    with worklist.open("case_1", "anna") as desk:
        saved(desk, 10)
        paint(desk, 500)
        painted = desk.history.data.copy()
        monkeypatch.setattr(module, "write_segmentation", full)
        with pytest.raises(UnwritableOutput, match="full"):
            desk.save()
        folder = worklist.case_folder("case_1").versions
        assert [p.name for p in folder.iterdir()] == ["0001"]
        assert desk.is_unsaved
    monkeypatch.undo()
    with worklist.open("case_1", "anna") as desk:
        assert np.array_equal(desk.history.data, painted)
        again = desk.save()
    assert again is not None
    assert again.number == 2


def test_two_processes_never_share_a_number(tmp_path: Path) -> None:
    code = """
import sys
import numpy as np
from pathlib import Path
from tests.test_review_versions import GRID, description
from unetr_app.labels import LabelSet
from unetr_app.review.versions import Versions
from unetr_app.volume import Segmentation
value = int(sys.argv[2])
labels = Segmentation(np.full(GRID.shape, value, np.uint8), GRID, LabelSet.from_names({1: "a", 2: "b"}))
for _ in range(12):
    Versions(Path(sys.argv[1])).add(labels, description(labels))
"""  # noqa: E501
    where = str(tmp_path / "versions")
    children = [subprocess.Popen([sys.executable, "-c", code, where, who]) for who in "12"]
    assert [child.wait(120) for child in children] == [0, 0]
    versions = Versions(tmp_path / "versions")
    assert versions.numbers() == list(range(1, 25))
    found = [int(versions.read(version, GRID).data.max()) for version in versions.all()]
    assert found.count(1) == found.count(2) == 12
    assert not [p for p in (tmp_path / "versions").iterdir() if p.name.startswith(".")]


def description(labels: Segmentation) -> Version:
    from unetr_app.review.editing.journal import base_hash

    return Version(0, "anna", "now", "saved", 0, labels.labels, is_overlapping=False,
                   labels_hash=base_hash(labels.data))  # fmt: skip


def test_a_version_of_another_grid_is_refused_with_the_cause(tmp_path: Path) -> None:
    labels = Segmentation(np.ones(GRID.shape, np.uint8), GRID, LabelSet.from_names({1: "a"}))
    versions = Versions(tmp_path)
    version = versions.add(labels, description(labels))
    assert np.array_equal(versions.read(version, GRID).data, labels.data)
    with pytest.raises(UnetrError, match="not the grid of"):
        versions.read(version, GRID.cropped((1, 0, 0), GRID.shape))


@given(st.data())
def test_tallies_equal_the_definition(data: st.DataObject) -> None:
    numbers = st.lists(st.integers(0, 3), min_size=60, max_size=60)
    names = LabelSet.from_names({1: "a", 2: "b", 3: "c"})
    now, before = (
        Segmentation(np.array(data.draw(numbers), np.uint8).reshape(GRID.shape), GRID, names)
        for _ in range(2)
    )
    masks = [
        Segmentation(np.stack([s.mask(v) for v in (1, 2, 3)]), GRID, names) for s in (now, before)
    ]
    assert tally(now, before) == tally(*masks)
    for value, found in tally(now, before).items():
        new, old = now.mask(value), before.mask(value)
        assert found.dice == pytest.approx(dice(new, old))
        assert found.added == int((new & ~old).sum())
        assert found.removed == int((old & ~new).sum())
        assert found.after == int(new.sum())


def test_names_colours_and_codes_survive_in_the_table() -> None:
    code = Code("SCT", "10200004", "Liver")
    labels = LabelSet((Label(3, "liver", (1, 2, 3), code, code), Label(9, "x", modifier=code)))
    assert labels_from(json.loads(json.dumps(rows_of(labels)))) == labels
