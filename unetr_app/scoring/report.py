"""The files that scoring leaves: cases.csv, summary.json, report.html."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from unetr_app.errors import UnetrError
from unetr_app.evaluation.metrics import definitions
from unetr_app.evaluation.report import Report, html_page
from unetr_app.evaluation.tables import cases_csv, summary_dict
from unetr_app.io.atomic import write_json, write_text
from unetr_app.labels import LabelSet
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.scoring.images import find_image, read_image
from unetr_app.scoring.pairs import Pair
from unetr_app.scoring.runner import Score, read_pair
from unetr_app.version import __version__

CASES, SUMMARY, PAGE = REPORT_FILES = ("cases.csv", "summary.json", "report.html")


def write_report(
    score: Score,
    folder: Path,
    labels: LabelSet,
    *,
    images: Path | None = None,
    pictures: int = 6,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write the report of a score; each file appears only when whole.

    Args:
        score: What to report.
        folder: Made where it is missing.
        labels: The same as for `score`; their colours are used in the pictures.
        images: Folder of images under their case id; where absent, the inputs that a manifest
            beside the predictions names are looked for.
        pictures: How many of the worst cases are drawn.
        progress: Hears how many pictures are done and how many there are.

    Returns:
        The files written.

    Raises:
        UnwritableOutput: If one cannot be written whole.
    """
    worst = score.worst(pictures)
    drawn: list[tuple[str, bytes]] = []
    for done, pair in enumerate(worst):
        if progress:
            progress(done, len(worst))
        drawn += _picture(pair, labels, images)
    if progress:
        progress(len(worst), len(worst))
    report = Report(
        score.cases, score.summaries, drawn, score.tolerance_mm,
        [(failure.case_id, str(failure)) for failure in score.failures],
        score.pairs.only_predicted, score.pairs.only_reference,
    )  # fmt: skip
    return [
        write_text(folder / CASES, cases_csv(score.cases)),
        write_json(folder / SUMMARY, summary(score)),
        write_text(folder / PAGE, html_page(report)),
    ]


def summary(score: Score) -> dict[str, Any]:
    """What ``summary.json`` holds."""
    pairs = score.pairs
    return {
        "notice": RESEARCH_NOTICE,
        "tool_version": __version__,
        "tolerance_mm": score.tolerance_mm,
        "counts": {
            "compared": len(score.cases),
            "failed": len(score.failures),
            "predictions_without_reference": len(pairs.only_predicted),
            "references_without_prediction": len(pairs.only_reference),
        },
        **summary_dict(score.summaries),
        "failed": [asdict(failure) for failure in score.failures],
        "predictions_without_reference": list(pairs.only_predicted),
        "references_without_prediction": list(pairs.only_reference),
        "definitions": definitions(score.tolerance_mm),
    }


def _picture(pair: Pair, labels: LabelSet, images: Path | None) -> list[tuple[str, bytes]]:
    """The picture of a case; none where it cannot be drawn, for which no report is given up."""
    from unetr_app.pictures import comparison_picture  # imports matplotlib

    try:
        prediction, reference = read_pair(pair, labels)
        volume = read_image(find_image(pair, images), reference.geometry)
        return [(pair.case_id, comparison_picture(volume, prediction, reference))]
    except (UnetrError, OSError):
        return []
