"""LabelTable: a LabelSet as JSON holds it, codes included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.labels import Code, Label, LabelSet

_CODES = ("type", "category", "modifier")


def rows_of(labels: LabelSet) -> list[dict[str, Any]]:
    """One row a label, in order of value.

    Example:
        >>> rows_of(LabelSet.from_names({1: "liver"}))[0]["name"]
        'liver'
    """
    return [_row(label) for label in labels]


def _row(label: Label) -> dict[str, Any]:
    row: dict[str, Any] = {
        "value": label.value, "name": label.name, "colour": list(label.colour)
    }  # fmt: skip
    for word in _CODES:
        code: Code | None = getattr(label, word)
        if code is not None:
            row[word] = [code.scheme, code.value, code.meaning]
    return row


def labels_from(rows: Sequence[Any]) -> LabelSet:
    """The labels that rows state.

    Raises:
        UnreadableInput: If they state none, or contradict each other.
    """
    try:
        return LabelSet(tuple(_label(cast("Mapping[str, Any]", row)) for row in rows))
    except (KeyError, TypeError, ValueError, InvalidRequest) as error:
        raise UnreadableInput("the table of labels is damaged") from error


def _label(row: Mapping[str, Any]) -> Label:
    red, green, blue = (int(c) for c in row["colour"])
    codes = {word: Code(*map(str, row[word])) for word in _CODES if row.get(word)}
    return Label(int(row["value"]), str(row["name"]), (red, green, blue), **codes)
