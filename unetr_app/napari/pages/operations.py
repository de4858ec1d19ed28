"""Operations: what changes a whole label at once, each with its own number."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from unetr_app.labels import LabelSet
from unetr_app.napari.pages.icons import swatch_icon
from unetr_app.napari.pages.parts import Chooser, NumberBox, button, explain, row
from unetr_app.napari.pages.qt import Signal

PLANES = (("axial", "axial slices"), ("coronal", "coronal slices"), ("sagittal", "sagittal slices"))

Number = tuple[str, NumberBox | Chooser]  # a parameter's name, and where it is set


class Operations(QWidget):
    """One row an operation: what it does, its number, all on the active label.

    ``wanted`` tells name and parameters:

    ========================  ====================================================
    ``keep_largest``          none
    ``remove_islands``        ``below_ml``
    ``fill_holes``            none
    ``grow``, ``shrink``      ``mm``
    ``interpolate``           ``plane``: axial, coronal or sagittal
    ``replace``               ``by``: value of the other label, 0 is background
    ``clear``                 none
    ========================  ====================================================

    Each also has ``value``: the active label.
    """

    wanted = Signal(str, dict)

    def __init__(self) -> None:
        super().__init__()
        self._value = 0
        self.below = NumberBox(0.01, 1000, 1, "ml", places=2)
        self.grow_by = NumberBox(0.1, 50, 2, "mm")
        self.shrink_by = NumberBox(0.1, 50, 2, "mm")
        for box in (self.grow_by, self.shrink_by):
            box.setSingleStep(0.5)
        self.below.setSingleStep(0.1)
        self.plane = Chooser("Slices that were drawn; those between them are filled in")
        self.plane.show_items([(words, plane) for plane, words in PLANES])
        self.by = Chooser("The label that takes its place")
        self.buttons: dict[str, QPushButton] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._fill()

    def show_labels(self, labels: LabelSet) -> None:
        """Offer these labels to replace by."""
        items: list[tuple[str, Any]] = [("background", 0)]
        self.by.show_items(items + [(label.name, label.value) for label in labels])
        for n, label in enumerate(labels, start=1):
            self.by.setItemIcon(n, swatch_icon(label.colour))

    def show_label(self, value: int) -> None:
        """Work on this label."""
        self._value = value

    def explain(self, reason: str) -> None:
        """Disable all with a reason; an empty one enables them."""
        for made in self.buttons.values():
            explain(made, reason)

    def _fill(self) -> None:
        short = (
            ("keep_largest", "Keep largest", "Remove all pieces but the largest one"),
            ("fill_holes", "Fill holes", "Fill what the label encloses on all sides"),
            ("clear", "Clear", "Remove the label everywhere; undo brings it back"),
        )
        line = row()
        for name, text, tip in short:
            line.addWidget(self._button(name, text, tip), 1)
        self._layout.addLayout(line)
        self._add(
            "remove_islands", "Remove pieces below", "Remove pieces that are smaller than this",
            ("below_ml", self.below),
        )  # fmt: skip
        self._add("grow", "Grow by", "Make the label larger on all sides", ("mm", self.grow_by))
        self._add(
            "shrink", "Shrink by", "Make the label smaller on all sides", ("mm", self.shrink_by)
        )
        self._add(
            "interpolate", "Fill in between",
            "Draw the label on some slices; this fills in the slices between them",
            ("plane", self.plane),
        )  # fmt: skip
        self._add("replace", "Replace by", "Turn the label into another one", ("by", self.by))

    def _add(self, name: str, text: str, tip: str, number: Number) -> None:
        line = row()
        line.addWidget(self._button(name, text, tip, number), 3)
        line.addWidget(number[1], 2)
        self._layout.addLayout(line)

    def _button(self, name: str, text: str, tip: str, number: Number | None = None) -> QPushButton:
        made = button(text, tip=tip)
        if number is not None and not number[1].toolTip():
            number[1].setToolTip(tip)

        def ask() -> None:
            said: dict[str, Any] = {"value": self._value}
            if number is not None:
                key, box = number
                said[key] = box.value() if isinstance(box, NumberBox) else box.currentData()
            self.wanted.emit(name, said)

        made.clicked.connect(ask)
        self.buttons[name] = made
        return made
