"""JsonList: a list of cases as JSON; our own, or the Decathlon's ``dataset.json``."""

from __future__ import annotations

import json
from typing import Any, cast

from unetr_app.cases.row import NoList, Row

_SECTIONS = ("training", "validation", "test")
_CURE = ('Give a list of {"case": id, "image": path or list of paths}, or a dataset.json with '
         "training, validation or test.")  # fmt: skip


def read_json(text: str) -> list[Row]:
    """The rows of a list, or of the sections ``training``, ``validation`` and ``test``.

    Raises:
        NoList: If the text is neither.
    """
    try:
        found: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise NoList(f"line {error.lineno} is no JSON: {error.msg}", _CURE) from error
    except (ValueError, RecursionError) as error:  # numbers, or brackets, without end
        raise NoList("the file is no JSON that can be read", _CURE) from error
    if isinstance(found, list):
        entries = cast("list[Any]", found)
        return [_row(f"entry {n}", entry) for n, entry in enumerate(entries, 1)]
    if not isinstance(found, dict) or not any(name in found for name in _SECTIONS):
        raise NoList("the JSON is no list of cases", _CURE)
    rows: list[Row] = []
    for section in _SECTIONS:
        entries = cast("dict[str, Any]", found).get(section, [])
        if not isinstance(entries, list):
            raise NoList(f"{section} is no list", _CURE)
        named = enumerate(cast("list[Any]", entries), 1)
        rows += [_row(f"{section}, entry {n}", entry) for n, entry in named]
    return rows


def _row(where: str, entry: Any) -> Row:
    if isinstance(entry, str):
        entry = {"image": entry}
    if not isinstance(entry, dict):
        return Row(where, problem='is no {"case": id, "image": path or list of paths}')
    fields = cast("dict[str, Any]", entry)
    case, image = fields.get("case", ""), fields.get("image")
    if isinstance(case, bool) or not isinstance(case, str | int):
        return Row(where, problem="has an id (case) that is no text")
    named = cast("list[Any]", image) if isinstance(image, list) else [image]
    images = tuple(path for path in named if isinstance(path, str) and path)
    if not images or len(images) < len(named):
        return Row(where, str(case).strip(), problem="names no image, nor a list of images")
    return Row(where, str(case).strip(), images)
