"""Report: an evaluation as one HTML page that needs nothing else, not even a script."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from unetr_app.evaluation import metrics
from unetr_app.evaluation.comparison import CaseComparison, LabelComparison
from unetr_app.evaluation.metrics import METRICS, Metric
from unetr_app.evaluation.plots import Strip, agreement_chart, strip_chart
from unetr_app.evaluation.style import STYLE
from unetr_app.evaluation.summary import LabelSummary, Statistic
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.version import __version__


@dataclass(frozen=True)
class Report:
    """What goes onto the page.

    Args:
        cases: Compared cases, in any order.
        summaries: From `summarise`; the last one is that of all labels together.
        pictures: Case id and PNG of the worst cases, worst first.
        tolerance_mm: Tolerance of the surface Dice, mm.
        failed: Case id and reason of each pair that could not be compared.
        only_predicted: Ids of predictions without a reference.
        only_reference: Ids of references without a prediction.
    """

    cases: Sequence[CaseComparison]
    summaries: Sequence[LabelSummary]
    pictures: Sequence[tuple[str, bytes]]
    tolerance_mm: float
    failed: Sequence[tuple[str, str]] = ()
    only_predicted: Sequence[str] = ()
    only_reference: Sequence[str] = ()


def html_page(report: Report) -> str:
    """The page: summary, plots, pictures of the worst cases, every case, definitions."""
    sections = [
        _heading(report),
        _unjudged(report),
        _summary(report.summaries),
        _distributions(report.cases, report.summaries),
        _agreement(report.cases, report.summaries),
        _pictures(report.pictures),
        _every_case(report.cases),
        _definitions(report.tolerance_mm),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation of segmentations</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + f"\n<footer><p>{escape(RESEARCH_NOTICE)} unetr-app {escape(__version__)}.</p></footer>\n"
        "</body>\n</html>\n"
    )


def _heading(report: Report) -> str:
    labels = len(report.summaries) - 1 if report.summaries else 0
    unjudged = len(report.failed) + len(report.only_predicted) + len(report.only_reference)
    said = f"{_count(len(report.cases), 'case')} compared, {_count(labels, 'label')}"
    if unjudged:
        said += f", {_count(unjudged, 'case')} without a result"
    return (
        f'<header><h1>Evaluation of segmentations</h1><p>{said}.</p><p class="notice">'
        f"{escape(RESEARCH_NOTICE)}</p></header>"
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _unjudged(report: Report) -> str:
    """Cases without numbers: what failed with the reason, what had no partner."""
    parts: list[str] = []
    if report.failed:
        rows = [[f"<th scope='row'>{escape(i)}</th>", _cell(why)] for i, why in report.failed]
        parts.append(_table(["Case", "Reason"], rows))
    for ids, noun, lacking in (
        (report.only_predicted, "prediction", "reference"),
        (report.only_reference, "reference", "prediction"),
    ):
        if ids:
            said = f"{_count(len(ids), noun)} without a {lacking}"
            listed = ", ".join(escape(i) for i in ids)
            parts.append(f"<details><summary>{said}</summary><p>{listed}</p></details>")
    return _section("Cases without a result", "".join(parts)) if parts else ""


def _summary(summaries: Sequence[LabelSummary]) -> str:
    if not summaries:
        return ""
    found = ["Label", ">Cases", ">Missed", ">Spurious", *(f">{m.heading}" for m in METRICS)]
    rows = [
        [
            f"<th scope='row'>{escape(summary.name)}</th>",
            _number(str(summary.metrics[metrics.DICE.key].cases)),
            _number(str(summary.statuses["missed"])),
            _number(str(summary.statuses["spurious"])),
            *(_statistic(summary.metrics[metric.key], metric) for metric in METRICS),
        ]
        for summary in summaries
    ]
    note = (
        "Mean and 95 % bootstrap interval of the mean; below, the median. Cases: how many have the "
        "label in prediction or reference. Missed: labels in the reference alone; spurious: in the "
        "prediction alone."
    )
    return _section("Summary", f"<p>{note}</p>{_table(found, rows)}")


def _statistic(value: Statistic, metric: Metric) -> str:
    interval = ""
    if value.interval is not None:
        low, high = (metric.format(bound) for bound in value.interval)
        interval = f"<br><small>{low} to {high}</small>"
    return (
        f'<td class="number">{metric.format(value.mean)}{interval}'
        f"<br><small>median {metric.format(value.median)}</small></td>"
    )


def _distributions(cases: Sequence[CaseComparison], summaries: Sequence[LabelSummary]) -> str:
    charts: list[str] = []
    for metric in (metrics.DICE, metrics.HD95):
        strips = _strips(cases, summaries, metric)
        lowest = min((value for strip in strips for value in strip.values), default=0.0)
        limits = (math.floor(lowest * 10) / 10, 1.0) if metric is metrics.DICE else None
        if limits == (1.0, 1.0):
            limits = (0.9, 1.0)
        charts.append(f"<h3>{escape(metric.heading)}</h3>")
        charts.append(strip_chart(metric.heading, strips, limits=limits))
    note = "Box: middle half of the cases; line: median; diamond: mean; dots: cases."
    return _section("Distributions", f"<p>{note}</p>{''.join(charts)}") if cases else ""


def _strips(
    cases: Sequence[CaseComparison], summaries: Sequence[LabelSummary], metric: Metric
) -> list[Strip]:
    strips: list[Strip] = []
    for summary in summaries[:-1]:
        rows = _rows(cases, summary)
        there = [(getattr(r, metric.key), i) for i, r in rows if getattr(r, metric.key) is not None]
        strips.append(Strip(summary.name, tuple(v for v, _ in there), tuple(i for _, i in there)))
    return strips


def _rows(
    cases: Sequence[CaseComparison], summary: LabelSummary
) -> list[tuple[str, LabelComparison]]:
    """Case id and row of one label, for each case that has it in prediction or reference."""
    return [
        (case.case_id, row)
        for case in cases
        for row in case.labels
        if row.value == summary.value and row.status != "absent"
    ]


def _agreement(cases: Sequence[CaseComparison], summaries: Sequence[LabelSummary]) -> str:
    charts: list[str] = []
    for summary in summaries[:-1]:
        rows = _rows(cases, summary)
        if rows:
            ids = [case_id for case_id, _ in rows]
            predicted = [row.prediction_ml for _, row in rows]
            reference = [row.reference_ml for _, row in rows]
            charts.append(agreement_chart(summary.name, predicted, reference, ids))
    note = (
        "Bland-Altman: difference against mean of the two volumes. Solid line: mean difference; "
        "dashed: limits of agreement, 1.96 standard deviations to either side."
    )
    body = f"<p>{note}</p><div class='panels'>{''.join(charts)}</div>"
    return _section("Agreement of volumes", body) if charts else ""


def _pictures(pictures: Sequence[tuple[str, bytes]]) -> str:
    if not pictures:
        return ""
    figures = [
        f"<figure><figcaption>{escape(case_id)}</figcaption>"
        f'<img alt="Prediction and reference of {escape(case_id)} in three planes" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}"></figure>'
        for case_id, png in pictures
    ]
    note = "Solid lines: prediction; dashed: reference. Each plane is cut where most voxels differ."
    return _section("Worst cases", f"<p>{note}</p>{''.join(figures)}")


def _every_case(cases: Sequence[CaseComparison]) -> str:
    if not cases:
        return ""
    headings = ["Case", "Label", "Status", ">Predicted (ml)", ">Reference (ml)",
                *(f">{m.heading}" for m in METRICS)]  # fmt: skip
    rows = [
        _case_row(case.case_id, row)
        for case in sorted(cases, key=lambda case: (case.worst, case.case_id))
        for row in case.labels
        if row.status != "absent"
    ]
    note = "Worst first, by the mean Dice of a case's labels. Labels that are in neither left out."
    return _section("Every case", f"<p>{note}</p>{_table(headings, rows)}")


def _case_row(case_id: str, row: LabelComparison) -> list[str]:
    status = "" if row.status == "compared" else row.status
    return [
        f"<th scope='row'>{escape(case_id)}</th>",
        _cell(row.name),
        f'<td class="failed">{status}</td>',
        _number(metrics.VOLUME_ML.format(row.prediction_ml)),
        _number(metrics.VOLUME_ML.format(row.reference_ml)),
        *(_number(metric.format(getattr(row, metric.key))) for metric in METRICS),
    ]


def _definitions(tolerance_mm: float) -> str:
    titles = {metric.key: metric.heading for metric in METRICS}
    rows = [
        f"<dt>{escape(titles.get(key, key.capitalize()))}</dt><dd>{escape(words)}</dd>"
        for key, words in metrics.definitions(tolerance_mm).items()
    ]
    return _section("Definitions", f"<dl>{''.join(rows)}</dl>")


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; headings of numbers begin with ``">"``."""
    head = "".join(
        f"<th scope='col'{' class=number' if h.startswith('>') else ''}>"
        f"{escape(h.removeprefix('>'))}</th>"
        for h in headings
    )
    body = "\n".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f"<div class='wide'><table>{table}</table></div>"


def _cell(words: str) -> str:
    return f"<td>{escape(words)}</td>"


def _number(words: str) -> str:
    return f'<td class="number">{escape(words)}</td>'
