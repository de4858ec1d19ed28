"""Decision: what a reviewer thinks of a case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from unetr_app.errors import InvalidRequest

Status = Literal["unreviewed", "editing", "accepted", "rejected"]
STATUSES: tuple[Status, ...] = get_args(Status)
BEST_GRADE = 5


def now() -> str:
    """This moment in ISO 8601, UTC, to the millisecond.

    Example:
        >>> now().endswith("+00:00")
        True
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def readable(when: str) -> str:
    """A moment of `now` for people, to the minute.

    Example:
        >>> readable("2026-01-02T03:04:05.678+00:00"), readable("")
        ('2026-01-02 03:04 UTC', '')
    """
    return f"{when[:16].replace('T', ' ')} UTC" if when else ""


def writable(text: str) -> str:
    """The text without what UTF-8 has no word for, as logins and file names may hold it.

    Example:
        >>> writable("a" + chr(0xDCFF))
        'a?'
    """
    return text.encode("utf-8", "replace").decode("utf-8")


@dataclass(frozen=True)
class Decision:
    """What a reviewer thinks of a case, at one moment.

    Args:
        status: One of `STATUSES`.
        flagged: Should somebody else look at it?
        grade: 1 (useless) to 5 (perfect); 0 for none.
        comment: Free words.
        reviewer: Who; filled in by the desk.
        when: ISO 8601, UTC; filled in by the desk.
        version: The version that it is about; 0 for the prediction.
        prediction_hash: Of the prediction that was there; filled in by the desk.
        source_hash: Of the image that was there; filled in by the desk.

    Raises:
        InvalidRequest: If there is no such status or grade.
    """

    status: Status = "unreviewed"
    flagged: bool = False
    grade: int = 0
    comment: str = ""
    reviewer: str = ""
    when: str = ""
    version: int = 0
    prediction_hash: str = ""
    source_hash: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise InvalidRequest(
                f"there is no status {self.status!r}", cure=f"There are: {', '.join(STATUSES)}."
            )
        if not 0 <= self.grade <= BEST_GRADE:
            raise InvalidRequest(f"the grade is {self.grade}", cure=f"Give 1 to {BEST_GRADE}.")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "status": self.status, "flagged": self.flagged, "grade": self.grade,
            "comment": self.comment, "reviewer": self.reviewer, "when": self.when,
            "version": self.version, "prediction_hash": self.prediction_hash,
            "source_hash": self.source_hash,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Decision | None:
        """Read it back; None where it is none."""
        try:
            return cls(
                found["status"], bool(found.get("flagged")), int(found.get("grade") or 0),
                writable(str(found.get("comment") or "")),
                writable(str(found.get("reviewer") or "")),
                str(found.get("when") or ""), int(found.get("version") or 0),
                str(found.get("prediction_hash") or ""), str(found.get("source_hash") or ""),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, OverflowError, InvalidRequest):
            return None
