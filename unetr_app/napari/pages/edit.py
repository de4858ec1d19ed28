"""Edit: tools, the active label, operations, undo and saving."""

from __future__ import annotations

import math

from qtpy.QtWidgets import QButtonGroup, QGridLayout, QLabel, QPushButton, QWidget

from unetr_app.labels import LabelSet
from unetr_app.napari.pages.icons import swatch_icon
from unetr_app.napari.pages.operations import Operations
from unetr_app.napari.pages.parts import (
    Chooser,
    NumberBox,
    Slider,
    button,
    explain,
    heading,
    hint,
    page_layout,
    row,
    rule,
    show_words,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.review.keys import tooltip

TOOLS = (
    ("pan", "Move", "pan"),
    ("brush", "Brush", "brush"),
    ("erase", "Erase", "erase"),
    ("fill", "Bucket", "fill"),
    ("brush_3d", "3D brush", "brush_3d"),
    ("erase_3d", "3D erase", ""),
)
"""Names in code, words, actions of the key table."""

SMALLEST_MM, LARGEST_MM = 0.5, 100.0
_STEPS = 200  # of the slider, which is logarithmic: small brushes need the finest choice


class EditPage(QWidget):
    """What is painted with, and what can be done to a whole label."""

    tool_chosen = Signal(str)
    brush_changed = Signal(float)
    label_chosen = Signal(int)
    operation_wanted = Signal(str, dict)
    undo_wanted = Signal()
    redo_wanted = Signal()
    save_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._reason = ""
        self._history = ("", "", 0)
        self.group = QButtonGroup(self)
        self.tools = {name: self._tool(*row_) for name, *row_ in TOOLS}
        self.words = hint()
        self.label = Chooser("The label that is painted and that operations change")
        self.brush = NumberBox(SMALLEST_MM, LARGEST_MM, 5, "mm")
        self.brush.setSingleStep(0.5)
        self.brush.setToolTip("Diameter of the brush in mm, smaller and larger: [ and ]")
        self.slider = Slider(0, _STEPS, _to_slider(5), "Diameter of the brush ([ and ])")
        self.operations = Operations()
        self.undo = button("Undo", "undo")
        self.redo = button("Redo", "redo")
        self.save = button("Save version", "save_version")
        self.state = hint()
        self._lay_out()
        self._connect()
        self.show_tool("pan")
        self._say_state()

    def show_labels(self, labels: LabelSet) -> None:
        """Offer these labels."""
        self.label.show_items([(label.name, label.value) for label in labels])
        for n, label in enumerate(labels):
            self.label.setItemIcon(n, swatch_icon(label.colour))
        self.operations.show_labels(labels)
        self.operations.show_label(self.label.currentData() or 0)
        self._say_state()

    def show_label(self, value: int) -> None:
        """Show which label is active."""
        self.label.show_choice(value)
        self.operations.show_label(value)

    def show_tool(self, tool: str) -> None:
        """Show which tool is in use."""
        self.tools[tool].setChecked(True)

    def show_brush(self, diameter_mm: float) -> None:
        """Show the brush's diameter."""
        self.brush.show_value(diameter_mm)
        self.slider.show_value(_to_slider(diameter_mm))

    def show_history(self, undoable: str, redoable: str, steps: int) -> None:
        """Show what can be undone and redone, by name, and how many steps no version has yet."""
        self._history = (undoable, redoable, steps)
        self._say_state()

    def set_read_only(self, reason: str) -> None:
        """Disable editing with a reason; an empty one enables it."""
        self._reason = reason
        self._say_state()

    def _tool(self, text: str, action: str) -> QPushButton:
        tip = "" if action else "3D eraser: erase a ball through the neighbouring slices"
        made = button(text, action, tip, checkable=True)
        self.group.addButton(made)
        return made

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addWidget(self.words)
        grid = QGridLayout()
        grid.setSpacing(4)
        for n, made in enumerate(self.tools.values()):
            grid.addWidget(made, n // 3, n % 3)
            grid.setColumnStretch(n % 3, 1)
        layout.addLayout(grid)
        layout.addLayout(row(QLabel("Label"), self.label, stretch=1))
        layout.addLayout(row(QLabel("Brush"), self.slider, self.brush, stretch=1))
        layout.addWidget(heading("Change the whole label"))
        layout.addWidget(self.operations)
        layout.addWidget(rule())
        line = row()
        line.addWidget(self.undo, 1)
        line.addWidget(self.redo, 1)
        layout.addLayout(line)
        layout.addWidget(self.state)
        layout.addWidget(self.save)
        layout.addStretch(1)

    def _connect(self) -> None:
        for name, made in self.tools.items():
            made.clicked.connect(lambda _=False, tool=name: self.tool_chosen.emit(tool))
        self.label.activated.connect(self._choose_label)
        self.brush.valueChanged.connect(self._tell_brush)
        self.slider.valueChanged.connect(
            lambda place: self.brush.setValue(round(_from_slider(place) * 2) / 2)
        )
        self.operations.wanted.connect(self.operation_wanted)
        self.undo.clicked.connect(self.undo_wanted)
        self.redo.clicked.connect(self.redo_wanted)
        self.save.clicked.connect(self.save_wanted)

    def _choose_label(self) -> None:
        value = int(self.label.currentData())
        self.operations.show_label(value)
        self.label_chosen.emit(value)

    def _tell_brush(self, diameter_mm: float) -> None:
        self.slider.show_value(_to_slider(diameter_mm))
        self.brush_changed.emit(diameter_mm)

    def _say_state(self) -> None:
        undoable, redoable, steps = self._history
        reason = self._reason or ("" if self.label.count() else "there is no label to edit")
        for name, made in self.tools.items():
            explain(made, "" if name == "pan" else reason)
        for widget in (self.label, self.brush, self.slider):
            explain(widget, reason)
        self.operations.explain(reason)
        explain(self.undo, reason or ("" if undoable else "there is nothing to undo"))
        explain(self.redo, reason or ("" if redoable else "there is nothing to redo"))
        if undoable and not reason:
            self.undo.setToolTip(tooltip("undo", f"Undo: {undoable}"))
        if redoable and not reason:
            self.redo.setToolTip(tooltip("redo", f"Redo: {redoable}"))
        explain(self.save, reason or ("" if steps else "there is nothing to save"))
        names = [f"Last step: {undoable}."] if undoable else []
        names += [f"Undone: {redoable}."] if redoable else []
        show_words(self.state, " ".join([*names, _unsaved(steps)]))
        show_words(self.words, f"Editing is off: {reason}" if reason else "")


def _unsaved(steps: int) -> str:
    if not steps:
        return "Nothing to save."
    return f"{steps} step{'s are' if steps > 1 else ' is'} in no version yet; none is lost."


def _to_slider(diameter_mm: float) -> int:
    share = math.log(diameter_mm / SMALLEST_MM) / math.log(LARGEST_MM / SMALLEST_MM)
    return round(min(max(share, 0), 1) * _STEPS)


def _from_slider(place: int) -> float:
    return SMALLEST_MM * (LARGEST_MM / SMALLEST_MM) ** (place / _STEPS)
