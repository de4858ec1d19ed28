"""Decathlon: the training images of a ``dataset.json``, with their labels."""

from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path
from typing import Any, cast

from unetr_app.cases import Case, find_cases
from unetr_app.cases.ids import stem
from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.labels import LabelSet
from unetr_app.review.sources.csv_source import listed
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.files_of_labels import FilesOfLabels
from unetr_app.review.sources.listed_case import image_at, listed_case, refused
from unetr_app.review.stamps import stamp_of

DATASET = "dataset.json"
_CODES = {"MRI": "MR"}


def is_decathlon(path: Path) -> bool:
    """Is it the table of a data set in the layout of the Medical Segmentation Decathlon?"""
    return isinstance(_table(path).get("training"), list)


def read_decathlon(path: Path, labels: LabelSet | None = None) -> Listed:
    """The training images of a data set; its labels are called as it says.

    Args:
        path: The ``dataset.json``.
        labels: What values mean, where the table does not say.

    Raises:
        InvalidRequest: If it names no training image.
    """
    stamp = stamp_of([path])
    table = _table(path)
    rows = cast("list[Any]", table["training"])
    if not rows:
        raise InvalidRequest(
            "the data set names no training image", cure="Only those have labels.", path=path
        )
    known = _named(table.get("labels")) or labels
    channels = _channels(table.get("modality"))
    entries = [
        _entry(row, path, f"training {n}", known, channels) for n, row in enumerate(rows, start=1)
    ]
    found = listed(path, entries, stamp, title=str(table.get("name") or path.parent.name))
    if path.name != DATASET:
        return found
    return Listed(found.title, found.entries, path.parent / "reviews", (), found.files, stamp)


def _entry(
    row: Any, path: Path, where: str, known: LabelSet | None, channels: tuple[str, ...]
) -> Entry:
    if not isinstance(row, dict):
        problem = UnreadableInput(
            f"{where} is no object with image and label",
            cure='Write it as {"image": path, "label": path}.', path=path,
        )  # fmt: skip
        return refused(where, problem)
    fields = cast("dict[str, Any]", row)
    image, label = str(fields.get("image") or ""), str(fields.get("label") or "")
    subject = str(fields.get("subject") or "")
    name = stem(image or label) if image or label else ""
    cells = {
        "id": name,
        "image": image,
        "labels": label,
        "subject": subject,
    }
    if len(channels) < 2:
        cells["modality"] = "".join(channels)
    entry = listed_case(cells, path.parent, where, known)
    if len(channels) < 2 or not image:
        return entry
    find = partial(_channels_at, os.fspath(path.parent / image), channels)
    return Entry(entry.id, FilesOfLabels(entry.labels.paths, known), find, entry.kind,
                 subject=entry.subject, problem=entry.problem, warnings=entry.warnings)  # fmt: skip


def _channels_at(path: str, channels: tuple[str, ...]) -> Case:
    """An image with all its channels, which one file may hold."""
    if os.path.exists(path):
        found = find_cases(path, channels=channels)
        if len(found) == 1 and found[0].problem is None:
            return found[0]
    return image_at(path)


def _channels(found: Any) -> tuple[str, ...]:
    """Names of the channels, as the table's ``modality`` has them; an unknown one is no name."""
    if not isinstance(found, dict):
        return ()
    names = [str(name) for name in cast("dict[str, Any]", found).values()]
    unique = tuple(dict.fromkeys(_CODES.get(name, name) for name in names))
    return () if unique == ("unknown",) or len(unique) < len(names) else unique


def _named(found: Any) -> LabelSet | None:
    """What values mean: value to name as in the Decathlon, or name to value as in nnU-Net."""
    if not isinstance(found, dict):
        return None
    try:
        pairs = {
            int(v if str(v).isdecimal() else n): str(n if str(v).isdecimal() else v)
            for v, n in cast("dict[str, Any]", found).items()
        }
        return LabelSet.from_names(pairs)
    except (TypeError, ValueError, InvalidRequest):
        return None


def _table(path: Path) -> dict[str, Any]:
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
