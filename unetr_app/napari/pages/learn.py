"""Learn: a short fine-tuning on accepted cases, and what it brought."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

COLUMNS = ("Label", "Dice before", "Dice after", "Cases")


class LearnPage(QWidget):
    """What to start from, on what, and where the new bundle goes; progress and the table after."""

    start_wanted = Signal(str, str, str, int)  # data set, bundle, new bundle's folder, epochs
    trust_given = Signal()
    cancel_wanted = Signal()
    accepted_wanted = Signal()  # the accepted cases of a review as the data set

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.dataset, self.out = QLineEdit(), QLineEdit()
        self.dataset.setPlaceholderText("folder with dataset.json")
        self.out.setPlaceholderText("a new folder")
        self.bundle = QComboBox()
        self.bundle.setEditable(True)
        self.bundle.setToolTip("The bundle to start from; it is never changed")
        self.epochs = QSpinBox()
        self.epochs.setRange(1, 10_000)
        self.epochs.setValue(10)
        self.epochs.setToolTip("Passes over the cases")
        self.start, self.cancel = QPushButton("Start"), QPushButton("Cancel")
        self.accepted = QPushButton("Use the accepted cases")
        self.accepted.setToolTip("Write the accepted cases of this review as a data set")
        self.accepted.setVisible(False)
        self.trust = QPushButton("I have looked at the bundle's configs: trust it and start")
        self.bar = QProgressBar()
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels([*COLUMNS])
        self._inputs = (self.dataset, self.bundle, self.out, self.epochs, self.start)
        self._lay_out()
        self.start.clicked.connect(self._emit_start)
        self.trust.clicked.connect(self._emit_trust)
        self.accepted.clicked.connect(self.accepted_wanted)
        self.cancel.clicked.connect(self.cancel_wanted)
        self.show_running(False)
        self.ask_trust(False)

    def offer(self, bundles: Sequence[str]) -> None:
        """Fill the choice of bundles."""
        self.bundle.clear()
        self.bundle.addItems([*bundles])

    def offer_accepted(self) -> None:
        """Offer the accepted cases of a review."""
        self.accepted.setVisible(True)

    def use_dataset(self, folder: str) -> None:
        """Take a data set's folder, as if it had been chosen."""
        self.dataset.setText(folder)

    def refuse(self, words: str) -> None:
        """Say why nothing can be learnt here."""
        self.show_words(words)
        for part in self._inputs:
            part.setEnabled(False)

    def ask_trust(self, wanted: bool) -> None:
        """Ask whether the bundle's configs may run, or take the question back."""
        self.trust.setVisible(wanted)

    def show_words(self, words: str) -> None:
        """Say how it is going."""
        self.words.setText(words)

    def show_running(self, running: bool) -> None:
        """Show whether a fine-tuning is under way."""
        for part in self._inputs:
            part.setEnabled(not running)
        self.cancel.setEnabled(running)
        self.bar.setVisible(running)
        self.bar.setRange(0, 0)

    def show_steps(self, done: int, of: int) -> None:
        """Show how many steps of this stage are done."""
        self.bar.setRange(0, max(of, 1))
        self.bar.setValue(done)

    def show_rows(self, rows: Sequence[Sequence[str]]) -> None:
        """Show the table of scores, or take it away."""
        self.table.setRowCount(len(rows))
        for n, cells in enumerate(rows):
            for k, cell in enumerate(cells):
                self.table.setItem(n, k, QTableWidgetItem(cell))
        self.table.setVisible(bool(rows))

    def _emit_start(self) -> None:
        self.ask_trust(False)
        self.show_rows(())
        self.start_wanted.emit(
            self.dataset.text().strip(), self.bundle.currentText().strip(),
            self.out.text().strip(), self.epochs.value(),
        )  # fmt: skip

    def _emit_trust(self) -> None:
        self.trust_given.emit()

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Cases", self._with_browser(self.dataset, "A data set's folder"))
        form.addRow("", self.accepted)
        form.addRow("Start from", self.bundle)
        form.addRow("New bundle", self._with_browser(self.out, "A new, empty folder"))
        form.addRow("Epochs", self.epochs)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        whole = QVBoxLayout(self)
        whole.addLayout(form)
        whole.addLayout(buttons)
        for part in (self.bar, self.words, self.trust, self.table):
            whole.addWidget(part)
        whole.addStretch(1)
        self.show_rows(())

    def _with_browser(self, line: QLineEdit, title: str) -> QWidget:
        def choose() -> None:
            folder = QFileDialog.getExistingDirectory(self, title)
            if folder:
                line.setText(folder)

        button = QPushButton("Folder…")
        button.clicked.connect(choose)
        whole = QWidget()
        row = QHBoxLayout(whole)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(line, 1)
        row.addWidget(button)
        return whole
