"""The output folder: names of the files that a batch leaves, and how to read them back.

::

    OUT/
    ├── manifest.jsonl            one row a case
    ├── summary.csv               one row a case and label
    ├── reviews/                  what people decided and corrected, see `unetr_app.review`
    └── <case_id>/
        ├── labels.nii.gz         the label map
        ├── labels.nrrd           the same with names and colours, where asked for
        ├── segmentation.dcm      DICOM SEG, where asked for
        ├── rtstruct.dcm          DICOM RTSTRUCT, where asked for
        ├── measurements.dcm      DICOM measurement report (TID 1500), where asked for
        ├── preview.dcm           DICOM secondary capture of the picture, where asked for
        ├── labels/<name>.nii.gz  a mask for each label, where asked for
        ├── probabilities.nii.gz  of each channel in 255ths, where asked for
        ├── uncertainty.nii.gz    entropy, 0 to 1, where asked for
        ├── measurements.json
        └── preview.png

Reading is lenient: a folder may come from another version, or have been edited.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

MANIFEST = "manifest.jsonl"
SUMMARY = "summary.csv"
LABEL_MAP = "labels.nii.gz"
SPLIT_LABELS = "labels"
MAPS = {"probabilities": "probabilities.nii.gz", "uncertainty": "uncertainty.nii.gz"}
FORMATS = {
    "nifti": LABEL_MAP,
    "nrrd": "labels.nrrd",
    "dicom-seg": "segmentation.dcm",
    "rtstruct": "rtstruct.dcm",
    "dicom-sr": "measurements.dcm",
    "dicom-sc": "preview.dcm",
}
DICOM_FORMATS = ("dicom-seg", "rtstruct", "dicom-sr", "dicom-sc")  # need a series they refer to
MEASUREMENTS = "measurements.json"
PREVIEW = "preview.png"
REVIEWS = "reviews"
REVIEWS_MARK = ".unetr-reviews"  # a file in a folder of reviews: nothing below it is an input


def read_manifest(out: Path) -> dict[str, dict[str, Any]]:
    """The newest row of each case, by case id; empty where there is no manifest.

    Lines that are torn, or name no case, are passed over.

    Args:
        out: The output folder.

    Example:
        >>> read_manifest(Path("no such folder"))
        {}
    """
    try:
        text = (out / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    found = (_parsed(line) for line in text.splitlines())
    rows = (row for row in found if isinstance(row, dict))
    return {row["case_id"]: row for row in rows if isinstance(row.get("case_id"), str)}


def read_measurements(folder: Path) -> list[dict[str, Any]]:
    """The measurements of a case, one a label; none where they are missing or damaged.

    Args:
        folder: The case's folder.

    Returns:
        Rows that hold a whole ``value`` and a ``name`` at least.

    Example:
        >>> read_measurements(Path("no such folder"))
        []
    """
    try:
        found = _parsed((folder / MEASUREMENTS).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []
    rows = found.get("labels") if isinstance(found, dict) else None
    if not isinstance(rows, list):
        return []
    return [row for row in cast("list[Any]", rows) if _is_measurement(row)]


def _parsed(text: str) -> Any:
    """What JSON says; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_measurement(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("value"), int)
        and isinstance(row.get("name"), str)
    )
