"""Compare: how two segmentations of the case differ."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QCheckBox, QLabel, QWidget

from unetr_app.napari.pages.icons import swatch_icon
from unetr_app.napari.pages.parts import (
    Chooser,
    button,
    explain,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.napari.pages.rows import DASH, ComparisonRow
from unetr_app.napari.pages.tables import Column, RowsModel, Table
from unetr_app.review.comparison import DIFFERENCE_COLOURS, DIFFERENCES


def _columns() -> tuple[Column, ...]:
    return (
        Column("Label", lambda r: r.name, width=90, takes_room=True, tip="Name of the label"),
        Column(
            "Dice", lambda r: _number(r.dice, 3), order=lambda r: r.dice, is_number=True, width=52,
            tip="Overlap, 0 (none) to 1 (the same); a dash where neither has the label",
        ),
        Column(
            "HD95 mm", lambda r: _number(r.hd95_mm, 1), order=lambda r: r.hd95_mm, is_number=True,
            width=66,
            tip="95th percentile of the distances between the surfaces, in mm;\n"
            "a dash where one of them lacks the label",
        ),
        Column(
            "Δ ml", lambda r: _number(r.difference_ml, 2, sign="+"),
            order=lambda r: r.difference_ml, is_number=True, width=60,
            tip="Volume of the second less that of the first, in millilitres",
        ),
        Column(
            "Δ %", lambda r: _number(r.difference_percent, 1, sign="+"),
            order=lambda r: r.difference_percent, is_number=True, width=54,
            tip="The same in percent of the first; a dash where the first lacks the label",
        ),
    )  # fmt: skip


def _number(value: float | None, places: int, sign: str = "") -> str:
    return DASH if value is None or value != value else f"{value:{sign}.{places}f}"


class ComparePage(QWidget):
    """Two segmentations to choose, and their differences a label."""

    compare_wanted = Signal(str, str)
    difference_shown = Signal(bool)
    file_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._busy = ""
        self.first = Chooser("The first segmentation: the reference")
        self.second = Chooser("The second segmentation: what is compared with it")
        self.open_file = button("From a file …", tip="Add a segmentation from a file")
        self.compare = button("Compare", tip="Measure the differences of the two")
        self.model = RowsModel(_columns(), lambda r: r.name)
        self.table = Table(self.model)
        self.words = hint()
        self.map = QCheckBox("Show where they differ")
        self.map.setToolTip("Colour the voxels in which the two differ, over the image")
        explain(self.map)
        self._lay_out()
        self._connect()
        self.show_choices([])

    def show_choices(self, choices: list[str]) -> None:
        """Offer these segmentations, such as prediction, version 2, current edit."""
        for chooser in (self.first, self.second):
            chooser.show_items([(name, name) for name in choices])
        if len(choices) > 1 and self.first.currentIndex() == self.second.currentIndex():
            self.second.setCurrentIndex((self.first.currentIndex() + 1) % len(choices))
        self._say_state()

    def show_rows(self, rows: Sequence[ComparisonRow]) -> None:
        """Show differences, one row a label."""
        self.model.show_rows(rows)
        self._say_state()

    def show_busy(self, words: str) -> None:
        """Say that it is being measured; empty when done."""
        self._busy = words
        self._say_state()

    def show_difference(self, is_shown: bool) -> None:
        """Tick whether the difference map is shown."""
        blocked = self.map.blockSignals(True)
        self.map.setChecked(is_shown)
        self.map.blockSignals(blocked)

    def _lay_out(self) -> None:
        layout = page_layout(self)
        names = QLabel("First"), QLabel("Second")
        for name in names:
            name.setFixedWidth(56)
        layout.addLayout(row(names[0], self.first, stretch=1))
        layout.addLayout(row(names[1], self.second, stretch=1))
        layout.addLayout(row(self.compare, self.open_file, stretch=0))
        layout.addWidget(self.words)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.map)
        for kind, text in DIFFERENCES.items():
            swatch = QLabel()
            swatch.setPixmap(swatch_icon(DIFFERENCE_COLOURS[kind]).pixmap(16, 16))
            layout.addLayout(row(swatch, QLabel(text), stretch=1))

    def _connect(self) -> None:
        self.compare.clicked.connect(
            lambda: self.compare_wanted.emit(self.first.currentData(), self.second.currentData())
        )
        for chooser in (self.first, self.second):
            chooser.activated.connect(self._forget)
        self.open_file.clicked.connect(self.file_wanted)
        self.map.toggled.connect(self.difference_shown)

    def _forget(self) -> None:
        """Another pair was chosen: what is shown belongs to the last."""
        self.map.setChecked(False)
        self.show_rows([])

    def _say_state(self) -> None:
        first, second = self.first.currentData(), self.second.currentData()
        if first is None:
            reason = "no case is open"
        elif self.first.count() == 1:
            reason = "there is only one segmentation; open another from a file"
        else:
            reason = "choose two different segmentations" if first == second else ""
        explain(self.compare, self._busy or reason)
        explain(self.map, "" if self.model.shown() else "compare two segmentations first")
        words = self._busy or (reason and f"{reason.capitalize()}.")
        if not words and not self.model.shown():
            words = "Choose two segmentations, then press Compare."
        show_words(self.words, words)
