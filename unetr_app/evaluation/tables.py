"""Tables: an evaluation as CSV text and as values that JSON can hold."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from unetr_app.evaluation.comparison import CaseComparison
from unetr_app.evaluation.metrics import METRICS
from unetr_app.evaluation.summary import LabelSummary, Statistic

_DIGITS = 6
COLUMNS = (
    "case_id", "label", "name", "status", "prediction_ml", "reference_ml",
    *(metric.key for metric in METRICS),
)  # fmt: skip


def cases_csv(cases: Sequence[CaseComparison]) -> str:
    """One row a case and label; cells that have no number are empty.

    Args:
        cases: In the order in which they are written.

    Returns:
        CSV text with a heading, UTF-8 letters, line feeds.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for case in cases:
        for row in case.labels:
            numbers = [getattr(row, key) for key in COLUMNS[4:]]
            table.writerow(
                [case.case_id, row.value, row.name, row.status, *(_rounded(n) for n in numbers)]
            )
    return text.getvalue()


def summary_dict(summaries: Sequence[LabelSummary]) -> dict[str, Any]:
    """The summaries as JSON can hold them, under ``labels`` and ``all_labels``.

    Args:
        summaries: From `summarise`; the last one is that of all labels together.
    """
    told = [_summary(summary) for summary in summaries]
    return {"labels": told[:-1], "all_labels": told[-1] if told else None}


def _summary(summary: LabelSummary) -> dict[str, Any]:
    return {
        "label": summary.value,
        "name": summary.name,
        "statuses": dict(summary.statuses),
        "metrics": {key: _statistic(value) for key, value in summary.metrics.items()},
    }


def _statistic(value: Statistic) -> dict[str, Any]:
    interval = None if value.interval is None else [_rounded(bound) for bound in value.interval]
    return {
        "cases": value.cases,
        "mean": _rounded(value.mean),
        "median": _rounded(value.median),
        "interval_95": interval,
    }


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, _DIGITS)
