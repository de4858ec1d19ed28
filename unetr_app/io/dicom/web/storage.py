"""Storage: DICOM files put into a study on a server, and the server's answer checked (STOW-RS)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from unetr_app.errors import InvalidRequest, RemoteFailure, UnetrError
from unetr_app.io.dicom.slice import read_slice
from unetr_app.io.dicom.web.client import Pacs
from unetr_app.io.dicom.web.retries import PassingFailure
from unetr_app.io.dicom.web.rows import Row, first, values
from unetr_app.io.dicom.web.uids import is_uid

_STORED, _FAILED = "00081199", "00081198"  # ReferencedSOPSequence, FailedSOPSequence
_SOP, _REASON = "00081155", "00081197"
_ALREADY_THERE = 0x0111  # PS3.18, table I.2-2
_REASONS = {
    0x0110: "it could not be processed",
    0x0122: "objects of this kind are not taken",
    0x0124: "this user may not store",
    0x0131: "the transfer syntax is not taken",
    0xC122: "the transfer syntax is not taken",
}


@dataclass(frozen=True)
class Stored:
    """How storing one file ended.

    Args:
        path: The file.
        error: Why it is not there; None where it is.
    """

    path: Path
    error: UnetrError | None = None


def store(pacs: Pacs, study: str, paths: Sequence[Path]) -> list[Stored]:
    """Store files one by one; storing an object once more changes nothing.

    Args:
        pacs: The server.
        study: Study Instance UID; objects of another study are not sent.
        paths: DICOM files.

    Returns:
        How each ended, in the same order; after the server was lost no more is sent.
    """
    ended: list[Stored] = []
    lost: UnetrError | None = None
    for path in paths:
        error = lost
        if lost is None:
            try:
                _store(pacs, study, path)
            except UnetrError as failure:
                error = failure
                if isinstance(failure, PassingFailure) and not failure.reached:
                    lost = failure
        ended.append(Stored(path, error))
    return ended


def _store(pacs: Pacs, study: str, path: Path) -> None:
    """Store a file, or raise why that failed.

    Raises:
        InvalidRequest: If the object belongs to another study.
        UnreadableInput: If it is no sound DICOM file.
        RemoteFailure: If the server does not take it.
    """
    meant = read_slice(path)
    if meant.study_uid != study or not (is_uid(meant.sop_uid) and is_uid(meant.series_uid)):
        raise InvalidRequest(
            "the object belongs to another study than the one it would be stored in",
            cure="Write the results of each study into an output folder of their own.", path=path,
        )  # fmt: skip
    answer = pacs.send(study, path)
    reason = _failure(answer, meant.sop_uid)
    if reason not in (None, _ALREADY_THERE):
        words = _REASONS.get(reason, "it gives no reason that we know")
        raise RemoteFailure(
            f"the server did not store {path.name}: {words} (failure reason {reason:04X})",
            cure="Ask those who run the server; the file itself is where it was.",
        )
    if reason is None and not _lists(answer, _STORED, meant.sop_uid):
        _require_there(pacs, study, meant.series_uid, meant.sop_uid, path)


def _require_there(pacs: Pacs, study: str, series: str, sop: str, path: Path) -> None:
    """An answer that says nothing of the object is no success; the server is asked for it."""
    if not pacs.holds(study, series, sop):
        raise RemoteFailure(
            f"the server did not say that it stored {path.name}, and does not list it",
            cure="Ask those who run the server; the file itself is where it was.",
        )


def _failure(answer: Any, sop: str) -> int | None:
    """The failure reason that an answer gives for an instance; None where it gives none.

    A sequence of failures that is there but empty, as Orthanc sends it, is success.
    """
    for row in _items(answer, _FAILED):
        if first(row, _SOP) in (sop, None):
            reason = first(row, _REASON)
            return reason if isinstance(reason, int) else 0
    return None


def _lists(answer: Any, tag: str, sop: str) -> bool:
    return any(first(row, _SOP) == sop for row in _items(answer, tag))


def _items(answer: Any, tag: str) -> list[Row]:
    rows = cast("list[Any]", answer) if isinstance(answer, list) else [answer]
    found = [
        item for row in rows if isinstance(row, dict) for item in values(cast("Row", row), tag)
    ]
    return [item for item in found if isinstance(item, dict)]
