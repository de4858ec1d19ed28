"""Log: what was decided and done with a case, one JSON object a line, never changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from unetr_app.batch.lock import FileLock
from unetr_app.errors import UnwritableOutput
from unetr_app.io.lines import append_line
from unetr_app.review.decision import Decision, now, readable

_MOST_VERSIONS = 10**8  # a higher number is damage

Event = Mapping[str, Any]


class Log:
    """An append-only file; several processes may append.

    Each line reaches the disk before `append` returns. A line torn by a crash is passed over when
    reading, and closed before the next one, so that it spoils no other.

    Args:
        path: The file; its folder exists when something is appended.
    """

    def __init__(self, path: Path):
        self.path = path

    def append(self, event: str, **fields: Any) -> None:
        """Add a line: ``event``, ``when`` (UTC) and further fields.

        Raises:
            UnwritableOutput: If it cannot be written; what was there is unharmed.
        """
        row = {"event": event, "when": now(), **fields}
        line = json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            try:
                append_line(self.path, line)
            except OSError as error:
                raise UnwritableOutput(
                    f"the log of the review cannot be written: {error.strerror}",
                    cure="Free some space, or check that you may write there; nothing that was "
                    "logged before is lost.",
                    path=self.path,
                ) from error

    def events(self) -> list[dict[str, Any]]:
        """Every whole line, oldest first; none where there is no log or it cannot be read."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return []
        return list(_events(content))


def _events(content: bytes) -> Iterator[dict[str, Any]]:
    for line in content.split(b"\n"):
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):  # torn, or not ours
            continue
        if isinstance(row, dict) and isinstance(row.get("event"), str):
            yield cast("dict[str, Any]", row)


def decision_in(events: Sequence[Event], newest: int = 0) -> Decision:
    """What is decided after these events.

    A version that is saved after a decision reopens the case: what was accepted, or rejected, is
    no longer what there is.

    Args:
        events: Oldest first.
        newest: Number of the newest version that is there, damaged ones too; a process may have
            been killed after it saved one and before it logged that.

    Example:
        >>> decision_in([{"event": "decided", "status": "accepted"}]).status
        'accepted'
        >>> decision_in([{"event": "decided", "status": "accepted"}, {"event": "saved"}]).status
        'editing'
    """
    decision = Decision()
    for event in events:
        if event["event"] == "decided":
            decision = Decision.from_dict(event) or decision
        elif event["event"] == "saved":
            whole = {**decision.to_dict(), "status": "editing", "version": event.get("version")}
            who = {"reviewer": event.get("reviewer"), "when": event.get("when")}
            decision = Decision.from_dict(whole | who) or decision
    if newest > max(decision.version, highest_version(events)):
        decision = replace(decision, status="editing", version=newest)
    return decision


def highest_version(events: Sequence[Event]) -> int:
    """The highest number of a version that the log knows of; 0 where it knows of none."""
    said = (event.get(word) for event in events for word in ("version", "newest"))
    return max((n for n in said if isinstance(n, int) and n <= _MOST_VERSIONS), default=0)


def line_of(event: Event) -> str:
    """An event for people: when, who, what.

    Example:
        >>> line_of({"event": "saved", "when": "2026-01-02T03:04:05Z", "version": 2})
        '2026-01-02 03:04 UTC  saved  version 2'
    """
    told = [readable(str(event.get("when") or "")), str(event.get("reviewer", "")),
            str(event["event"])]  # fmt: skip
    if event["event"] == "decided":
        grade, comment = event.get("grade"), event.get("comment")
        told += [str(event.get("status", "")), "flagged" if event.get("flagged") else "",
                 f"grade {grade}" if grade else "", str(comment or "")]  # fmt: skip
    for name in ("version", "label", "name", "kind"):
        if event.get(name):
            told.append(f"{name} {event[name]}")
    return "  ".join(words for words in told if words)
