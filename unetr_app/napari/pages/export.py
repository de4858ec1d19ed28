"""Export: what leaves the review, of which cases, and where to."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QFileDialog,
    QProgressBar,
    QRadioButton,
    QWidget,
)

from unetr_app.napari.pages.parts import (
    TextField,
    button,
    explain,
    heading,
    hint,
    page_layout,
    row,
    show_words,
)
from unetr_app.napari.pages.qt import Signal

KINDS = {
    "nifti": ("Label map (NIfTI)", "The reviewed labels on the image's own grid"),
    "dicom_seg": (
        "DICOM segmentation (SEG)",
        "For a PACS or viewer: marked semi-automatic, refers to its images and the first version",
    ),
    "report": ("Report", "Volumes, decisions and comments as tables"),
    "training_set": (
        "Training set", "Images with labels, and a list (dataset.json), to train a network on",
    ),
}  # fmt: skip
"""What can be exported: name in code, words, tooltip."""


class ExportPage(QWidget):
    """``export_wanted`` tells ``kinds`` (list), ``all_accepted`` (bool) and ``folder`` (str)."""

    export_wanted = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        self._reasons: dict[str, str] = dict.fromkeys(KINDS, "no case is open")
        self._is_running = False
        self._written_to = ""
        self.kinds = {kind: QCheckBox(words) for kind, (words, _) in KINDS.items()}
        self.reasons = {kind: hint() for kind in KINDS}
        for kind, box in self.kinds.items():
            box.setToolTip(KINDS[kind][1])
            explain(box)
        self.group = QButtonGroup(self)
        self.this_case = QRadioButton("This case")
        self.all_accepted = QRadioButton("All accepted cases")
        for choice in (self.this_case, self.all_accepted):
            self.group.addButton(choice)
        self.this_case.setChecked(True)
        self.folder = TextField("Choose a folder", "Folder that the files are written to")
        self.browse = button("Browse …", tip="Choose the folder")
        self.export = button("Export")
        self.progress = QProgressBar()
        self.progress.setVisible(False)
        self.words = hint()
        self.result = hint()
        self.open_folder = button("Open folder", tip="Show the files that were written")
        self.open_folder.setVisible(False)
        self._lay_out()
        self._connect()
        self._say_state()

    def show_available(self, reasons: dict[str, str]) -> None:
        """Say of each kind why it is not available; empty where it is."""
        self._reasons.update(reasons)
        self._say_state()

    def show_progress(self, done: int, total: int) -> None:
        """Show how far it is; done when both are equal."""
        self._is_running = done < total
        self.progress.setVisible(self._is_running)
        self.progress.setRange(0, total)
        self.progress.setValue(done)
        self.progress.setFormat(f"{done} of {total}")
        self._say_state()

    def show_result(self, words: str) -> None:
        """Say what became of it, at the end."""
        self._is_running = False
        self.progress.setVisible(False)
        show_words(self.result, words)
        self.open_folder.setVisible(bool(words) and Path(self._written_to).is_dir())
        self._say_state()

    def show_folder(self, folder: str) -> None:
        """Show a folder to write to."""
        self.folder.setText(folder)

    def _lay_out(self) -> None:
        layout = page_layout(self)
        layout.addWidget(heading("What"))
        for kind, box in self.kinds.items():
            layout.addWidget(box)
            self.reasons[kind].setIndent(22)
            layout.addWidget(self.reasons[kind])
        layout.addWidget(heading("Of"))
        layout.addWidget(self.this_case)
        layout.addWidget(self.all_accepted)
        layout.addWidget(heading("To"))
        layout.addLayout(row(self.folder, self.browse, stretch=0))
        layout.addWidget(self.words)
        layout.addWidget(self.export)
        layout.addWidget(self.progress)
        layout.addWidget(self.result)
        layout.addWidget(self.open_folder)
        layout.addStretch(1)

    def _connect(self) -> None:
        for box in self.kinds.values():
            box.toggled.connect(self._say_state)
        self.folder.textChanged.connect(self._say_state)
        self.browse.clicked.connect(self._browse)
        self.export.clicked.connect(self._ask)
        self.open_folder.clicked.connect(
            lambda: QDesktopServices.openUrl(QUrl.fromLocalFile(self._written_to))
        )

    def _browse(self) -> None:
        start = self.folder.text() or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Folder to export to", start)
        if chosen:
            self.folder.setText(chosen)

    def _wanted(self) -> list[str]:
        return [k for k, box in self.kinds.items() if box.isChecked() and box.isEnabled()]

    def _ask(self) -> None:
        self._written_to = self.folder.text().strip()
        self.show_result("")
        asked = {
            "kinds": self._wanted(),
            "all_accepted": self.all_accepted.isChecked(),
            "folder": self._written_to,
        }
        self.export_wanted.emit(asked)

    def _say_state(self) -> None:
        for kind, box in self.kinds.items():
            reason = self._reasons.get(kind, "")
            explain(box, reason)
            show_words(self.reasons[kind], reason and f"{reason[0].upper()}{reason[1:]}.")
        if self._is_running:
            reason = "an export is running"
        elif not self._wanted():
            reason = "choose what to export"
        else:
            reason = "" if self.folder.text().strip() else "choose a folder"
        explain(self.export, reason)
        show_words(self.words, "" if self._is_running else reason and f"{reason.capitalize()}.")
