"""Display: intensity window, convention, crosshair, and which image is shown."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QButtonGroup, QCheckBox, QGridLayout, QLabel, QRadioButton, QWidget

from unetr_app.napari.pages.parts import (
    Chooser,
    NumberBox,
    button,
    explain,
    heading,
    hint,
    page_layout,
    row,
)
from unetr_app.napari.pages.qt import Signal
from unetr_app.review.keys import tooltip

OWN, WHOLE = "own", "whole"
"""Names in ``preset_chosen`` of the image's own window and of its whole range."""
CONVENTIONS = ("radiological", "neurological")


class DisplayPage(QWidget):
    """How the image is shown; nothing here changes it or its labels."""

    window_chosen = Signal(float, float)
    preset_chosen = Signal(str)
    convention_chosen = Signal(str)
    crosshair_shown = Signal(bool)
    letters_shown = Signal(bool)
    image_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.image = Chooser("Which image, or which of its channels, lies under the labels")
        self.presets = QGridLayout()
        self.presets.setSpacing(4)
        self.level = NumberBox(-1e6, 1e6, 40, places=3)
        self.level.setToolTip("Level: the intensity that is shown mid-grey (HU in CT)")
        self.width_ = NumberBox(0.001, 2e6, 400, places=3)
        self.width_.setToolTip("Width: from black to white; narrow means strong contrast")
        for box in (self.level, self.width_):
            box.setSingleStep(10)
        self.own = button("DICOM's own", tip="The window that the scanner or its operator stored")
        self.whole = button("Whole range", tip="From the darkest to the brightest voxel")
        self.group = QButtonGroup(self)
        self.conventions = {name: self._convention(name) for name in CONVENTIONS}
        self.conventions["radiological"].setChecked(True)
        self.crosshair = QCheckBox("Crosshair  K")
        self.crosshair.setToolTip(tooltip("crosshair"))
        self.letters = QCheckBox("Letters of direction")
        self.letters.setToolTip(
            "R right, L left, A front, P back, S head, I feet: of the patient, at the edges"
        )
        for box in (self.crosshair, self.letters):
            box.setChecked(True)
        self._lay_out()
        self._connect()
        self.show_own("the image stores no window")
        self.show_images([])

    def show_presets(self, presets: Sequence[tuple[str, float, float]]) -> None:
        """Offer these windows: name, level, width."""
        while self.presets.count():
            item = self.presets.takeAt(0)
            widget = item.widget() if item else None
            if widget is not None:
                widget.hide()  # it is deleted only when Qt comes to it
                widget.deleteLater()
        for n, (name, level, width) in enumerate(presets):
            tip = tooltip("next_window", f"Level {level:g}, width {width:g}. Through all in turn:")
            made = button(name.capitalize(), tip=tip)
            made.clicked.connect(lambda _=False, chosen=name: self.preset_chosen.emit(chosen))
            self.presets.addWidget(made, n // 3, n % 3)
            self.presets.setColumnStretch(n % 3, 1)
        self.presets_words.setVisible(not presets)

    def show_window(self, level: float, width: float) -> None:
        """Show the window in use."""
        self.level.show_value(level)
        self.width_.show_value(width)

    def show_own(self, reason: str) -> None:
        """Offer the image's own window, or say why there is none."""
        explain(self.own, reason)

    def show_images(self, names: list[str]) -> None:
        """Offer these images."""
        self.image.show_items([(name, name) for name in names])
        reason = "" if len(names) > 1 else "there is no other image" if names else "no case is open"
        explain(self.image, reason)
        for widget in (self.level, self.width_, self.whole):
            explain(widget, "" if names else "no image is open")

    def show_image(self, name: str) -> None:
        """Show which image is in sight."""
        self.image.show_choice(name)

    def show_convention(self, name: str) -> None:
        """Show the convention in use."""
        self.conventions[name].setChecked(True)

    def show_crosshair(self, is_shown: bool) -> None:
        """Show whether the crosshair is on."""
        blocked = self.crosshair.blockSignals(True)
        self.crosshair.setChecked(is_shown)
        self.crosshair.blockSignals(blocked)

    def _convention(self, name: str) -> QRadioButton:
        side = "right" if name == "radiological" else "left"
        made = QRadioButton(f"{name.capitalize()}: patient's left on the {side}")
        made.setToolTip(tooltip("convention"))
        made.clicked.connect(lambda: self.convention_chosen.emit(name))
        self.group.addButton(made)
        return made

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addLayout(row(QLabel("Image"), self.image, stretch=1))
        layout.addWidget(heading("Intensity window  W"))
        self.presets_words = hint("Presets are for CT, in Hounsfield units.")
        layout.addWidget(self.presets_words)
        layout.addLayout(self.presets)
        line = row()
        line.addWidget(self.own, 1)
        line.addWidget(self.whole, 1)
        layout.addLayout(line)
        names = QLabel("Level"), QLabel("Width")
        for name in names:
            name.setFixedWidth(44)
        layout.addLayout(row(names[0], self.level, stretch=1))
        layout.addLayout(row(names[1], self.width_, stretch=1))
        layout.addWidget(heading("Left and right  T"))
        for made in self.conventions.values():
            layout.addWidget(made)
        layout.addWidget(heading("On the picture"))
        layout.addWidget(self.crosshair)
        layout.addWidget(self.letters)
        layout.addStretch(1)

    def _connect(self) -> None:
        self.own.clicked.connect(lambda: self.preset_chosen.emit(OWN))
        self.whole.clicked.connect(lambda: self.preset_chosen.emit(WHOLE))
        for box in (self.level, self.width_):
            box.valueChanged.connect(self._tell_window)
        self.crosshair.toggled.connect(self.crosshair_shown)
        self.letters.toggled.connect(self.letters_shown)
        self.image.activated.connect(lambda: self.image_chosen.emit(self.image.currentData()))

    def _tell_window(self) -> None:
        self.window_chosen.emit(self.level.value(), self.width_.value())
