"""ReviewWidget: the review as a widget of a napari window that is open already."""

from __future__ import annotations

import napari
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from unetr_app.errors import UnetrError
from unetr_app.napari import notifications
from unetr_app.napari.reviewing.window import ReviewWindow


class ReviewWidget(QWidget):
    """Asks for a worklist, and makes its window a place to review it.

    Args:
        napari_viewer: The window's viewer; napari gives it to a parameter of this name.
    """

    def __init__(self, napari_viewer: napari.Viewer):
        self._is_docked = False
        super().__init__()
        viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self._window = ReviewWindow(viewer, has_panel_dock=False)
        self._folder = QPushButton("Open a folder …")
        self._list = QPushButton("Open a list …")
        self._folder.setToolTip("The output folder of unetr segment, or images with their labels")
        self._list.setToolTip("A CSV or JSON list, or the dataset.json of a data set")
        self._folder.clicked.connect(self._open_folder)
        self._list.clicked.connect(self._open_list)
        buttons = QHBoxLayout()
        buttons.addWidget(self._folder)
        buttons.addWidget(self._list)
        layout = QVBoxLayout(self)
        layout.addLayout(buttons)
        layout.addWidget(self._window.panel)

    def open(self, path: str) -> None:
        """Show a worklist; an error is told, not raised."""
        try:
            self._window.open(path)
        except UnetrError as problem:
            notifications.show_problem(problem)

    def event(self, event: QEvent) -> bool:
        """Taken out of its dock, the widget puts the case away; Qt calls it."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._is_docked = True
            elif self._is_docked:
                self._window.leave()
        return super().event(event)

    def _open_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Folder with segmentations")
        if path:
            self.open(path)

    def _open_list(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "List of cases", "", "Lists (*.csv *.json)")
        if path:
            self.open(path)
