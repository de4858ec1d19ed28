"""Row: one object of an answer in DICOM JSON (PS3.18, annex F), of which nothing is taken for sure.

Of all that a server tells about a patient only what is named here is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from unetr_app.errors import RemoteFailure
from unetr_app.io.dicom.web.uids import believe_uid
from unetr_app.io.names import short_hash

Row = Mapping[str, Any]

SOP_UID, STUDY_UID, SERIES_UID = "00080018", "0020000D", "0020000E"
_MODALITY, _DESCRIPTION, _NUMBER, _INSTANCES = "00080060", "0008103E", "00200011", "00201209"
SERIES_FIELDS = ("SeriesDescription", "SeriesNumber", "NumberOfSeriesRelatedInstances")
_MOST_LETTERS = 64  # of a LO


@dataclass(frozen=True)
class RemoteSeries:
    """A series as a server describes it.

    Args:
        uid: Series Instance UID.
        modality: Modality code; empty where the server tells none.
        description: Series Description.
        number: Series Number.
        instances: How many instances the server says it has; None where it does not.
    """

    uid: str
    modality: str = ""
    description: str = ""
    number: int | None = None
    instances: int | None = None

    @property
    def name(self) -> str:
        """A safe name with nothing of the patient; that of the case where the series is one."""
        modality = re.sub(r"[^A-Z0-9]", "", self.modality.upper())[:8] or "OT"
        return f"{modality}-{abs(self.number or 0):03d}-{short_hash(self.uid)}"


def series_of(row: Row, study: str) -> RemoteSeries:
    """A series from a row of an answer.

    Raises:
        RemoteFailure: If it has no UID, or is of another study.
    """
    require_same(row, STUDY_UID, study)
    return RemoteSeries(
        believe_uid(first(row, SERIES_UID)),
        _text(row, _MODALITY)[:16].upper(),
        _text(row, _DESCRIPTION)[:_MOST_LETTERS],
        _whole(row, _NUMBER),
        _whole(row, _INSTANCES),
    )


def require_same(row: Row, tag: str, uid: str) -> None:
    """Refuse a row that is of something else than what was asked for.

    Raises:
        RemoteFailure: If the tag is there with another value.
    """
    if first(row, tag) not in (None, uid):
        raise RemoteFailure(
            "the server answers with another study or series than the one asked for",
            cure="Ask those who run the server.",
        )


def rows_of(answer: object) -> list[Row]:
    """The rows of an answer.

    Raises:
        RemoteFailure: If it is no list of objects.
    """
    rows = cast("list[object]", answer) if isinstance(answer, list) else [answer]
    if not all(isinstance(row, dict) for row in rows):
        raise RemoteFailure(
            "the server's answer is not the DICOM JSON that was asked for",
            cure="Check the path of the address, or ask those who run the server.",
        )
    return cast("list[Row]", rows)


def values(row: Row, tag: str) -> list[Any]:
    """The values of a tag; none where it is absent or not as it should be.

    Example:
        >>> values({"00080060": {"vr": "CS", "Value": ["CT"]}}, "00080060")
        ['CT']
    """
    element = row.get(tag)
    found = cast("Row", element).get("Value") if isinstance(element, dict) else None
    return cast("list[Any]", found) if isinstance(found, list) else []


def first(row: Row, tag: str) -> Any:
    """The first value of a tag, or None."""
    return next(iter(values(row, tag)), None)


def _text(row: Row, tag: str) -> str:
    value = first(row, tag)
    return value.strip() if isinstance(value, str) else ""


def _whole(row: Row, tag: str) -> int | None:
    value = first(row, tag)
    try:
        return int(value) if abs(float(value)) < 2**31 else None
    except (TypeError, ValueError, OverflowError):
        return None
