"""Parts of fine-tuning that need no network: what is held out, labels, verdicts, versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batch_fakes import write_bundle
from unetr_app.bundle import read_card
from unetr_app.errors import (
    DeviceMemory,
    InvalidRequest,
    UnreadableInput,
    UnusableBundle,
    UnwritableOutput,
)
from unetr_app.finetuning import Finetuned, FinetuneOptions, LabelScore
from unetr_app.finetuning.base_bundle import BaseBundle
from unetr_app.finetuning.holding_out import FEWEST_TRAINED, held_out
from unetr_app.finetuning.label_match import mapped, match_labels
from unetr_app.finetuning.new_bundle import copy_base, next_version
from unetr_app.finetuning.result import label_scores
from unetr_app.finetuning.runner import _is_the_bases_own
from unetr_app.finetuning.training_case import TrainingCase, read_dataset
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation

LABELS = LabelSet.from_names({1: "liver", 2: "spleen"})


def _case(name: str, subject: str = "", fold: int | None = None) -> TrainingCase:
    return TrainingCase(name, Path(name), Path(name), subject or name, fold)


@given(
    subjects=st.lists(st.integers(0, 12), min_size=1, max_size=30),
    folds=st.none() | st.integers(1, 5), seed=st.integers(0, 9),
)  # fmt: skip
def test_no_subject_is_on_both_sides_and_both_sides_have_cases(
    subjects: list[int], folds: int | None, seed: int
) -> None:
    cases = [
        _case(f"c{n:02}", f"s{who}", None if folds is None else n % folds)
        for n, who in enumerate(subjects)
    ]
    try:
        chosen = held_out(cases, seed=seed)
    except InvalidRequest:
        smallest = min(subjects.count(who) for who in set(subjects))
        few = len(set(subjects)) < 2 or len(subjects) - smallest < FEWEST_TRAINED
        assert few or len(set(subjects)) < FEWEST_TRAINED + 1
        return
    inside = {case.subject for case in cases if case.id in chosen}
    outside = {case.subject for case in cases if case.id not in chosen}
    assert inside
    assert outside
    assert not inside & outside
    assert len(cases) - len(chosen) >= FEWEST_TRAINED


def test_fold_0_is_held_out_where_the_data_set_has_folds() -> None:
    cases = [_case(f"c{n}", fold=n % 5) for n in range(10)]
    assert held_out(cases) == {"c0", "c5"}
    assert held_out(cases, fold=3) == {"c3", "c8"}
    with pytest.raises(InvalidRequest, match="fold 7"):
        held_out(cases, fold=7)


def test_all_cases_in_one_fold_are_dealt_anew() -> None:
    assert len(held_out([_case(f"c{n}", fold=0) for n in range(10)])) == 2
    assert len(held_out([_case(f"c{n}", fold=4) for n in range(4)])) == 1


def test_three_cases_are_too_few() -> None:
    with pytest.raises(InvalidRequest, match="3 cases of 3 subjects are too few"):
        held_out([_case(name) for name in "abc"])


@given(st.permutations([1, 2, 3]), st.integers(0, 99))
def test_labels_go_by_name_whatever_their_value(order: list[int], seed: int) -> None:
    names = ("one", "two", "three")
    data = LabelSet.from_names(dict(zip(order, names, strict=True)))
    bundle = LabelSet.from_names({5: "ONE", 7: "Two", 300: "three"})
    table = match_labels(data, bundle)
    values = np.random.default_rng(seed).integers(0, 4, (3, 4, 5)).astype(np.uint8)
    grid = Geometry((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    found = mapped(Segmentation(values, grid, data), table, bundle)
    for old, name in zip(order, names, strict=True):
        np.testing.assert_array_equal(found.mask(bundle.find(name).value), values == old)
    np.testing.assert_array_equal(found.data == 0, values == 0)


def test_a_missing_a_further_or_a_double_label_is_refused() -> None:
    for names in ({1: "liver"}, {1: "liver", 2: "spleen", 3: "cyst"}, {1: "liver", 2: "milz"}):
        with pytest.raises(InvalidRequest, match="1 liver, 2 spleen"):
            match_labels(LabelSet.from_names(names), LABELS)
    assert match_labels(LabelSet.from_names({1: "Milz", 2: "liver"}), LABELS, "milz=Spleen") == {
        1: 2, 2: 1,
    }  # fmt: skip
    with pytest.raises(InvalidRequest):
        match_labels(LabelSet.from_names({1: "a", 2: "b"}), LABELS, "a=liver,b=liver")


def _rows(*cases: tuple[float | None, float | None]) -> list[dict[str, object]]:
    return [{"case": str(n), "dice": {"1": a, "2": b}} for n, (a, b) in enumerate(cases)]


def _result(before: list[dict[str, object]], after: list[dict[str, object]]) -> Finetuned:
    labels, together, interval = label_scores(before, after, LABELS)
    return Finetuned(Path("x"), labels, together, interval, 3, 1.0, 0, ())


def test_verdicts() -> None:
    low, high = (0.5, 0.5), (0.9, 0.9)
    assert _result(_rows(low, low), _rows(high, high)).verdict == "better"
    assert _result(_rows(low), _rows(high)).verdict == "unclear"  # one case tells little
    assert _result(_rows(low, high, low), _rows(high, low, high)).verdict == "unclear"
    assert _result(_rows(high, high), _rows(low, low)).verdict == "worse"
    same = _result(_rows(low), _rows(low))
    assert same.verdict == "worse"
    assert "do not use" in same.advice


def test_what_is_absent_from_the_reference_counts_only_where_something_was_found() -> None:
    labels, together, _ = label_scores(
        _rows((0.5, None), (0.7, 0.0)), _rows((0.6, None), (0.8, None)), LABELS
    )
    assert labels[0] == LabelScore("liver", pytest.approx(0.6), pytest.approx(0.7), 2)
    assert labels[1] == LabelScore("spleen", 0.0, 1.0, 1)
    assert together == LabelScore(
        "all labels", pytest.approx((0.5 + 0.35) / 2), pytest.approx((0.6 + 0.9) / 2), 2
    )


@pytest.mark.parametrize("bad", [{"epochs": 0}, {"learning_rate": float("nan")}, {"seed": -1},
                                 {"device": "cuda'); import os; ('"}])  # fmt: skip
def test_options_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        FinetuneOptions(**bad)  # pyright: ignore[reportArgumentType]


def test_versions_rise() -> None:
    assert [next_version(v) for v in ("0.1.0", "1.9.7", "3")] == ["0.2.0", "1.10.0", "3.1.0"]


def test_damaged_data_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"no dataset\.json"):
        read_dataset(tmp_path)
    row = {"image": "a.nii.gz", "label": "b.nii.gz"}
    for text in (
        "{",
        "[]",
        '{"training": 3}',
        json.dumps({"training": [row], "labels": {"1": "x"}}),
    ):
        (tmp_path / "dataset.json").write_text(text)
        with pytest.raises(UnreadableInput):
            read_dataset(tmp_path)


def test_a_base_that_cannot_be_written_to_gives_a_bundle_that_can(tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "base")
    (source / "scripts" / "models").mkdir(parents=True)  # programs, not weights
    (source / "scripts" / "models" / "net.py").write_text("")
    (source / "models" / "older.pt").write_bytes(b"older")
    for path in [*source.rglob("*"), source]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        base = BaseBundle(read_card(source), Path("models/model.pt"), 1)
        copy_base(base, tmp_path / "new")
    finally:
        for path in [source, *source.rglob("*")]:
            path.chmod(0o755)
    made = {path.relative_to(tmp_path / "new").as_posix() for path in (tmp_path / "new").rglob("*")}
    assert "scripts/models/net.py" in made
    assert "models/older.pt" not in made
    assert (tmp_path / "new" / "models" / "model.pt").read_bytes() == b"weights"
    assert all(path.stat().st_mode & 0o200 for path in (tmp_path / "new").rglob("*"))


def test_a_copy_that_somebody_changed_is_made_anew_before_it_runs(tmp_path: Path) -> None:
    base = BaseBundle(read_card(write_bundle(tmp_path / "base")), Path("models/model.pt"), 1)
    copy = tmp_path / "new"
    copy_base(base, copy)
    weights = copy / "models" / "model.pt"
    weights.write_bytes(b"trained")
    copy_base(base, copy)
    assert weights.read_bytes() == b"trained"  # a stopped run goes on
    (copy / "configs" / "inference.yaml").write_text("network_def: a stranger's\n")
    copy_base(base, copy)
    assert (copy / "configs" / "inference.yaml").read_text() == "network_def: a threshold\n"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), MemoryError(), ValueError("odd")])
def test_what_a_child_raises_comes_to_its_parent_in_words(error: Exception, tmp_path: Path) -> None:
    from unetr_app.finetuning import child, child_process

    around = RuntimeError("a handler failed")
    around.__cause__ = error
    child._tell(around, tmp_path / "error.json")
    found = child_process._error_of(1, tmp_path / "error.json")
    kind = {"OSError": UnwritableOutput, "MemoryError": DeviceMemory, "ValueError": UnusableBundle}
    assert type(found) is kind[type(error).__name__]
    assert ("full" in str(found)) == isinstance(error, OSError)


def test_held_out_labels_of_the_base_itself_are_told_of() -> None:
    assert [_is_the_bases_own({"dice": dice}) for dice in (
        {"1": 1.0, "2": 1.0}, {"1": 1.0, "2": None}, {"1": 1.0, "2": 0.9999}, {"1": None}
    )] == [True, True, False, False]  # fmt: skip
