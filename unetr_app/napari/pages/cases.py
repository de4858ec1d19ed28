"""Cases: the worklist, and what is decided of the case that is open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from unetr_app.napari.pages.icons import flag_icon, status_icon
from unetr_app.napari.pages.parts import (
    TextField,
    button,
    explain,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.napari.pages.rows import DASH, CaseRow, flag_sentence, flag_words
from unetr_app.napari.pages.stars import Stars
from unetr_app.napari.pages.tables import Column, RowsModel, Table
from unetr_app.review.decision import readable
from unetr_app.review.keys import tooltip

STATUSES = ("unreviewed", "editing", "accepted", "rejected")
REVIEWED = ("accepted", "rejected")
_CASE = 2  # column
_SMALL = "QPushButton { font-size: 8pt; padding: 4px 2px; }"
_MEANINGS = {
    "unreviewed": "nobody has decided yet",
    "editing": "being corrected",
    "accepted": "fit for use",
    "rejected": "not fit for use",
}


def _status(case: CaseRow) -> str:
    return "problem" if case.problem else case.status


def _status_tip(case: CaseRow) -> str:
    if case.problem:
        return f"This case cannot be opened: {case.problem}"
    words = f"{case.status.capitalize()}: {_MEANINGS.get(case.status, '')}."
    return f"{words}\nIt has edits that are in no version yet." if case.has_unsaved else words


def _case_tip(case: CaseRow) -> str:
    flagged = "\nFlagged for another look." if case.flagged else ""
    return f"{case.case_id}\nDouble-click to open.{flagged}"


def _flags_tip(case: CaseRow) -> str:
    return "\n".join(flag_sentence(flag) for flag in case.flags) or "Nothing conspicuous was found."


def _columns() -> tuple[Column, ...]:
    return (
        Column(
            "Status",
            lambda c: _status(c) + (" *" if c.has_unsaved else ""),
            tip="What was decided. A star: edits that are in no version yet.",
            row_tip=_status_tip,
            icon=lambda c: status_icon(_status(c)),
            width=112,
        ),
        Column(
            "", lambda c: "", order=lambda c: not c.flagged, width=24, row_tip=_case_tip,
            icon=lambda c: flag_icon() if c.flagged else None, tip="Flagged for another look",
        ),
        Column("Case", lambda c: c.case_id, tip="Name of the case", row_tip=_case_tip, width=120),
        Column(
            "Findings", lambda c: ", ".join(map(flag_words, c.flags)), order=lambda c: len(c.flags),
            tip="What is conspicuous about the segmentation, by its measurements",
            row_tip=_flags_tip, width=110,
        ),
        Column(
            "Uncertainty",
            lambda c: DASH if c.uncertainty is None else f"{c.uncertainty:.3f}",
            order=lambda c: c.uncertainty, is_number=True, width=80,
            tip="Mean uncertainty of the prediction, 0 to 1; a dash where there is no map",
        ),
        Column(
            "Grade", lambda c: "★" * c.grade, order=lambda c: c.grade or None, width=78,
            tip="Quality by the reviewer, 1 to 5 stars",
        ),
        Column("Comment", lambda c: c.comment, tip="Comment of the reviewer", width=120),
        Column("Bundle", lambda c: c.bundle, tip="What made the segmentation", width=100),
        Column("Reviewer", lambda c: c.reviewer, tip="Who looked at it last", width=80),
        Column(
            "When", lambda c: readable(c.when), order=lambda c: c.when,
            tip="When it was looked at last", width=126,
        ),
        Column(
            "Versions", lambda c: str(c.versions) if c.versions else DASH,
            order=lambda c: c.versions, is_number=True, width=60,
            tip="How many corrected versions were saved",
        ),
    )  # fmt: skip


class CasesPage(QWidget):
    """The worklist, and what is decided of the case that is open.

    ``arranged`` tells the ids as they are shown: next and previous follow it. The open case is
    always among them, though it may fit the filter no longer: it was accepted a moment ago.
    """

    opened = Signal(str)
    next_wanted = Signal()
    previous_wanted = Signal()
    accepted = Signal()
    edit_wanted = Signal()
    rejected = Signal()
    flag_toggled = Signal()
    graded = Signal(int)
    commented = Signal(str)
    arranged = Signal(list)

    def __init__(self) -> None:
        super().__init__()
        self._current: str | None = None
        self._all: Sequence[CaseRow] = ()
        self._reason = ""
        self.model = RowsModel(_columns(), lambda case: case.case_id)
        self.table = Table(self.model)
        self.filter = TextField("Find a case, finding, comment …", "Show only rows with this text")
        self.filter.setClearButtonEnabled(True)
        self.status_buttons = {status: self._status_button(status) for status in STATUSES}
        self.flagged_only = button(
            "Flagged", tip="Show only cases that a reviewer flagged for another look",
            checkable=True,
        )  # fmt: skip
        self.flagged_only.setIcon(flag_icon())
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.progress.setToolTip("Cases that were accepted or rejected")
        self.words = hint("Double-click a case, or press Enter on it, to open it.")
        self._make_decisions()
        self._lay_out()
        self._connect()
        self._say_state()

    def show_rows(self, rows: Sequence[CaseRow]) -> None:
        """Show these cases; filter, order, selection and scroll stay."""
        if len(rows) != len(self._all):
            self.table.fit_column(_CASE, [case.case_id for case in rows], 80, 190)
        self._all = rows
        self.model.show_rows(rows)
        reviewed = sum(case.status in REVIEWED for case in rows)
        self.progress.setRange(0, max(len(rows), 1))
        self.progress.setValue(reviewed)
        self.progress.setFormat(f"{reviewed} of {len(rows)} reviewed")
        for status, made in self.status_buttons.items():
            count = sum(case.status == status for case in rows)
            made.setToolTip(f"Show {status} cases ({count}): {_MEANINGS[status]}")
        self._show_decisions(is_same_case=True)

    def show_current(self, case_id: str | None) -> None:
        """Mark the case that is open; None where none is."""
        is_same_case, self._current = case_id == self._current, case_id
        self._filter()
        self.model.show_bold(case_id)
        self.table.show_chosen(case_id)
        self._show_decisions(is_same_case)

    def show_busy(self, words: str) -> None:
        """Say what is going on, such as reading; empty when done."""
        self._busy = words
        self._say_state()

    def set_read_only(self, reason: str) -> None:
        """Disable deciding with a reason; an empty one enables it."""
        self._reason = reason
        self._say_state()

    def focus_comment(self) -> None:
        """Put the cursor into the comment."""
        if self.comment.isEnabled():
            self.comment.setFocus()
            self.comment.selectAll()

    def shown_ids(self) -> list[str]:
        """Ids in the order that is shown."""
        return [case.case_id for case in self.model.shown()]

    def _status_button(self, status: str) -> QPushButton:
        made = button(status.capitalize(), tip=f"Show {status} cases", checkable=True)
        made.setIcon(status_icon(status))
        made.setStyleSheet(_SMALL)
        return made

    def _make_decisions(self) -> None:
        self._busy = ""
        self.previous = button("Previous", "previous_case")
        self.next = button("Next", "next_case")
        self.accept = button("Accept", "accept")
        self.accept.setIcon(status_icon("accepted"))
        self.edit = button("Edit", "edit")
        self.edit.setIcon(status_icon("editing"))
        self.reject = button("Reject", "reject")
        self.reject.setIcon(status_icon("rejected"))
        self.flag = button("Flag", "flag", checkable=True)
        self.flag.setIcon(flag_icon())
        for made in (self.accept, self.edit, self.reject, self.flag):
            made.setStyleSheet("QPushButton { font-size: 9pt; padding: 5px 2px; }")
        self.stars = Stars()
        self.comment = TextField("Comment  C", tooltip("comment", "Comment; Enter keeps it"))

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addWidget(self.progress)
        layout.addLayout(row(self.filter, self.flagged_only, stretch=0))
        layout.addLayout(row(*self.status_buttons.values()))
        layout.addWidget(self.table, 1)
        layout.addWidget(self.words)
        for widgets in (
            (self.previous, self.next),
            (self.accept, self.edit, self.reject, self.flag),
        ):
            line: QHBoxLayout = row()
            for widget in widgets:
                line.addWidget(widget, 1)
            layout.addLayout(line)
        layout.addWidget(self.stars)
        layout.addWidget(self.comment)
        self.setFocusProxy(self.table)

    def _connect(self) -> None:
        self.filter.textChanged.connect(self._filter)
        for made in (*self.status_buttons.values(), self.flagged_only):
            made.toggled.connect(self._filter)
        self.model.arranged.connect(lambda: self.arranged.emit(self.shown_ids()))
        self.table.activated_row.connect(self._told(self.opened))
        for made, signal in (
            (self.previous, self.previous_wanted), (self.next, self.next_wanted),
            (self.accept, self.accepted), (self.edit, self.edit_wanted),
            (self.reject, self.rejected), (self.flag, self.flag_toggled),
        ):  # fmt: skip
            made.clicked.connect(self._asked(signal))
        self.stars.graded.connect(self._told(self.graded))
        self.comment.editingFinished.connect(self._tell_comment)

    def _told(self, signal: Any) -> Any:
        def tell(value: Any) -> None:
            self._tell_comment()
            signal.emit(value)

        return tell

    def _asked(self, signal: Any) -> Any:
        def ask() -> None:
            self._tell_comment()  # where a click takes no focus, as on macOS
            signal.emit()
            self.flag.setChecked(bool(self._case() and self._case().flagged))  # until rows say

        return ask

    def _tell_comment(self) -> None:
        case = self._case()
        if case is not None and self.comment.text() != case.comment and self.comment.isModified():
            self.comment.setModified(False)
            self.commented.emit(self.comment.text())

    def _filter(self) -> None:
        text = self.filter.text().casefold().strip()
        wanted = [s for s, made in self.status_buttons.items() if made.isChecked()]
        flagged = self.flagged_only.isChecked()
        fits, current = [column.text for column in self.model.columns], self._current

        def is_wanted(case: CaseRow) -> bool:
            return case.case_id == current or (
                (not wanted or case.status in wanted)
                and (not flagged or case.flagged)
                and (not text or any(text in fit(case).casefold() for fit in fits))
            )

        self.model.show_only(is_wanted)
        self._say_state()

    def _case(self) -> Any:
        return next((case for case in self._all if case.case_id == self._current), None)

    def _show_decisions(self, is_same_case: bool) -> None:
        case = self._case()
        is_typing = is_same_case and self.comment.hasFocus() and self.comment.isModified()
        if not is_typing:
            self.comment.setText(case.comment if case else "")
        self.stars.show_grade(case.grade if case else 0)
        self.flag.setChecked(bool(case and case.flagged))
        self._say_state()

    def _say_state(self) -> None:
        reason = self._reason or ("" if self._case() else "no case is open")
        decisions = (self.accept, self.edit, self.reject, self.flag, self.stars, self.comment)
        for widget in decisions:
            explain(widget, reason)
        for widget in (self.previous, self.next):
            explain(widget, "" if self._all else "the list is empty")
        shown, known = len(self.model.shown()), len(self._all)
        if self._busy:
            words = self._busy
        elif self._reason:
            words = f"Only looking: {self._reason}"
        elif known and not shown:
            words = "No case fits the filter."
        elif shown < known:
            words = f"{shown} of {known} cases are shown; the open one always is."
        else:
            words = "Double-click a case, or press Enter on it, to open it."
        show_words(self.words, words)
