"""The manifest of a results folder, as far as scoring reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MANIFEST = "manifest.jsonl"


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """The newest row of each case, by case id; none where there is no manifest.

    Lines that are torn, or of another make, are passed over.
    """
    rows: dict[str, dict[str, Any]] = {}
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return rows
    for line in lines:
        try:
            row = json.loads(line)
            rows[str(row["case_id"])] = {"bundle": dict(row["bundle"]), **row}
        except (ValueError, KeyError, TypeError):
            continue
    return rows
