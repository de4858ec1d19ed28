"""Worklist: the cases there are to review, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.errors import InvalidRequest, UnetrError
from unetr_app.io.atomic import PathLike
from unetr_app.labels import LabelSet
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.decision import Decision, writable
from unetr_app.review.desk import Desk
from unetr_app.review.findings import Findings, note_findings
from unetr_app.review.holder import Held
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.loading import files_of, load_case
from unetr_app.review.log import Log, decision_in
from unetr_app.review.row import Row
from unetr_app.review.sources import Entry, Listed, read_source
from unetr_app.review.stamps import stamp_of
from unetr_app.review.strokes import holds_steps
from unetr_app.review.unusual import unusual
from unetr_app.review.versions import Versions


def open_worklist(
    path: PathLike, *, reviews: PathLike | None = None, labels: LabelSet | None = None
) -> Worklist:
    """Open what there is to review; no image is read and nothing is written.

    Args:
        path: An output folder of ``unetr segment``, a list (CSV or JSON), a ``dataset.json`` or
            its folder, or a folder of images with labels.
        reviews: Where reviews lie; beside the source where None.
        labels: What values mean, where the source does not say.

    Raises:
        InvalidRequest: If there is no such path, or nothing in it to review.
        UnreadableInput: If a list is none.
    """
    return Worklist(Path(path), None if reviews is None else Path(reviews), labels)


@dataclass(frozen=True)
class _Seen:
    """What small files say of a case, and the stamp that they had."""

    stamp: str
    decision: Decision
    findings: Findings
    versions: int
    unsaved: bool
    opened: str


class Worklist:
    """The cases of a source with their reviews. Build it with `open_worklist`.

    Args:
        path: The source.
        reviews: Where reviews lie; beside the source where None.
        labels: What values mean, where the source does not say.
    """

    def __init__(self, path: Path, reviews: Path | None, labels: LabelSet | None):
        self._path, self._reviews, self._labels = path, reviews, labels
        self._listed = self._read()
        self._entries = {entry.id: entry for entry in self._listed.entries}
        self._seen: dict[str, _Seen] = {}
        self._compared: list[Findings] = []
        self._unusual: dict[str, tuple[str, ...]] = {}

    @property
    def title(self) -> str:
        """What it is called."""
        return self._listed.title

    @property
    def folder(self) -> Path:
        """Where the reviews lie; it need not exist."""
        return self._listed.reviews if self._reviews is None else self._reviews

    @property
    def notes(self) -> tuple[str, ...]:
        """What else the user should know of the source."""
        return self._listed.notes

    @property
    def cases(self) -> tuple[str, ...]:
        """Ids of all cases, in order."""
        return tuple(self._entries)

    def rows(self) -> list[Row]:
        """What is known of each case; only files that changed since the last call are read."""
        self._follow_source()
        seen = {entry.id: self._look(entry) for entry in self._entries.values()}
        self._compare({case_id: one.findings for case_id, one in seen.items()})
        return [self._row(entry, seen[entry.id]) for entry in self._entries.values()]

    def row(self, case_id: str) -> Row:
        """What is known of one case.

        Raises:
            InvalidRequest: If there is no such case.
        """
        entry = self.entry(case_id)
        return self._row(entry, self._look(entry))

    def decision(self, case_id: str) -> Decision:
        """What is decided of a case, and on which version, prediction and image.

        Raises:
            InvalidRequest: If there is no such case.
        """
        return self._look(self.entry(case_id)).decision

    def entry(self, case_id: str) -> Entry:
        """A case as its source names it.

        Raises:
            InvalidRequest: If there is no such case.
        """
        if case_id not in self._entries:
            raise InvalidRequest(f"there is no case {case_id!r}", cure="Choose one of the list.")
        return self._entries[case_id]

    def case_folder(self, case_id: str) -> CaseFolder:
        """Where the review of a case lies; it need not exist."""
        return CaseFolder(self.folder / self.entry(case_id).id)

    def resume_at(self) -> str | None:
        """Where the work stopped; None where there is nothing to open.

        The first case under edit, else the one opened last, else the first without a decision.
        """
        rows = [row for row in self.rows() if row.problem is None]
        editing = next((row.case_id for row in rows if row.status == "editing"), None)
        if editing is not None:
            return editing
        last = max(rows, key=lambda row: self._seen[row.case_id].opened, default=None)
        if last is not None and self._seen[last.case_id].opened:
            return last.case_id
        unreviewed = (row.case_id for row in rows if row.status == "unreviewed")
        return next(unreviewed, rows[0].case_id if rows else None)

    def note_findings(self, case_id: str, findings: Mapping[str, Any]) -> None:
        """Keep what was measured of a case; see `unetr_app.review.findings.note_findings`.

        Raises:
            InvalidRequest: If there is no such case.
            UnwritableOutput: If it cannot be written.
        """
        note_findings(self.case_folder(case_id), findings)

    def load(self, case_id: str) -> LoadedCase:
        """Read everything of a case: heavy, safe in any thread, takes no lock.

        Raises:
            InvalidRequest: If there is no such case.
            UnetrError: If its labels cannot be read.
        """
        return load_case(self.entry(case_id), self.case_folder(case_id))

    def open(
        self, case_id: str, reviewer: str, loaded: LoadedCase | None = None, *,
        read_only: bool = False,
    ) -> Desk:  # fmt: skip
        """Open a case for one reviewer.

        Args:
            case_id: The case.
            reviewer: Who; kept in decisions and versions.
            loaded: What `load` gave, which is read again where files changed since.
            read_only: Look at it only; takes no lock and writes nothing.

        Raises:
            InvalidRequest: If there is no such case.
            CaseInUse: If another reviewer has it open; says who, and since when.
            UnwritableOutput: If the folder of reviews cannot be written to.
            UnetrError: If its labels cannot be read.
        """
        entry, folder = self.entry(case_id), self.case_folder(case_id)
        if entry.problem is not None:
            raise entry.problem
        reviewer = writable(reviewer)
        held = None if read_only else Held.take(folder, reviewer)
        try:
            if loaded is None or not _is_current(loaded, entry, folder):
                loaded = load_case(entry, folder)
            return Desk(entry, folder, loaded, reviewer, held)
        except BaseException:
            if held is not None:
                held.release()
            raise

    def _read(self) -> Listed:
        leave_out = self._reviews or ""
        return read_source(self._path, labels=self._labels, leave_out=leave_out)

    def _follow_source(self) -> None:
        """Read the source again where it changed; what cannot be read now leaves all as it was."""
        if self._listed.is_outdated:
            with suppress(UnetrError):
                self._listed = self._read()
                self._entries = {entry.id: entry for entry in self._listed.entries}

    def _compare(self, found: Mapping[str, Findings]) -> None:
        """Find what is unusual among the cases, where findings changed since the last time."""
        if list(found.values()) != self._compared:
            self._compared, self._unusual = list(found.values()), unusual(found)

    def _row(self, entry: Entry, seen: _Seen) -> Row:
        decision, findings = seen.decision, seen.findings
        named = [entry.bundle.get(key, "") for key in ("name", "version")]
        mean = findings.uncertainty
        return Row(
            entry.id, entry.kind, entry.modality or findings.modality,
            " ".join(filter(None, named)),
            (*(findings.flags or ()), *self._unusual.get(entry.id, ())),
            entry.mean_uncertainty if mean is None else mean,
            "editing" if seen.unsaved else decision.status,
            decision.flagged, decision.grade, decision.comment, decision.reviewer, decision.when,
            seen.versions, seen.unsaved, entry.problem, findings.flags is not None,
        )  # fmt: skip

    def _look(self, entry: Entry) -> _Seen:
        folder = CaseFolder(self.folder / entry.id)
        files = (folder.log, folder.findings, folder.versions, folder.strokes)
        stamp = stamp_of(files)
        seen = self._seen.get(entry.id)
        if seen is None or seen.stamp != stamp:
            events = Log(folder.log).events()
            numbers = Versions(folder.versions).numbers()
            opened = (str(e.get("when")) for e in reversed(events) if e["event"] == "opened")
            seen = _Seen(
                stamp, decision_in(events, max(numbers, default=0)), Findings.of(folder),
                len(numbers), holds_steps(folder.strokes), next(opened, ""),
            )  # fmt: skip
            self._seen[entry.id] = seen
        return seen


def _is_current(loaded: LoadedCase, entry: Entry, folder: CaseFolder) -> bool:
    """Is what was loaded still what there is?"""
    same_files = loaded.stamp == stamp_of(files_of(entry, loaded.image))
    return same_files and loaded.numbers == tuple(Versions(folder.versions).numbers())
