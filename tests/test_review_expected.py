from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from data.phantom import oblique_geometry
from unetr_app.bundle import list_bundles
from unetr_app.errors import InvalidRequest, UnusableBundle
from unetr_app.io import read_label_map
from unetr_app.labels import LabelSet
from unetr_app.review.expected import ExpectedRanges, trained_ranges
from unetr_app.review.flags import quality_flags, range_flags
from unetr_app.review.statistics import LabelStatistics, label_statistics

HIPPOCAMPUS = "hippocampus_mr_unetr_segmentation"


def case(millilitres, mean=None, name="Liver", voxels=10):
    box = (slice(1, 2), slice(1, 2), slice(1, 2))
    return (LabelStatistics(1, name, (1, 2, 3), voxels, millilitres, mean, box=box),)


def test_ranges_go_by_name_in_any_case():
    ranges = ExpectedRanges.from_metadata(
        {"Liver": {"millilitres": [800, 2500], "mean": [40, 140], "components": 2}, "Spleen": {}}
    )
    assert ranges.of("LIVER").mean == (40.0, 140.0)
    assert ranges.of("liver").components == 2
    assert ranges.of("spleen").millilitres is None
    assert ranges.of("kidney").components is None


@pytest.mark.parametrize(
    "row",
    [
        {"millilitres": [1]}, {"millilitres": [2, 1]}, {"mean": "ab"}, {"mean": 3},
        {"mean": [0, "x"]},
        {"millilitres": [0, float("nan")]}, {"components": "many"}, [1, 2], 7,
    ],
)  # fmt: skip
def test_damaged_ranges_are_refused(row):
    with pytest.raises(UnusableBundle, match="label_ranges"):
        ExpectedRanges.from_metadata({"Liver": row})


def test_the_usual_is_the_median_and_its_robust_deviation():
    rng = np.random.default_rng(4)
    volumes, means = rng.normal(1500, 200, 30), rng.normal(100, 10, 30)
    cases = [case(v, m) for v, m in zip(volumes, means, strict=True)]
    assert ExpectedRanges.of_cases(cases).of("liver").mean is None
    ranges = ExpectedRanges.of_cases(cases, intensities=True)
    for found, values in (
        (ranges.of("liver").millilitres, volumes),
        (ranges.of("liver").mean, means),
    ):
        middle = np.median(values)
        spread = 3.5 * 1.4826 * np.median(np.abs(values - middle))
        assert found == pytest.approx((middle - spread, middle + spread))
    assert ranges.source == "worklist"


def test_one_wild_case_does_not_widen_what_is_usual():
    volumes = [100.0, 101, 102, 103, 104, 105, 106, 107]
    plain = ExpectedRanges.of_cases([case(v) for v in volumes]).of("liver").millilitres
    wild = ExpectedRanges.of_cases([case(v) for v in [*volumes[:-1], 9000.0]])
    assert wild.of("liver").millilitres == plain
    flags = quality_flags(case(9000.0), oblique_geometry((4, 5, 6)), expected=wild)
    assert [flag.word for flag in flags] == ["volume"]
    assert "differs from the other cases" in flags[0].sentence
    assert list(flags) == range_flags(case(9000.0), wild)
    assert range_flags(case(9000.0, voxels=0), wild) == []


def test_few_cases_and_equal_ones_tell_nothing():
    assert ExpectedRanges.of_cases([case(v) for v in range(1, 8)]).of("liver").millilitres is None
    assert ExpectedRanges.of_cases([case(5.0)] * 20).of("liver").millilitres is None
    empty = [case(0.0, voxels=0)] * 8
    assert ExpectedRanges.of_cases([*empty, case(3.0)]).of("liver").millilitres is None


def test_no_volume_is_expected_below_nothing():
    volumes = [1.0, 1, 2, 5, 9, 14, 20, 30]
    low, high = ExpectedRanges.of_cases([case(v) for v in volumes]).of("liver").millilitres
    assert low == 0.0 < high


def test_every_bundle_names_its_own_labels():
    for card in list_bundles():
        ranges = trained_ranges(card.path)
        if ranges is not None:
            assert set(ranges.labels) == {name.casefold() for name in card.labels.names}
    assert trained_ranges(HIPPOCAMPUS) is not None


def test_a_bundle_that_says_nothing_or_nonsense(tmp_path, repository):
    folder = tmp_path / "bundle"
    shutil.copytree(repository / "bundles" / HIPPOCAMPUS / "configs", folder / "configs")
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["label_ranges"]
    file.write_text(json.dumps(metadata))
    assert trained_ranges(folder) is None
    file.write_text(json.dumps(metadata | {"label_ranges": [1]}))
    with pytest.raises(UnusableBundle, match="no table"):
        trained_ranges(folder)
    file.write_text("[" * 5)
    with pytest.raises(UnusableBundle, match="cannot be read"):
        trained_ranges(folder)
    with pytest.raises(InvalidRequest):
        trained_ranges(tmp_path)


def test_the_ranges_are_those_of_the_training_folds(shared):
    folder = shared / "data" / "Task04_Hippocampus"
    table = json.loads((folder / "dataset.json").read_text())
    labels = LabelSet.from_names({1: "Anterior hippocampus", 2: "Posterior hippocampus"})
    ranges = trained_ranges(HIPPOCAMPUS)
    volumes = {name: [] for name in labels.names}
    for row in table["training"]:
        if row["fold"] == 0:
            continue
        found = read_label_map(folder / row["label"], labels)
        for statistics in label_statistics(found.data, found.geometry, labels):
            volumes[statistics.name].append(statistics.millilitres)
    for name, found in volumes.items():
        low, high = ranges.of(name).millilitres
        assert low <= min(found) < low * 1.01
        assert high * 0.99 < max(found) <= high
