"""Desk: a case that a reviewer has open, locked, with everything needed to change it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from unetr_app.errors import InvalidRequest, UnwritableOutput
from unetr_app.labels import Label, LabelSet
from unetr_app.review.case_folder import CaseFolder
from unetr_app.review.clock import Clock
from unetr_app.review.decision import Decision, now, writable
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.journal import StrokeJournal, base_hash
from unetr_app.review.holder import Held
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.loading import files_of, prediction_hash_of, source_hash_of
from unetr_app.review.log import Log, decision_in, highest_version, line_of
from unetr_app.review.saving import Circumstances, described
from unetr_app.review.sources.entry import Entry
from unetr_app.review.stamps import Hashes, stamp_of
from unetr_app.review.standing import lost_since
from unetr_app.review.strokes import begin, holds_steps, remove, restored, set_aside
from unetr_app.review.version import Version
from unetr_app.review.versions import Versions
from unetr_app.volume import Segmentation, values_in


class Desk:
    """An open case. Build it with `unetr_app.review.worklist.Worklist.open`.

    Args:
        entry: The case as its source names it.
        folder: Its review.
        loaded: What is in memory of it.
        reviewer: Who has it open.
        held: Its lock; None for looking at it only.

    Attributes:
        loaded: What is in memory of the case.
        versions: What was saved.
        start: The newest version, or the prediction: what edits are counted from.
        table: The labels that can be painted.
        history: The array that is edited, with its undo; its strokes are on the disk.
        decision: What is decided.
        clock: Seconds spent; pause it when the reviewer is away.
        warnings: What the reviewer should know, in order.
    """

    def __init__(
        self, entry: Entry, folder: CaseFolder, loaded: LoadedCase, reviewer: str,
        held: Held | None,
    ):  # fmt: skip
        self.loaded = loaded
        self.reviewer = reviewer
        self.versions = Versions(folder.versions)
        self.start: Segmentation = loaded.labels
        self.table: LabelSet = self.start.labels
        self.history: EditHistory = begin(self.start)
        self.clock = Clock()
        self._entry, self._folder, self._held = entry, folder, held
        self._stamp = loaded.stamp
        self._base = loaded.version.number if loaded.version is not None else 0
        self._dice: dict[int, float] | None = None
        self._seconds_saved = 0.0
        self._seconds_before = 0.0
        self._steps_saved = 0
        self._log = Log(folder.log)
        events = self._log.events()
        self.decision: Decision = decision_in(events, max(loaded.numbers, default=0))
        self.warnings: tuple[str, ...] = loaded.warnings
        if held is not None:
            self.versions.tidy()
            self._warn(*_replaced_since(events, loaded))
            if lost := lost_since(loaded, self.decision):
                self._warn(f"it was {self.decision.status}, and {lost} since: review it again")
            self._name_again(events)
            self._warn(*restored(folder.strokes, self.start, self.history, self._before_start()))
            journal = self._journal
            self._seconds_before = 0.0 if journal is None else journal.seconds
            self._log.append("opened", reviewer=reviewer, source_hash=loaded.source_hash,
                             prediction_hash=loaded.prediction_hash)  # fmt: skip

    @property
    def case_id(self) -> str:
        """The case."""
        return self.loaded.case_id

    @property
    def base(self) -> int:
        """The version that edits are counted from; 0 for the prediction."""
        return self._base

    @property
    def is_read_only(self) -> bool:
        """Is it only looked at?"""
        return self._held is None

    @property
    def is_unsaved(self) -> bool:
        """Are there strokes that are in no version?"""
        journal = self._journal
        pending = journal is not None and journal.pending > 0
        return not self.is_read_only and (pending or holds_steps(self._folder.strokes))

    @property
    def unsaved_steps(self) -> int:
        """Steps of editing that are in no version."""
        return len(self.history.steps) - self._steps_saved

    @property
    def seconds(self) -> float:
        """Spent on it since it was opened, without the breaks."""
        return self.clock.seconds

    @property
    def labels(self) -> Segmentation:
        """The labels as they are edited now; a copy. Values without a name go by their number."""
        start, data = self.start, self.history.data.copy()
        if start.is_overlapping:
            return Segmentation(data, start.geometry, self.table, start.provenance)
        table = self.table.completed(values_in(data))
        return Segmentation(data, start.geometry, table, start.provenance)

    def add_label(self, name: str) -> Label:
        """One more label to paint with; it is kept with the next version.

        Args:
            name: Not taken yet.

        Returns:
            The label, with the lowest value that is free.

        Raises:
            InvalidRequest: If the name is taken, no value is free, or labels overlap.
        """
        self._require_writable()
        highest = int(np.iinfo(self.history.data.dtype).max) if self.history.data.ndim == 3 else 0
        free = next((n for n in range(1, highest + 1) if n not in self.table.values), None)
        if free is None:
            raise InvalidRequest(
                "these labels overlap, or are too many: no label can be added",
                cure="Add it to the bundle, or draw it as a list of its own.",
            )
        label = Label(free, writable(name))
        self._name(label)
        self._log.append("label added", reviewer=self.reviewer, label=free, name=label.name)
        return label

    def _name(self, label: Label) -> None:
        self.table = LabelSet((*self.table, label))
        self.history.values = self.table.values

    def record(self, decision: Decision) -> Decision:
        """Keep what the reviewer decides; what is concluded is saved first where it was edited.

        Args:
            decision: Reviewer, time and version are filled in.

        Returns:
            What was kept.

        Raises:
            InvalidRequest: If the case is only looked at, or closed.
            UnwritableOutput: If it cannot be written.
        """
        self._require_writable()
        if decision.status in ("accepted", "rejected"):
            self.save(decision.status)  # what is decided is a version; no stroke is left open
        whole = replace(
            decision, comment=writable(decision.comment), reviewer=self.reviewer, when=now(),
            version=self._base,
            prediction_hash=self.loaded.prediction_hash, source_hash=self.loaded.source_hash,
        )  # fmt: skip
        said = {key: value for key, value in whole.to_dict().items() if key != "when"}
        self._log.append("decided", **said, newest=max(self.versions.numbers(), default=0))
        self.decision = whole
        return whole

    def save(self, reason: str = "saved") -> Version | None:
        """Save the labels as a new version.

        Returns:
            The version; None where nothing differs from the newest one.

        Raises:
            InvalidRequest: If the case is only looked at, or closed.
            UnwritableOutput: If it cannot be written; every stroke is kept.
        """
        self._require_writable()
        self.check_files()
        if np.array_equal(self.history.data, self.start.data):
            self._settle()
            return None
        labels = self.labels
        how = Circumstances(
            self.reviewer, reason, self._base, self._unsaved_seconds,
            self.history.steps[self._steps_saved :], self.warnings, self._dice,
        )  # fmt: skip
        with _spoken():
            version = self.versions.add(
                labels,
                described(labels, self.start, self.loaded, how),
                after=highest_version(self._log.events()),
            )
        self.start, self.table, self._base = labels, labels.labels, version.number
        self._dice = {e.value: e.dice_after for e in version.edits if e.dice_after is not None}
        self._seconds_before, self._seconds_saved = 0.0, self.seconds
        self._steps_saved = len(self.history.steps)
        self.decision = replace(self.decision, status="editing", version=version.number,
                                reviewer=self.reviewer, when=version.when)  # fmt: skip
        self._begin_journal()
        self._log.append("saved", reviewer=self.reviewer, version=version.number, reason=reason)
        return version

    def discard_strokes(self) -> None:
        """Go back to the newest version, or the prediction; the journal of strokes is set aside.

        `history` is a new one around the same array.

        Raises:
            InvalidRequest: If the case is only looked at, or closed.
            UnwritableOutput: If the journal cannot be set aside.
        """
        self._require_writable()
        if self._folder.strokes.exists():
            set_aside(self._folder.strokes)
        data = self.history.data
        data[...] = self.start.data
        self.history = EditHistory(data, self.table.values, start=self.start.data)
        self._steps_saved = 0
        self._warn(*restored(self._folder.strokes, self.start, self.history))
        self._log.append("discarded", reviewer=self.reviewer)

    def check_files(self) -> tuple[str, ...]:
        """Were image or prediction replaced since the case was opened? What to tell the reviewer.

        Their contents are read only where sizes or times differ. It is among the `warnings` from
        then on; asked again, nothing is told twice.
        """
        stamp = stamp_of(files_of(self._entry, self.loaded.image))
        if stamp == self._stamp:
            return ()
        self._stamp = stamp
        hashes = Hashes(self._folder.hashes)
        now_there = {
            "prediction": (prediction_hash_of(self._entry, hashes), self.loaded.prediction_hash),
            "image": (source_hash_of(self._entry, hashes), self.loaded.source_hash),
        }
        told = tuple(
            f"the {what} was replaced or removed while the case was open; edits belong to the one "
            "before: save, close, and open the case again"
            for what, (found, known) in now_there.items()
            if found != known
        )
        self._warn(*told)
        return told

    def keep_strokes(self) -> None:
        """Try again to write strokes that a full disk refused; nothing where there are none.

        Raises:
            UnwritableOutput: If it refuses them still.
        """
        if self._journal is not None:
            self._journal.flush()

    def log_lines(self) -> list[str]:
        """What was done with the case, a line each, the newest first."""
        return [line_of(event) for event in reversed(self._log.events())]

    def close(self) -> None:
        """Let go of the case; strokes that are in no version stay in their journal.

        Raises:
            UnwritableOutput: If strokes that a full disk refused before are refused once more;
                they are lost. `keep_strokes` says so in time.
        """
        if self._held is None or not self._held.lock.is_held:
            return
        self.clock.pause()
        try:
            with suppress(UnwritableOutput):
                self._log.append("closed", reviewer=self.reviewer, seconds=round(self.seconds, 1))
            if np.array_equal(self.history.data, self.start.data):
                remove(self._folder.strokes)
            elif self._journal is not None:
                _keep(self._journal, self._unsaved_seconds - self._seconds_before)
        finally:
            self.history.journal = None
            self._held.release()

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _journal(self) -> StrokeJournal | None:
        journal = self.history.journal
        return journal if isinstance(journal, StrokeJournal) else None

    @property
    def _unsaved_seconds(self) -> float:
        """Spent since the version before, in earlier sittings too."""
        return self._seconds_before + self.seconds - self._seconds_saved

    def _name_again(self, events: list[dict[str, Any]]) -> None:
        """Labels that were added and are in no version yet."""
        for event in events:
            if event["event"] == "label added" and not self.start.is_overlapping:
                with suppress(InvalidRequest, KeyError, TypeError, AttributeError):
                    self._name(Label(event["label"], event["name"]))

    def _before_start(self) -> Segmentation | None:
        """The labels that the newest version was saved from, where they are there still."""
        version = self.loaded.version
        if version is None or not self._folder.strokes.exists():
            return None
        if version.base == 0:
            return self.loaded.prediction
        base = self.versions.get(version.base)
        with suppress(Exception):  # damaged: then nobody knows
            return self.versions.read(base, self.start.geometry)  # pyright: ignore
        return None

    def _settle(self) -> None:
        """Strokes that took each other back are no edits: the case need not stay open for them."""
        if self.is_unsaved:
            self._begin_journal()
        self._steps_saved = len(self.history.steps)

    def _begin_journal(self) -> None:
        """Strokes from here on begin with the version that was just saved.

        Where the disk is full the old journal stays, which leads to that very version; the next
        stroke begins the new one.
        """
        journal = self._journal
        if journal is not None:
            with suppress(UnwritableOutput):
                journal.clear(base_hash(self.start.data))

    def _require_writable(self) -> None:
        if self._held is None or not self._held.lock.is_held:
            raise InvalidRequest(
                "the case is open for looking only, or closed", cure="Open it to change it."
            )

    def _warn(self, *words: str) -> None:
        self.warnings = tuple(dict.fromkeys((*self.warnings, *words)))


def _replaced_since(events: list[dict[str, Any]], loaded: LoadedCase) -> tuple[str, ...]:
    """What is another file than when the case was opened last."""
    last = next((e for e in reversed(events) if e["event"] == "opened"), None)
    if last is None:
        return ()
    told: list[str] = []
    for key, what, found in (
        ("prediction_hash", "prediction", loaded.prediction_hash),
        ("source_hash", "image", loaded.source_hash),
    ):
        if last.get(key) and found and last[key] != found:
            told.append(
                f"the {what} was replaced since the case was last opened: {last.get('when')}"
            )
    return tuple(told)


def _keep(journal: StrokeJournal, seconds: float) -> None:
    """Note the time with the strokes; a full disk matters where strokes are pending."""
    pending = journal.pending
    try:
        journal.add_seconds(seconds)
    except UnwritableOutput:
        if pending:
            raise


@contextmanager
def _spoken() -> Generator[None]:
    """Say of a version that cannot be written what a reviewer can do."""
    try:
        yield
    except UnwritableOutput as problem:
        raise UnwritableOutput(
            f"the version is not saved: {problem.cause}",
            cure="Free some space, or check that you may write there, then save or accept again; "
            "no edit is lost.",
        ) from problem
