"""The report of a batch: ``summary.csv``, one row a case and label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from unetr_app.batch.journal import Row
from unetr_app.io.atomic import write_text
from unetr_app.outputs import SUMMARY, read_measurements

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
            table.writerows(_lines(case_id, read_measurements(out / case_id)))
    return write_text(out / SUMMARY, text.getvalue())


def _lines(case_id: str, labels: list[dict[str, Any]]) -> Iterator[list[Any]]:
    for label in labels:
        found: Any = label.get("centroid_mm")
        centroid = cast("list[Any]", found) if isinstance(found, list) else [None] * 3
        yield [case_id, label["value"], *(label.get(key) for key in COLUMNS[2:7]), *centroid]
