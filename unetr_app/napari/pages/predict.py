"""Predict: which bundle to apply to the image, where, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import QCheckBox, QFileDialog, QFormLayout, QProgressBar, QWidget

from unetr_app.napari.pages.parts import Chooser, answer, button, page_layout, row, show_words
from unetr_app.napari.pages.qt import Signal


class PredictPage(QWidget):
    """What to predict with, a button to run and one to cancel, and what came of it."""

    run_wanted = Signal(str, str, bool)  # bundle, device, uncertainty map
    trust_given = Signal(str)  # bundle
    cancel_wanted = Signal()

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.bundle = Chooser("The bundle that segments: an installed one, or a folder")
        self.browse = button("Folder…", tip="Choose a bundle's folder")
        self.device = Chooser("Where the network runs; auto takes a GPU where there is one")
        self.uncertainty = QCheckBox("Map of uncertainty")
        self.uncertainty.setChecked(True)
        self.uncertainty.setToolTip("Show how undecided each voxel is, too")
        self.run, self.cancel = button("Run"), button("Cancel")
        self.bar = QProgressBar()
        self.words, self.question = answer(), answer()
        self.yes = button("I have looked: trust it and run")
        self._asked = ""
        self._lay_out()
        self.browse.clicked.connect(self._choose_folder)
        self.run.clicked.connect(self._emit_run)
        self.cancel.clicked.connect(self.cancel_wanted)
        self.yes.clicked.connect(self._emit_trust)
        self.show_running(False)
        self.ask_trust("")

    def offer(self, bundles: Sequence[str], devices: Sequence[str]) -> None:
        """Fill the choices, and keep what is chosen where it is still there."""
        for box, names in ((self.bundle, bundles), (self.device, devices)):
            chosen = box.currentText()
            box.clear()
            box.addItems([*names])
            box.setCurrentIndex(max(0, box.findText(chosen)))

    def add_bundle(self, folder: str) -> None:
        """Offer a folder, and choose it."""
        if self.bundle.findText(folder) < 0:
            self.bundle.addItem(folder)
        self.bundle.setCurrentText(folder)

    def refuse(self, words: str) -> None:
        """Say why nothing can be run here."""
        self.show_words(words)
        for part in (self.bundle, self.browse, self.device, self.uncertainty, self.run):
            part.setEnabled(False)

    def show_words(self, words: str) -> None:
        """Say how it is going."""
        show_words(self.words, words)

    def show_running(self, running: bool) -> None:
        """Show whether a prediction is under way."""
        for part in (self.bundle, self.browse, self.device, self.uncertainty, self.run):
            part.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        self.bar.setRange(0, 0)

    def show_windows(self, done: int, of: int) -> None:
        """Show how many windows are done."""
        self.bar.setRange(0, of)
        self.bar.setValue(done)

    def ask_trust(self, bundle: str) -> None:
        """Ask whether the configs of a bundle may run; an empty name takes the question back."""
        self._asked = bundle
        self.question.setText(
            f"The configs of {bundle} are programs, which would run as you. Look at them first."
        )
        self.question.setVisible(bool(bundle))
        self.yes.setVisible(bool(bundle))

    def _emit_run(self) -> None:
        self.ask_trust("")
        self.run_wanted.emit(
            self.bundle.currentText(), self.device.currentText(), self.uncertainty.isChecked()
        )

    def _emit_trust(self) -> None:
        asked = self._asked
        self.ask_trust("")
        self.trust_given.emit(asked)

    def _choose_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "A bundle's folder")
        if folder:
            self.add_bundle(folder)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Bundle", row(self.bundle, self.browse, stretch=0))
        form.addRow("Device", self.device)
        form.addRow("", self.uncertainty)
        whole = page_layout(self)
        whole.addLayout(form)
        whole.addLayout(row(self.run, self.cancel))
        for part in (self.bar, self.words, self.question, self.yes):
            whole.addWidget(part)
        whole.addStretch(1)
