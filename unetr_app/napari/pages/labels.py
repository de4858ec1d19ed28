"""Labels: which are shown, in what colour, how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from qtpy.QtCore import QPoint
from qtpy.QtGui import QColor, QCursor
from qtpy.QtWidgets import QColorDialog, QLabel, QMenu, QWidget

from unetr_app.labels import Colour, Label, LabelSet
from unetr_app.napari.pages.icons import eye_icon, lock_icon, swatch_icon
from unetr_app.napari.pages.parts import (
    NumberBox,
    Slider,
    button,
    explain,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.napari.pages.rows import DASH, LabelRow
from unetr_app.napari.pages.tables import Column, RowsModel, Table

EYE, SWATCH, NAME, LOCK = 0, 1, 2, 3


@dataclass(frozen=True)
class _Row:
    label: Label
    colour: Colour
    is_shown: bool = True
    is_locked: bool = False
    statistics: LabelRow | None = None


def _columns() -> tuple[Column, ...]:
    def measured(what: str) -> Any:
        return lambda r: None if r.statistics is None else getattr(r.statistics, what)

    return (
        Column(
            "", lambda r: "", order=lambda r: not r.is_shown, width=22,
            icon=lambda r: eye_icon(r.is_shown), tip="Shown or hidden: click the eye",
            row_tip=lambda r: f"Click to {'hide' if r.is_shown else 'show'} {r.label.name}",
        ),
        Column(
            "", lambda r: "", order=lambda r: r.label.value, width=22,
            icon=lambda r: swatch_icon(r.colour), tip="Colour: click to change it",
            row_tip=lambda r: f"Click to give {r.label.name} another colour",
        ),
        Column(
            "Label", lambda r: r.label.name, width=90, takes_room=True, tip="Name of the label",
            row_tip=lambda r: f"{r.label.name}, value {r.label.value} in the label map",
        ),
        Column(
            "", lambda r: "", order=lambda r: not r.is_locked, width=22,
            icon=lambda r: lock_icon(r.is_locked),
            tip="Locked labels are not painted over, erased or changed: click the padlock",
            row_tip=lambda r: f"Click to {'unlock' if r.is_locked else 'lock'} {r.label.name}",
        ),
        Column(
            "ml", _volume, order=measured("millilitres"), is_number=True, width=52,
            tip="Volume in millilitres",
        ),
        Column(
            "Mean ± SD", _intensity, order=measured("mean"), is_number=True, width=75,
            tip="Mean and standard deviation of the image's intensity in the label (HU in CT)",
        ),
        Column(
            "Pieces", lambda r: "" if r.statistics is None else str(r.statistics.components),
            order=measured("components"), is_number=True, width=47,
            tip="Connected components: pieces that do not touch",
        ),
    )  # fmt: skip


def _volume(shown: _Row) -> str:
    if shown.statistics is None:
        return "…"
    ml = shown.statistics.millilitres
    return f"{ml:.2f}" if ml < 10 else f"{ml:.1f}" if ml < 1000 else f"{ml:.0f}"


def _intensity(shown: _Row) -> str:
    found = shown.statistics
    if found is None or found.mean is None or found.standard_deviation is None:
        return DASH
    places = 0 if abs(found.mean) >= 100 else 1 if abs(found.mean) >= 1 else 3
    return f"{found.mean:.{places}f} ± {found.standard_deviation:.{places}f}"


class LabelsPage(QWidget):
    """Labels in a table; the row that is selected is the active label."""

    shown = Signal(int, bool)
    soloed = Signal(int)
    coloured = Signal(int, tuple)
    opacity_changed = Signal(float)
    contour_changed = Signal(int)
    jump_wanted = Signal(int)
    locked = Signal(int, bool)
    selected = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.model = RowsModel(_columns(), lambda r: r.label.value)
        self.table = Table(self.model)
        self._rows: dict[int, _Row] = {}
        self.words = hint()
        self.solo = button("Solo", "solo", "Show the selected label alone", checkable=True)
        self.all = button("Show all", tip="Show every label")
        self.jump = button("Jump to", "jump", "Go to the middle of the selected label")
        self.opacity = Slider(0, 100, 60, "How strongly labels cover the image")
        self.percent = QLabel("60 %")
        self.contour = NumberBox(0, 10, 0, "px", places=0)
        self.contour.setSpecialValueText("filled")
        self.contour.setToolTip("Width of the outline on the screen; 0 fills the labels (O)")
        self._lay_out()
        self._connect()
        self.show_labels(LabelSet(()))

    def show_labels(self, labels: LabelSet) -> None:
        """Show these labels, not measured yet; colour, eye and padlock of known ones stay."""
        known = self._rows
        self._rows = {
            label.value: replace(known[label.value], statistics=None)
            if label.value in known and known[label.value].label == label
            else _Row(label, label.colour)
            for label in labels
        }
        self._show()

    def show_statistics(self, rows: Sequence[LabelRow]) -> None:
        """Show measurements; labels without a row lose theirs."""
        found = {one.value: one for one in rows}
        self._rows = {v: replace(r, statistics=found.get(v)) for v, r in self._rows.items()}
        self._show()

    def show_selected(self, value: int) -> None:
        """Mark the active label."""
        self.table.show_chosen(value)
        self._say_state()

    def show_shown(self, value: int, is_shown: bool) -> None:
        """Open or cross out the eye of a label."""
        self._change(value, is_shown=is_shown)

    def show_locked(self, value: int, is_locked: bool) -> None:
        """Shut or open the padlock of a label."""
        self._change(value, is_locked=is_locked)

    def show_colour(self, value: int, colour: Colour) -> None:
        """Show another colour of a label."""
        self._change(value, colour=colour)

    def show_solo(self, value: int) -> None:
        """Show which label is shown alone; 0 is none."""
        self.solo.setChecked(value != 0)

    def show_opacity(self, opacity: float) -> None:
        """Show how strongly labels cover the image, 0 to 1."""
        self.opacity.show_value(round(opacity * 100))
        self.percent.setText(f"{round(opacity * 100)} %")

    def show_contour(self, width: int) -> None:
        """Show the width of outlines; 0 is filled."""
        self.contour.show_value(width)

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.words)
        line = row()
        for made in (self.solo, self.all, self.jump):
            line.addWidget(made, 1)
        layout.addLayout(line)
        layout.addLayout(row(QLabel("Opacity"), self.opacity, self.percent, stretch=1))
        layout.addLayout(row(QLabel("Outline"), self.contour, stretch=1))
        self.percent.setMinimumWidth(44)
        self.setFocusProxy(self.table)

    def _connect(self) -> None:
        self.table.pressed_cell.connect(self._press)
        self.table.activated_row.connect(self.jump_wanted.emit)
        self.table.chosen.connect(self._choose)
        self.solo.clicked.connect(self._solo)
        self.all.clicked.connect(self._show_all)
        self.jump.clicked.connect(lambda: self.jump_wanted.emit(self.table.chosen_key()))
        self.opacity.valueChanged.connect(self._tell_opacity)
        self.contour.valueChanged.connect(lambda width: self.contour_changed.emit(int(width)))

    def _show(self) -> None:
        self.model.show_rows(tuple(self._rows.values()))
        self._say_state()

    def _change(self, value: int, **what: Any) -> None:
        if value in self._rows:
            self._rows[value] = replace(self._rows[value], **what)
            self._show()

    def _choose(self, value: int) -> None:
        self._say_state()
        self.selected.emit(value)

    def _press(self, value: int, column: int) -> None:
        known = self._rows[value]
        if column == EYE:
            self._change(value, is_shown=not known.is_shown)
            self.shown.emit(value, not known.is_shown)
        elif column == LOCK:
            self._change(value, is_locked=not known.is_locked)
            self.locked.emit(value, not known.is_locked)
        elif column == SWATCH:
            self.palette_menu(value).popup(QCursor.pos())

    def palette_menu(self, value: int) -> QMenu:
        """Colours to choose from for a label."""
        menu = QMenu(self)
        for n in range(1, 17):
            colour = Label(n, "colour").colour
            action = menu.addAction(swatch_icon(colour), f"Colour {n}")
            action.triggered.connect(lambda _=False, c=colour: self._colour(value, c))
        other = menu.addAction("Another colour …")
        other.triggered.connect(lambda: self._ask_colour(value))
        return menu

    def _ask_colour(self, value: int) -> None:
        dialog = QColorDialog(QColor(*self._rows[value].colour), self.window())
        dialog.setModal(False)
        dialog.colorSelected.connect(lambda c: self._colour(value, (c.red(), c.green(), c.blue())))
        dialog.move(self.mapToGlobal(QPoint(20, 20)))
        dialog.show()

    def _colour(self, value: int, colour: Colour) -> None:
        self._change(value, colour=colour)
        self.coloured.emit(value, colour)

    def _solo(self, is_on: bool) -> None:
        self.soloed.emit(self.table.chosen_key() if is_on else 0)

    def _show_all(self) -> None:
        if self.solo.isChecked():
            self.solo.setChecked(False)
            self.soloed.emit(0)
        for value, known in list(self._rows.items()):
            if not known.is_shown:
                self._change(value, is_shown=True)
                self.shown.emit(value, True)

    def _tell_opacity(self, percent: int) -> None:
        self.percent.setText(f"{percent} %")
        self.opacity_changed.emit(percent / 100)

    def _say_state(self) -> None:
        reason = "" if self.table.chosen_key() is not None else "select a label in the table"
        explain(self.solo, reason)
        explain(self.jump, reason)
        explain(self.all, "" if self._rows else "there are no labels")
        show_words(self.words, "" if self._rows else "The open case has no labels.")
