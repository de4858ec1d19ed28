"""Uncertainty: where the prediction is least sure, slice by slice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtWidgets import QButtonGroup, QCheckBox, QLabel, QPushButton, QWidget

from unetr_app.napari.pages.curve import Curve
from unetr_app.napari.pages.parts import (
    Slider,
    button,
    explain,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal

PLANES = ("axial", "coronal", "sagittal")
_NOTHING = "Open a case to see its uncertainty."


class UncertaintyPage(QWidget):
    """The score of each slice of a plane, and what leads to the next one to look at."""

    plane_chosen = Signal(str)
    next_uncertain = Signal()
    next_changed = Signal()
    slice_wanted = Signal(int)
    map_shown = Signal(bool)
    opacity_changed = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self._missing = _NOTHING
        self._has_changed = False
        self.group = QButtonGroup(self)
        self.planes = {plane: self._plane(plane) for plane in PLANES}
        self.planes["axial"].setChecked(True)
        self.curve = Curve()
        self.curve_words = hint(
            "Higher: the network was less sure. Click to go there. Yellow: the slice in sight; "
            "orange ticks: slices that were changed."
        )
        self.words = hint(_NOTHING)
        self.uncertain = button("Next uncertain", "next_uncertain")
        self.changed = button("Next changed", "next_changed")
        self.map = QCheckBox("Show the uncertainty map")
        self.map.setToolTip("Colour the image by how unsure the network was of each voxel")
        self.opacity = Slider(0, 100, 50, "How strongly the map covers the image")
        self.percent = QLabel("50 %")
        self.percent.setMinimumWidth(44)
        self._lay_out()
        self._connect()
        self._say_state()

    def show_scores(
        self,
        plane: str,
        scores: NDArray[np.floating] | None,
        current: int,
        changed: NDArray[np.bool_],
    ) -> None:
        """Show the scores of a plane's slices.

        Args:
            plane: axial, coronal or sagittal.
            scores: One for each slice; None where there is no map.
            current: Slice in sight, from 0.
            changed: For each slice, was it changed by the reviewer?
        """
        self.planes[plane].setChecked(True)
        self._has_changed = bool(np.any(changed))
        if scores is not None:
            self._missing = ""
        elif not self._missing or self._missing == _NOTHING:
            self._missing = "This case has no uncertainty map."
        shown = np.full(len(changed), np.nan) if scores is None else scores
        self.curve.show_scores(shown, current, changed)
        self._say_state()

    def show_missing(self, words: str) -> None:
        """Say why there is no map; changed slices can still be walked through."""
        self._missing = words
        self._has_changed = False
        self.curve.show_scores(np.zeros(0), 0, np.zeros(0, bool))
        self._say_state()

    def forget(self) -> None:
        """Show nothing of the last case."""
        self.show_missing(_NOTHING)

    def show_map(self, is_shown: bool, opacity: float) -> None:
        """Show whether the map is on, and how strong, 0 to 1."""
        for widget in (self.map, self.opacity):
            widget.blockSignals(True)
        self.map.setChecked(is_shown)
        self.opacity.setValue(round(opacity * 100))
        self.percent.setText(f"{round(opacity * 100)} %")
        for widget in (self.map, self.opacity):
            widget.blockSignals(False)

    def _plane(self, plane: str) -> QPushButton:
        made = button(plane.capitalize(), tip=f"Score of each {plane} slice", checkable=True)
        self.group.addButton(made)
        made.clicked.connect(lambda: self.plane_chosen.emit(plane))
        return made

    def _lay_out(self) -> None:
        layout = page_layout(self)
        line = row()
        for made in self.planes.values():
            line.addWidget(made, 1)
        layout.addLayout(line)
        layout.addWidget(self.words)
        layout.addWidget(self.curve, 1)
        layout.addWidget(self.curve_words)
        line = row()
        line.addWidget(self.uncertain, 1)
        line.addWidget(self.changed, 1)
        layout.addLayout(line)
        layout.addWidget(self.map)
        layout.addLayout(row(QLabel("Opacity"), self.opacity, self.percent, stretch=1))

    def _connect(self) -> None:
        self.curve.clicked.connect(self.slice_wanted)
        self.uncertain.clicked.connect(self.next_uncertain)
        self.changed.clicked.connect(self.next_changed)
        self.map.toggled.connect(self.map_shown)
        self.opacity.valueChanged.connect(self._tell_opacity)

    def _tell_opacity(self, percent: int) -> None:
        self.percent.setText(f"{percent} %")
        self.opacity_changed.emit(percent / 100)

    def _say_state(self) -> None:
        show_words(self.words, self._missing)
        reason = self._missing.rstrip(".")
        for widget in (self.uncertain, self.map, self.opacity):
            explain(widget, reason)
        explain(self.changed, "" if self._has_changed else "no slice was changed")
        self.curve_words.setVisible(not self._missing)
