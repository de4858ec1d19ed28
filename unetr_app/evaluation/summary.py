"""Summary: what a set of compared cases says together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from unetr_app.evaluation.bootstrap import bootstrap_interval
from unetr_app.evaluation.comparison import CaseComparison, LabelComparison
from unetr_app.evaluation.metrics import METRICS

ALL_LABELS = "all labels"


@dataclass(frozen=True)
class Statistic:
    """One metric over cases.

    Args:
        cases: How many cases have it.
        mean: Mean over these; None where there is none.
        median: Median over these; None where there is none.
        interval: 95 % bootstrap interval of the mean; None for fewer than two cases.
    """

    cases: int
    mean: float | None
    median: float | None
    interval: tuple[float, float] | None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Statistic:
        """Build from one value a case; None (nothing to judge) is left out."""
        there = [value for value in values if value is not None]
        if not there:
            return cls(0, None, None, None)
        return cls(
            len(there), float(np.mean(there)), float(np.median(there)), bootstrap_interval(there)
        )


@dataclass(frozen=True)
class LabelSummary:
    """One label over cases, or all labels together.

    Args:
        value: The label's integer; None for all labels together.
        name: The label's name, or ``"all labels"``.
        statuses: How many rows have each status: compared, missed, spurious, absent.
        metrics: By the metric's key.
    """

    value: int | None
    name: str
    statuses: Mapping[str, int]
    metrics: Mapping[str, Statistic]


def summarise(cases: Sequence[CaseComparison]) -> list[LabelSummary]:
    """Summarise compared cases: one summary a label in order of value, then all labels together.

    All labels together: each case's mean over its labels, then over cases, so that a case counts
    once however many labels it has.

    Args:
        cases: Compared cases; each label has one name throughout.

    Returns:
        Summaries; none where there is no case.
    """
    if not cases:
        return []
    names = {row.value: row.name for case in cases for row in case.labels}
    summaries = [_label(value, names[value], cases) for value in sorted(names)]
    rows = [row for case in cases for row in case.labels]
    together = {m.key: Statistic.of(case.mean(m.key) for case in cases) for m in METRICS}
    return [*summaries, LabelSummary(None, ALL_LABELS, _statuses(rows), together)]


def _label(value: int, name: str, cases: Sequence[CaseComparison]) -> LabelSummary:
    rows = [row for case in cases for row in case.labels if row.value == value]
    metrics = {m.key: Statistic.of(getattr(row, m.key) for row in rows) for m in METRICS}
    return LabelSummary(value, name, _statuses(rows), metrics)


def _statuses(rows: Sequence[LabelComparison]) -> dict[str, int]:
    counted = [row.status for row in rows]
    return {s: counted.count(s) for s in ("compared", "missed", "spurious", "absent")}
