"""Panel: all pages of a review, with what is open, the last message and the notice."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QButtonGroup,
    QFrame,
    QGridLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QWidget,
)

from unetr_app.napari.pages.cases import CasesPage
from unetr_app.napari.pages.compare import ComparePage
from unetr_app.napari.pages.display import DisplayPage
from unetr_app.napari.pages.edit import EditPage
from unetr_app.napari.pages.export import ExportPage
from unetr_app.napari.pages.history import HistoryPage
from unetr_app.napari.pages.labels import LabelsPage
from unetr_app.napari.pages.parts import ElidedLabel, page_layout, row
from unetr_app.napari.pages.uncertainty import UncertaintyPage
from unetr_app.notice import RESEARCH_NOTICE

_IN_A_ROW = 4
_NO_CASE = "No case is open"
_KINDS = {
    "info": "",
    "warning": "background: #e3b617; color: #23242b;",
    "error": "background: #99121f; color: #ffffff;",
}


class ReviewPanel(QWidget):
    """The pages as tabs in two rows: eight do not fit beside each other, and none should hide."""

    def __init__(self) -> None:
        super().__init__()
        self.cases = CasesPage()
        self.labels = LabelsPage()
        self.edit = EditPage()
        self.compare = ComparePage()
        self.uncertainty = UncertaintyPage()
        self.display = DisplayPage()
        self.export = ExportPage()
        self.history = HistoryPage()
        self.case = ElidedLabel(_NO_CASE)
        self.case.setStyleSheet("QLabel { font-weight: bold; }")
        self.reviewer = ElidedLabel()
        self.message = ElidedLabel()
        self.notice = QLabel(RESEARCH_NOTICE)
        self.tabs = QTabWidget()
        self._group = QButtonGroup(self)
        self._grid = QGridLayout()
        self._lay_out()
        for page, title, tip in (
            (self.cases, "Cases", "The worklist: open, accept, reject, grade"),
            (self.labels, "Labels", "Labels: show, colour, volume in ml"),
            (self.edit, "Edit", "Correct the labels, undo, save a version"),
            (self.display, "Display", "Intensity window, left and right, crosshair"),
            (self.uncertainty, "Uncertainty", "Slices that the network was least sure of"),
            (self.compare, "Compare", "Two segmentations: Dice, distance, volume"),
            (self.history, "History", "Versions and log of the open case"),
            (self.export, "Export", "Write NIfTI, DICOM, reports, training sets"),
        ):
            self.add(page, title, tip)
        self.tabs.currentChanged.connect(self._mark)
        self.message.clicked.connect(lambda: self.message.show_whole(not self.message.is_whole()))
        self._mark(0)
        self.say("")

    def add(self, page: QWidget, title: str, tip: str) -> None:
        """Add a page at the end."""
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(page)
        area.setMinimumWidth(1)
        place = self.tabs.addTab(area, title)
        made = QPushButton(title)
        made.setCheckable(True)
        made.setToolTip(tip)
        made.clicked.connect(lambda: self.tabs.setCurrentIndex(place))
        self._group.addButton(made, place)
        self._grid.addWidget(made, place // _IN_A_ROW, place % _IN_A_ROW)

    def show_page(self, page: QWidget) -> None:
        """Bring a page to the front."""
        for n in range(self.tabs.count()):
            area = self.tabs.widget(n)
            if isinstance(area, QScrollArea) and area.widget() is page:
                self.tabs.setCurrentIndex(n)

    def show_case(self, case_id: str) -> None:
        """Show which case is open; empty where none is.

        Pages forget what they showed of another case, so call this before they are told anew.
        """
        words = case_id or _NO_CASE
        if words == self.case.whole_text():
            return
        self.case.show_text(words)
        self.labels.show_statistics([])
        self.edit.show_history("", "", 0)
        self.uncertainty.forget()
        self.compare.show_choices([])
        self.compare.show_rows([])
        self.compare.show_difference(False)
        self.history.show_versions([])
        self.history.show_log([])
        self.export.show_result("")

    def show_reviewer(self, name: str) -> None:
        """Show in whose name decisions are kept."""
        self.reviewer.show_text(f"Reviewer: {name}" if name else "")

    def say(self, words: str, kind: str = "info") -> None:
        """Say something in one line; a click shows all of it.

        Args:
            words: What to say; empty takes the last message away.
            kind: ``"info"``, ``"warning"`` or ``"error"``.
        """
        style = f"padding: 3px; {_KINDS[kind]}" if words else "padding: 3px;"
        self.message.show_whole(False)
        self.message.setStyleSheet(f"ElidedLabel {{ {style} }}")
        self.message.show_text(words)

    def _lay_out(self) -> None:
        layout = page_layout(self)
        top = row(self.case, self.reviewer)
        top.setStretch(0, 3)
        top.setStretch(1, 2)
        layout.addLayout(top)
        self._grid.setSpacing(2)
        for n in range(_IN_A_ROW):
            self._grid.setColumnStretch(n, 1)
        layout.addLayout(self._grid)
        self.tabs.tabBar().hide()
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.message)
        self.notice.setStyleSheet("QLabel { font-weight: bold; font-size: 9pt; }")
        layout.addWidget(self.notice)
        self.setMinimumWidth(320)

    def _mark(self, place: int) -> None:
        made = self._group.button(place)
        if made is not None:
            made.setChecked(True)
