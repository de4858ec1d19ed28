"""History: the versions of a case, and the log of what was done with it."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QPlainTextEdit, QWidget

from unetr_app.napari.pages.parts import (
    button,
    explain,
    heading,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.napari.pages.rows import DASH, VersionRow
from unetr_app.napari.pages.tables import Column, RowsModel, Table


def _name(version: VersionRow) -> str:
    return f"Version {version.n}" if version.n else "Prediction"


def _dice(value: float | None) -> str:
    return DASH if value is None else f"{value:.3f}"


def _columns() -> tuple[Column, ...]:
    return (
        Column("Version", _name, order=lambda v: v.n, width=76, tip="Prediction, then corrections"),
        Column("Who", lambda v: v.who, width=72, tip="Who saved it"),
        Column("When", lambda v: v.when, width=126, tip="When it was saved"),
        Column(
            "Voxels", lambda v: f"{v.voxels_edited:,}" if v.n else DASH,
            order=lambda v: v.voxels_edited, is_number=True, width=62,
            tip="Voxels that were changed",
        ),
        Column(
            "Dice", lambda v: f"{_dice(v.dice_before)} → {_dice(v.dice_after)}" if v.n else DASH,
            order=lambda v: v.dice_after, width=104,
            tip="Mean Dice with the prediction: before this version, and after it",
        ),
        Column(
            "Time", lambda v: _time(v.seconds), order=lambda v: v.seconds, is_number=True,
            width=64, tip="Time spent on it",
        ),
    )  # fmt: skip


def _time(seconds: float | None) -> str:
    if seconds is None:
        return DASH
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


class HistoryPage(QWidget):
    """Versions, the newest first. None is ever changed or removed."""

    shown = Signal(int)
    restored = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._reason = ""
        self.model = RowsModel(_columns(), lambda version: version.n)
        self.table = Table(self.model)
        self.words = hint()
        self.show_ = button("Show", tip="Show the selected version as outlines, or hide it")
        self.restore = button(
            "Go back to this version",
            tip="Make the labels those of the selected version: a step to undo, saved as a new "
            "version; none in between is lost",
        )
        self.log_heading = heading("Log")
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMinimumHeight(80)
        self.log.setToolTip("What was done with the case; lines are only ever added")
        self._lay_out()
        self._connect()
        self.show_versions([])
        self.show_log([])

    def show_versions(self, versions: Sequence[VersionRow]) -> None:
        """Show these versions, the newest first."""
        self.model.show_rows(sorted(versions, key=lambda v: v.n, reverse=True))
        self._say_state()

    def show_log(self, lines: Sequence[str]) -> None:
        """Show what was done, one line each; no log where there is none."""
        self.log.setPlainText("\n".join(lines))
        self.log.setVisible(bool(lines))
        self.log_heading.setVisible(bool(lines))

    def set_read_only(self, reason: str) -> None:
        """Disable going back with a reason; an empty one enables it."""
        self._reason = reason
        self._say_state()

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addWidget(self.table, 2)
        layout.addWidget(self.words)
        layout.addLayout(row(self.show_, self.restore, stretch=1))
        layout.addWidget(self.log_heading)
        layout.addWidget(self.log, 1)
        self.setFocusProxy(self.table)

    def _connect(self) -> None:
        self.table.chosen.connect(self._say_state)
        self.table.activated_row.connect(self.shown.emit)
        self.show_.clicked.connect(lambda: self.shown.emit(self.table.chosen_key()))
        self.restore.clicked.connect(lambda: self.restored.emit(self.table.chosen_key()))

    def _say_state(self, _: object = None) -> None:
        versions = self.model.shown()
        chosen = self.table.chosen_key()
        reason = "" if chosen is not None else "select a version in the table"
        explain(self.show_, reason)
        newest = versions[0].n if versions else None
        if chosen is not None and chosen == newest:
            reason = "this is the newest version"
        explain(self.restore, self._reason or reason)
        if not versions:
            words = "The open case has no versions yet."
        elif newest == 0:
            words = "No corrected version yet. The prediction itself is never changed."
        else:
            words = "Select a version to show it, or to go back to it."
        show_words(self.words, words)
