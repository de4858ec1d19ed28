"""A Decathlon folder is sound or its faults are named; folds depend on names and seed alone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from data import phantom
from data.msd import deal_folds, open_msd, verify
from data.phantom_files import write_nifti
from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry


@pytest.fixture
def folder(tmp_path):
    return phantom.write_msd_dataset(tmp_path / "set", cases=7, shape=(16, 18, 14))


def edit(folder, change):
    path = folder / "dataset.json"
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))
    return about


def without_folds(folder):
    edit(folder, lambda about: [row.pop("fold") for row in about["training"]])


def test_a_sound_set_has_no_faults_and_its_progress_reaches_the_end(folder):
    seen = []
    dataset = open_msd(folder)
    assert verify(dataset, progress=lambda *n: seen.append(n)) == []
    assert seen[-1] == (7, 7)
    assert dataset.labels.names == ("Anterior", "Posterior")


def test_faults_are_named_and_the_other_cases_are_still_checked(folder):
    rows = open_msd(folder).training
    image = folder / rows[1]["image"]
    image.write_bytes(image.read_bytes()[:-200])
    label = folder / rows[3]["label"]
    write_nifti(np.zeros((5, 6, 7), np.uint8), Geometry((5, 6, 7), np.eye(4)), label)
    other = folder / rows[5]["label"]
    grid = read_geometry(folder / rows[5]["image"])
    write_nifti(np.full(grid.shape, 9, np.uint8), grid, other)
    faults = verify(open_msd(folder))
    assert [type(f) for f in faults] == [UnreadableInput, UnsafeGeometry, InvalidRequest]
    assert [f.cause.split(":")[0] for f in faults[:2]] == [image.name, label.name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda about: about.update(numTraining=9), "states 9 cases and lists 7"),
        (lambda about: about.pop("labels"), "no Decathlon table"),
        (lambda about: about.update(training=["x"]), "no Decathlon table"),
        (lambda about: about["training"][0].update(image="../x.nii.gz"), "outside"),
        (lambda about: about["training"][0].update(label="./labelsTr/no.nii.gz"), "not there"),
    ],
)
def test_a_table_that_lies_is_refused(folder, change, said):
    edit(folder, change)
    with pytest.raises(UnreadableInput, match=said):
        open_msd(folder)


def test_a_folder_without_a_table_is_refused_with_a_cure(tmp_path):
    with pytest.raises(UnreadableInput, match="imagesTr"):
        open_msd(tmp_path)


def test_folds_are_dealt_evenly_and_by_name_alone(folder):
    without_folds(folder)
    assert deal_folds(open_msd(folder), folds=3, seed=4)
    dealt = {row["image"]: row["fold"] for row in open_msd(folder).training}
    assert sorted(np.bincount(list(dealt.values())).tolist()) == [2, 2, 3]

    without_folds(folder)
    edit(folder, lambda about: about["training"].reverse())
    deal_folds(open_msd(folder), folds=3, seed=4)
    assert dealt == {row["image"]: row["fold"] for row in open_msd(folder).training}

    without_folds(folder)
    deal_folds(open_msd(folder), folds=3, seed=5)
    assert dealt != {row["image"]: row["fold"] for row in open_msd(folder).training}


def test_folds_that_are_there_are_left(folder):
    before = (folder / "dataset.json").read_bytes()
    assert not deal_folds(open_msd(folder))
    assert (folder / "dataset.json").read_bytes() == before


def test_folds_for_some_cases_only_are_refused(folder):
    edit(folder, lambda about: about["training"][2].pop("fold"))
    with pytest.raises(UnreadableInput, match="6 of 7 cases have a fold"):
        deal_folds(open_msd(folder))


def test_the_shared_hippocampus_set_is_sound_in_its_first_cases(shared):
    dataset = open_msd(shared / "data" / "Task04_Hippocampus")
    assert len(dataset.training) == 200
    assert {row["fold"] for row in dataset.training} == {0, 1, 2, 3, 4}
    first = type(dataset)(dataset.folder, dataset.name, dataset.labels, dataset.training[:12])
    assert verify(first) == []
