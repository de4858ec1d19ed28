"""Arranging: which rows of a worklist are shown, in which order, and which comes next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal

from unetr_app.cases.ids import natural
from unetr_app.errors import InvalidRequest
from unetr_app.review.decision import STATUSES
from unetr_app.review.row import Row

SortKey = Literal[
    "case_id", "status", "uncertainty", "flags", "grade", "when", "reviewer", "bundle", "modality"
]
_KEYS: dict[str, Callable[[Row], Any]] = {
    "case_id": lambda row: natural(row.case_id),
    "status": lambda row: STATUSES.index(row.status),
    "uncertainty": lambda row: row.uncertainty,
    "flags": lambda row: len(row.flags),
    "grade": lambda row: row.grade or None,
    "when": lambda row: row.when or None,
    "reviewer": lambda row: row.reviewer.casefold() or None,
    "bundle": lambda row: row.bundle.casefold() or None,
    "modality": lambda row: row.modality or None,
}


def arranged(
    rows: Sequence[Row],
    *,
    text: str = "",
    statuses: Collection[str] = (),
    flagged: bool | None = None,
    sort_by: str = "case_id",
    descending: bool = False,
) -> list[Row]:
    """Choose and sort rows.

    Args:
        rows: All of them.
        text: Words that must all be in the id, comment, bundle, reviewer or quality flags; upper
            and lower case are the same.
        statuses: Statuses that are shown; all where empty.
        flagged: Only rows that are flagged (True) or are not (False).
        sort_by: One of `SortKey`; ties go by id, and rows where it is unknown come last.
        descending: Largest first.

    Raises:
        InvalidRequest: If there is no such key.

    Example:
        >>> rows = [Row("a10"), Row("a2", status="accepted")]
        >>> [row.case_id for row in arranged(rows)]
        ['a2', 'a10']
    """
    if sort_by not in _KEYS:
        raise InvalidRequest(f"there is no column {sort_by!r}", cure=f"Choose: {', '.join(_KEYS)}.")
    words = text.casefold().split()
    chosen = [
        row for row in rows
        if all(word in _text(row) for word in words)
        and (not statuses or row.status in statuses)
        and (flagged is None or row.flagged == flagged)
    ]  # fmt: skip
    key = _KEYS[sort_by]
    chosen.sort(key=lambda row: natural(row.case_id))
    known = [row for row in chosen if key(row) is not None]
    known.sort(key=key, reverse=descending)
    return [*known, *(row for row in chosen if key(row) is None)]


def _text(row: Row) -> str:
    parts = (row.case_id, row.comment, row.bundle, row.reviewer, row.modality, *row.flags)
    return " ".join(parts).casefold()


def next_case(rows: Sequence[Row], current: str | None) -> str | None:
    """The case that can be opened after ``current`` in this order; None at the end.

    The first where ``current`` is not among the rows.
    """
    return _first_after(rows, current, lambda row: True)


def previous_case(rows: Sequence[Row], current: str | None) -> str | None:
    """The case that can be opened before ``current``; None at the beginning."""
    return _first_after(list(reversed(rows)), current, lambda row: True)


def next_unreviewed(rows: Sequence[Row], current: str | None = None) -> str | None:
    """The next case after ``current`` that nobody decided on, round to the beginning if need be."""
    at = _place(rows, current)
    turned = [*rows[at + 1 :], *rows[:at]] if at >= 0 else list(rows)
    return _first_after(turned, None, lambda row: row.status == "unreviewed")


def _place(rows: Sequence[Row], current: str | None) -> int:
    return next((n for n, row in enumerate(rows) if row.case_id == current), -1)


def _first_after(
    rows: Sequence[Row], current: str | None, wanted: Callable[[Row], bool]
) -> str | None:
    rest = rows[_place(rows, current) + 1 :]
    return next((row.case_id for row in rest if row.problem is None and wanted(row)), None)
