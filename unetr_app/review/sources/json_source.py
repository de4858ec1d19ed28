"""JsonSource: the cases of a list of objects, one for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from unetr_app.errors import UnreadableInput
from unetr_app.labels import LabelSet
from unetr_app.review.sources.csv_source import listed, read_text
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.listed_case import listed_case, refused
from unetr_app.review.stamps import stamp_of

_CURE = 'Give a list of {"id": ..., "image": path, "labels": path}, or {"cases": [...]}.'


def read_json_source(path: Path, labels: LabelSet | None = None) -> Listed:
    """The cases of a JSON list; keys are those of the columns of a CSV list.

    Raises:
        UnreadableInput: If it is no such list, or names no case.
    """
    stamp = stamp_of([path])
    try:
        found: Any = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise UnreadableInput("the file is no JSON that can be read", cure=_CURE, path=path) from (
            error)  # fmt: skip
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("cases")
    if not isinstance(found, list) or not found:
        raise UnreadableInput("the JSON names no case", cure=_CURE, path=path)
    rows = cast("list[Any]", found)
    entries = [_entry(row, path, f"entry {n}", labels) for n, row in enumerate(rows, start=1)]
    return listed(path, entries, stamp)


def _entry(row: Any, path: Path, where: str, labels: LabelSet | None) -> Entry:
    if not isinstance(row, dict):
        problem = UnreadableInput(f"{where} is no object with image and labels", cure=_CURE,
                                  path=path)  # fmt: skip
        return refused(where, problem)
    cells = {str(k).casefold(): _text(v) for k, v in cast("dict[str, Any]", row).items()}
    return listed_case(cells, path.parent, where, labels)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(str(part) for part in cast("list[Any]", value))
    return "" if value is None else str(value).replace("\0", "?")
