"""Learn: a short fine-tuning on accepted cases, and what it brought."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QLineEdit,
    QProgressBar,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from unetr_app.napari.pages.parts import (
    Chooser,
    NumberBox,
    TextField,
    answer,
    button,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal

COLUMNS = ("Label", "Dice before", "Dice after", "Cases")


class LearnPage(QWidget):
    """What to start from, on what, and where the new bundle goes; progress and the table after."""

    start_wanted = Signal(str, str, str, int, str)  # data set, bundle, new bundle, epochs, rename
    trust_given = Signal()
    cancel_wanted = Signal()
    accepted_wanted = Signal()  # the accepted cases of a review as the data set

    def __init__(self, parent: QWidget | None = None):
        super().__init__(parent)
        self.dataset = TextField("folder with dataset.json")
        self.out = TextField("a new folder")
        self.rename = TextField(
            "Leber=liver, where names differ", "Labels of the cases as the bundle names them"
        )
        self.bundle = Chooser("The bundle to start from; it is never changed")
        self.bundle.setEditable(True)
        self.epochs = NumberBox(1, 10_000, 10, places=0)
        self.epochs.setToolTip("Passes over the cases")
        self.start, self.cancel = button("Start"), button("Cancel")
        self.accepted = button(
            "Use the accepted cases", tip="Write the accepted cases of this review as a data set"
        )
        self.accepted.setVisible(False)
        self.trust = button("I have looked: trust it and start")
        self.bar = QProgressBar()
        self.words = answer()
        self.table = QTableWidget(0, len(COLUMNS))
        self.table.setHorizontalHeaderLabels([*COLUMNS])
        self._inputs = (
            self.dataset, self.accepted, self.bundle, self.out, self.epochs, self.rename,
            self.start,
        )  # fmt: skip
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

    def show_preparing(self, preparing: bool) -> None:
        """Show whether the accepted cases are being written: nothing starts meanwhile."""
        for part in self._inputs:
            part.setEnabled(not preparing)

    def show_words(self, words: str) -> None:
        """Say how it is going."""
        show_words(self.words, words)

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
            self.out.text().strip(), int(self.epochs.value()), self.rename.text().strip(),
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
        form.addRow("Labels", self.rename)
        whole = page_layout(self)
        whole.addLayout(form)
        whole.addLayout(row(self.start, self.cancel))
        for part in (self.bar, self.words, self.trust, self.table):
            whole.addWidget(part)
        whole.addStretch(1)
        self.show_rows(())

    def _with_browser(self, line: QLineEdit, title: str) -> QWidget:
        def choose() -> None:
            folder = QFileDialog.getExistingDirectory(self, title)
            if folder:
                line.setText(folder)

        browse = button("Folder…")
        browse.clicked.connect(choose)
        whole = QWidget()
        whole.setLayout(row(line, browse, stretch=0))
        return whole
