import numpy as np
import pytest

from unetr_app.evaluation import (
    CaseComparison,
    LabelComparison,
    Statistic,
    bootstrap_interval,
    summarise,
)


def row(value, dice, status="compared"):
    return LabelComparison(value, f"label_{value}", status, 1.0, 1.0, dice=dice)


CASES = [
    CaseComparison("a", (row(1, 0.9), row(2, 0.8))),
    CaseComparison("b", (row(1, 0.7), row(2, None, "absent"))),
    CaseComparison("c", (row(1, 0.0, "missed"), row(2, 0.4))),
]


def test_each_label_has_mean_median_and_interval_over_its_cases():
    first, second, _ = summarise(CASES)
    assert (first.value, first.name) == (1, "label_1")
    dice = first.metrics["dice"]
    assert (dice.cases, dice.median) == (3, 0.7)
    assert dice.mean == pytest.approx((0.9 + 0.7 + 0.0) / 3)
    assert dice.interval == bootstrap_interval([0.9, 0.7, 0.0])
    assert second.metrics["dice"].cases == 2  # absent is left out
    assert second.metrics["dice"].mean == pytest.approx(0.6)


def test_a_failure_counts_and_absence_does_not():
    first, second, together = summarise(CASES)
    assert first.statuses == {"compared": 2, "missed": 1, "spurious": 0, "absent": 0}
    assert second.statuses == {"compared": 2, "missed": 0, "spurious": 0, "absent": 1}
    assert together.statuses == {"compared": 4, "missed": 1, "spurious": 0, "absent": 1}


def test_all_labels_is_the_mean_over_cases_of_each_case_s_mean():
    together = summarise(CASES)[-1]
    means = [(0.9 + 0.8) / 2, 0.7, (0.0 + 0.4) / 2]
    assert (together.value, together.name) == (None, "all labels")
    assert together.metrics["dice"].mean == pytest.approx(np.mean(means))
    assert together.metrics["dice"].median == pytest.approx(np.median(means))


def test_a_metric_that_no_case_has_is_empty():
    assert summarise(CASES)[0].metrics["hd95_mm"] == Statistic(0, None, None, None)


def test_no_case_gives_no_summary():
    assert summarise([]) == []
