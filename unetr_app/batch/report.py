"""The report of a batch: ``summary.csv``, one row a case and label."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from unetr_app.batch.folder import MEASUREMENTS, SUMMARY
from unetr_app.batch.journal import Row
from unetr_app.io.atomic import write_text

COLUMNS = (
    "case_id", "label", "name", "voxels", "millilitres", "mean", "standard_deviation",
    "centroid_x_mm", "centroid_y_mm", "centroid_z_mm",
)  # fmt: skip


def write_summary(out: Path, rows: Mapping[str, Row]) -> Path:
    """Write ``summary.csv`` anew from the measurements of all cases that are done.

    Cases of earlier runs are in it too. Cells of a label without voxels are empty where there is
    nothing to measure.

    Args:
        out: The output folder.
        rows: The newest manifest row of each case.

    Raises:
        UnwritableOutput: If it cannot be written; the old summary stays.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for case_id, row in sorted(rows.items()):
        if row.outcome.status == "done":
            table.writerows(_lines(case_id, read_measurements(out, case_id)))
    return write_text(out / SUMMARY, text.getvalue())


def read_measurements(out: Path, case_id: str) -> list[dict[str, Any]]:
    """The measurements of a case, one a label; none where they are missing or damaged."""
    try:
        found = json.loads((out / case_id / MEASUREMENTS).read_text(encoding="utf-8"))
        return list(found["labels"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _lines(case_id: str, labels: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for label in labels:
        centroid = label["centroid_mm"] or (None, None, None)
        yield [
            case_id, label["value"], label["name"], label["voxels"], label["millilitres"],
            label["mean"], label["standard_deviation"], *centroid,
        ]  # fmt: skip
