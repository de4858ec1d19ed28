"""Report: what was decided of every case, with volumes, as CSV, JSON and a page."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.errors import Cancelled, UnetrError
from unetr_app.io import PathLike, write_json, write_text
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.outputs import read_measurements
from unetr_app.review.loading import prediction_hash_of
from unetr_app.review.row import Row
from unetr_app.review.sources.output_folder import LabelsOfResult
from unetr_app.review.stamps import Hashes
from unetr_app.review.version import Version
from unetr_app.review.versions import Versions
from unetr_app.review.worklist import Worklist
from unetr_app.version import __version__
from unetr_app.volume import Segmentation

CSV, JSON, PAGE = "review.csv", "review.json", "review.html"
_DECIDED = ("status", "flagged", "grade", "comment", "reviewer", "when")
COLUMNS = (
    "case_id", *_DECIDED, "version", "bundle", "flags", "uncertainty", "problem", "label", "name",
    "voxels", "millilitres", "added", "removed", "dice_with_prediction",
)  # fmt: skip
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem;
  color: #1a1a1a; background: #fff; }
h1 { font-size: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 0.3rem 0.6rem; border-bottom: 1px solid #ccc;
  vertical-align: top; }
.rejected { color: #8a3b00; }
"""


def export_report(
    worklist: Worklist,
    folder: PathLike,
    *,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[Path]:
    """Write ``review.csv`` (a row a case and label), ``review.json`` and ``review.html``.

    Volumes are those of the version that was decided about or saved last, or of the prediction; a
    comment goes into the files as it was written.

    Args:
        worklist: The cases.
        folder: Made where it is missing.
        progress: Told how many cases are done, and how many there are.
        should_stop: Asked before each case.

    Returns:
        The files.

    Raises:
        UnwritableOutput: If a file cannot be written whole.
        Cancelled: If ``should_stop`` said so; nothing is written then.
    """
    rows = worklist.rows()
    cases: list[dict[str, Any]] = []
    for done, row in enumerate(rows):
        if should_stop():
            raise Cancelled("stopped; no report was written")
        cases.append(_case(worklist, row))
        if progress is not None:
            progress(done + 1, len(rows))
    out = Path(folder)
    whole = {
        "title": worklist.title, "notice": RESEARCH_NOTICE, "software": __version__, "cases": cases
    }  # fmt: skip
    return [
        write_text(out / CSV, _table(cases)),
        write_json(out / JSON, whole),
        write_text(out / PAGE, _page(worklist.title, cases)),
    ]


def _case(worklist: Worklist, row: Row) -> dict[str, Any]:
    labels, version, problem = _labels(worklist, row)
    said = problem or (None if row.problem is None else str(row.problem))
    return {
        "case_id": row.case_id,
        **{key: getattr(row, key) for key in _DECIDED},
        "version": version,
        "bundle": row.bundle,
        "flags": list(row.flags),
        "uncertainty": row.uncertainty,
        "problem": said or "",
        "labels": labels,
    }


def _labels(worklist: Worklist, row: Row) -> tuple[list[dict[str, Any]], int, str]:
    """What each label measures, the version that it is of, and what is wrong."""
    if row.problem is not None:
        return [], 0, ""
    if number := worklist.decision(row.case_id).version:
        found = Versions(worklist.case_folder(row.case_id).versions).get(number)
        if isinstance(found, Version):
            return [_edited(found, edit) for edit in found.edits], number, ""
        return [], number, str(found)
    try:
        return _of_prediction(worklist, row), 0, _replaced(worklist, row)
    except UnetrError as problem:
        return [], 0, str(problem)


def _replaced(worklist: Worklist, row: Row) -> str:
    """What is wrong where another prediction was decided about than the one that is there."""
    judged = worklist.decision(row.case_id).prediction_hash
    if row.status not in ("accepted", "rejected") or not judged:
        return ""
    hashes = Hashes(worklist.case_folder(row.case_id).hashes)
    if judged == prediction_hash_of(worklist.entry(row.case_id), hashes):
        return ""
    return f"it was {row.status}, and the prediction was replaced since"


def _of_prediction(worklist: Worklist, row: Row) -> list[dict[str, Any]]:
    entry = worklist.entry(row.case_id)
    if isinstance(entry.labels, LabelsOfResult):
        measured = read_measurements(entry.labels.folder)
        if measured and all(map(_is_whole, measured)):
            return [_one(m["value"], m["name"], m["voxels"], m["millilitres"]) for m in measured]
    return _measured(worklist.load(row.case_id).prediction)


def _is_whole(measured: dict[str, Any]) -> bool:
    """Does it hold numbers, as ``unetr segment`` wrote them?"""
    voxels, millilitres = measured.get("voxels"), measured.get("millilitres")
    return (
        isinstance(voxels, int)
        and isinstance(millilitres, int | float)
        and (0 <= millilitres < math.inf)
    )


def _edited(version: Version, edit: Any) -> dict[str, Any]:
    ml = round(edit.voxels * version.voxel_ml, 6)
    one = _one(edit.value, edit.name, edit.voxels, ml)
    return one | {"added": edit.added, "removed": edit.removed,
                  "dice_with_prediction": edit.dice_after}  # fmt: skip


def _one(value: int, name: str, voxels: int, millilitres: float) -> dict[str, Any]:
    return {"label": value, "name": name, "voxels": voxels, "millilitres": millilitres,
            "added": 0, "removed": 0, "dice_with_prediction": 1.0}  # fmt: skip


def _measured(found: Segmentation) -> list[dict[str, Any]]:
    counts = [(v, int(np.count_nonzero(found.mask(v.value)))) for v in found.labels]
    ml = found.geometry.voxel_ml
    return [_one(v.value, v.name, count, round(count * ml, 6)) for v, count in counts]


def _table(cases: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    columns: list[str] = list(COLUMNS)
    table = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    table.writeheader()
    for case in cases:
        plain = {k: v for k, v in case.items() if k != "labels"}
        plain |= {key: _safe(plain[key]) for key in ("comment", "reviewer", "problem", "bundle")}
        plain["flags"] = _safe("; ".join(case["flags"]))
        for label in case["labels"] or [{}]:
            table.writerow(plain | label | ({"name": _safe(label["name"])} if label else {}))
    return text.getvalue()


def _safe(text: str) -> str:
    """Free words that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _page(title: str, cases: list[dict[str, Any]]) -> str:
    heads = ("Case", "Status", "Flagged", "Grade", "Comment", "Reviewer", "When", "Version",
             "Volumes", "Quality")  # fmt: skip
    head = "".join(f"<th>{word}</th>" for word in heads)
    body = "\n".join(_line(case) for case in cases)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>Review of {escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Review of {escape(title)}: {len(cases)} cases</h1>\n"
        f"<p>{escape(RESEARCH_NOTICE)}</p>\n<table>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody>\n</table>\n</body>\n</html>\n"
    )


def _line(case: dict[str, Any]) -> str:
    volumes = ", ".join(f"{v['name']} {v['millilitres']:.3g} ml" for v in case["labels"])
    quality = "; ".join([*case["flags"], *filter(None, [case["problem"]])])
    cells = (
        case["case_id"], case["status"], "yes" if case["flagged"] else "", case["grade"] or "",
        case["comment"], case["reviewer"], case["when"], case["version"] or "prediction", volumes,
        quality,
    )  # fmt: skip
    filled = "".join(f"<td>{escape(str(cell))}</td>" for cell in cells)
    return f'<tr class="{escape(case["status"])}">{filled}</tr>'
