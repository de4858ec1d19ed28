"""CaseControl: which case is on the desk, and what is decided about it."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer

from unetr_app.errors import CaseInUse, UnetrError, UnwritableOutput
from unetr_app.napari.pages.cases import CasesPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.loader import CaseLoader
from unetr_app.napari.reviewing.prepared import Prepared, prepare
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.worklist import open_worklist

_GRADES = 5


class CaseControl:
    """Opens cases one after another, reads the next one ahead, and records decisions.

    Args:
        bench: Shared by all controls.
        page: The list of cases.
        reviewer: Who decides.
        advances: Whether the next case is shown when one was accepted or rejected.
    """

    def __init__(self, bench: Bench, page: CasesPage, *, reviewer: str, advances: bool = False):
        self._bench, self._page = bench, page
        self._reviewer, self._advances = reviewer, advances
        self._loader: CaseLoader | None = None
        self._coming: Future[Any] | None = None
        self._order: list[str] = []
        self._connect()

    def _connect(self) -> None:
        page = self._page
        page.opened.connect(self.open)
        page.next_wanted.connect(self.next)
        page.previous_wanted.connect(self.previous)
        page.accepted.connect(self.accept)
        page.rejected.connect(self.reject)
        page.edit_wanted.connect(self.edit)
        page.flag_toggled.connect(self.toggle_flag)
        page.graded.connect(self.grade)
        page.commented.connect(self.comment)
        page.arranged.connect(self._arrange)
        self._bench.labels_changed.connect(lambda _: self._note_edit())
        self._rows = QTimer()  # several reasons at once draw the table once
        self._rows.setSingleShot(True)
        self._rows.setInterval(0)
        self._rows.timeout.connect(self.show_rows)
        self._bench.rows_changed.connect(self._rows.start)

    @property
    def ahead(self) -> tuple[Future[Any], ...]:
        """What is being read ahead."""
        return () if self._loader is None else self._loader.jobs

    def open_worklist(self, path: Path, reviews: Path | None = None, case_id: str = "") -> None:
        """Show a worklist.

        Args:
            path: Of the worklist.
            reviews: Where decisions are kept; beside the cases where absent.
            case_id: The case to begin with; where the work stopped where empty.

        Raises:
            UnetrError: If there is no worklist at that path, or no such case in it.
        """
        worklist = open_worklist(path, reviews=reviews)
        self.leave()
        self._bench.stock.clear()
        self._bench.worklist = worklist
        self._loader = CaseLoader(lambda one: prepare(worklist, one), self._bench.background)
        self.show_rows()
        begin = worklist.entry(case_id).id if case_id else worklist.resume_at()
        if begin is None:
            self._bench.say("No case here can be opened; the table says why.", "warning")
        else:
            self.open(begin)

    def show_rows(self) -> None:
        """Bring the table up to date."""
        if self._bench.worklist is not None:
            with self._bench.careful():
                self._page.show_rows(self._bench.worklist.rows())

    def open(self, case_id: str) -> None:
        """Show a case; the one before is put away."""
        if self._loader is None or (self._shown and case_id == self._case_id):
            return
        if not self._is_kept():
            return
        if self._coming is not None:
            self._coming.cancel()
        self._page.show_busy(f"reading {case_id} …")
        self._coming = self._loader.get(
            case_id, lambda prepared: self._show(case_id, prepared), self._fail
        )

    def next(self) -> None:
        """Show the case after this one, in the order of the table."""
        self._step(1)

    def previous(self) -> None:
        """Show the case before this one."""
        self._step(-1)

    def accept(self) -> None:
        """The labels are right as they are now: what was edited becomes a version."""
        self._conclude("accepted")

    def reject(self) -> None:
        """The labels are of no use."""
        self._conclude("rejected")

    def edit(self) -> None:
        """The labels are being corrected."""
        if self._is_writable() and self._desk.decision.status != "editing":
            self._record(status="editing")

    def toggle_flag(self) -> None:
        """Mark the case for somebody to look at, or take the mark away."""
        if self._is_writable():
            self._record(flagged=not self._desk.decision.flagged)

    def grade(self, grade: int) -> None:
        """Grade the case.

        Args:
            grade: 1 to 5; 0 takes the grade back.
        """
        if self._is_writable() and 0 <= grade <= _GRADES:
            self._record(grade=grade)

    def comment(self, words: str) -> None:
        """Write a comment on the case."""
        if self._is_writable() and words != self._desk.decision.comment:
            self._record(comment=words)

    def leave(self) -> None:
        """Put the case away; strokes that are in no version stay in its journal."""
        if self._coming is not None:
            self._coming.cancel()
            self._coming = None
        shown = self._bench.shown
        if shown is None:
            return
        self._bench.case_leaving.emit(shown)
        shown.leave()
        with self._bench.careful():
            shown.desk.close()
        self._bench.shown = None

    def _note_edit(self) -> None:
        """What is edited is no longer decided."""
        if self._desk.decision.status != "editing" and self._desk.is_unsaved:
            self._record(status="editing")

    @property
    def _shown(self) -> ShownCase | None:
        return self._bench.shown

    @property
    def _desk(self) -> Any:
        assert self._bench.shown is not None
        return self._bench.shown.desk

    @property
    def _case_id(self) -> str:
        return self._desk.loaded.case_id

    def _is_kept(self) -> bool:
        """Are all strokes on the disk? If a full disk refuses them, the case is not left."""
        with self._bench.careful():
            if self._shown is not None:
                self._desk.keep_strokes()
            return True
        return False

    def _is_writable(self) -> bool:
        return self._shown is not None and self._bench.may_change(self._shown)

    def _show(self, case_id: str, prepared: Prepared) -> None:
        last = self._shown
        self.leave()
        self._page.show_busy("")
        worklist = self._bench.worklist
        why_read_only = ""
        try:
            try:
                desk = worklist.open(case_id, self._reviewer, loaded=prepared.loaded)
            except (CaseInUse, UnwritableOutput) as refused:
                why_read_only = _words_for(refused)
                desk = worklist.open(
                    case_id, self._reviewer, loaded=prepared.loaded, read_only=True
                )
        except UnetrError as problem:
            self._bench.stock.clear()
            self._fail(problem)
            return
        self._bench.shown = ShownCase(
            desk, self._bench.viewer, self._bench.stock, prepared, why_read_only=why_read_only
        )
        self._bench.views.begin_case()
        self._page.show_current(case_id)
        self._page.set_read_only(why_read_only)
        self._bench.panel.show_case(case_id)
        self._bench.say("")
        self._bench.case_shown.emit(self._bench.shown)
        told = [why_read_only, *desk.warnings] if why_read_only else [*desk.warnings]
        if told:
            self._bench.say(" ".join(f"{words.rstrip('.')}." for words in told), "warning")
        self._bench.rows_changed.emit()
        self._read_ahead(last)

    def _fail(self, problem: UnetrError) -> None:
        self._page.show_busy("")
        self._bench.complain(problem)
        if self._shown is not None:
            self._page.show_current(self._case_id)

    def _arrange(self, case_ids: list[str]) -> None:
        self._order = list(case_ids)

    def _neighbour(self, step: int) -> str | None:
        """The case that is some rows further in the table, as it is sorted and filtered."""
        if not self._order:
            return None
        if self._shown is None or self._case_id not in self._order:
            return self._order[0]
        at = self._order.index(self._case_id) + step
        return self._order[at] if 0 <= at < len(self._order) else None

    def _step(self, step: int) -> None:
        wanted = self._neighbour(step)
        if wanted is None:
            self._bench.say("This is the last case." if step > 0 else "This is the first case.")
        else:
            self.open(wanted)

    def _read_ahead(self, last: ShownCase | None) -> None:
        """Read the next case, and keep the one that was left: people go back."""
        if self._loader is None:
            return
        wanted = [case_id for case_id in (self._neighbour(1),) if case_id is not None]
        if last is not None and last.is_as_loaded and last.desk.case_id not in wanted:
            self._loader.put(last.desk.case_id, last.prepared)
            wanted.append(last.desk.case_id)
        self._loader.ahead(wanted)

    def _conclude(self, status: str) -> None:
        if not self._is_writable():
            return
        if self._record(status=status):
            self._bench.say(f"{self._case_id}: {status}.")
            if self._advances:
                self.next()

    def _record(self, **changes: Any) -> bool:
        """Keep a decision; what is accepted is saved first where it was edited."""
        is_done = False
        self._bench.say("")  # what went wrong before may be right now
        with self._bench.careful(), self._bench.busy():
            self._desk.record(replace(self._desk.decision, **changes))
            is_done = True
        self._bench.rows_changed.emit()
        return is_done


def _words_for(refused: CaseInUse | UnwritableOutput) -> str:
    """Why a case can only be looked at."""
    if isinstance(refused, CaseInUse):
        return f"{refused.cause}: it can be looked at, and changed when it is closed there."
    return f"{refused} Until then it can only be looked at."
