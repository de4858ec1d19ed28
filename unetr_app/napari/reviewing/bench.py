"""Bench: what the controls of a review window share."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication

from unetr_app.errors import UnetrError, UnwritableOutput
from unetr_app.napari.background.failing import as_ours
from unetr_app.napari.background.pool import Pool
from unetr_app.napari.reviewing.stock import LayerStock

if TYPE_CHECKING:
    from napari import Viewer

    from unetr_app.napari.pages.panel import ReviewPanel
    from unetr_app.napari.reviewing.shown_case import ShownCase
    from unetr_app.napari.views.linked_views import LinkedViews


class Bench(QObject):
    """The viewer, its planes, the pages, and the case that is shown.

    Args:
        viewer: napari's.
        views: The three planes.
        panel: The pages.
    """

    case_shown = Signal(object)  # ShownCase
    case_leaving = Signal(object)  # ShownCase: its layers are still there
    labels_changed = Signal(object)  # Change, done or undone
    rows_changed = Signal()

    def __init__(self, viewer: Viewer, views: LinkedViews, panel: ReviewPanel):
        super().__init__()
        self.viewer, self.views, self.panel = viewer, views, panel
        self.background = Pool()
        self.stock = LayerStock(viewer)
        self.worklist: Any = None
        self.shown: ShownCase | None = None

    def say(self, words: str, kind: str = "info") -> None:
        """Tell the reviewer something.

        Args:
            words: One sentence or two.
            kind: ``"info"``, ``"warning"`` or ``"error"``.
        """
        self.panel.say(words, kind)

    def complain(self, problem: UnetrError) -> None:
        """Tell the reviewer what went wrong and what to do."""
        self.say(str(problem), "error")

    def note_findings(self, shown: ShownCase, found: Mapping[str, Any]) -> None:
        """Keep what speaks against the labels of a case for the table of cases."""
        if shown.why_read_only:
            return
        # a full disk speaks where something can be lost
        with self.careful(), suppress(UnwritableOutput):
            self.worklist.note_findings(shown.desk.case_id, found)
            self.rows_changed.emit()

    @contextmanager
    def careful(self) -> Generator[None]:
        """Turn errors of a block into a message, so that the window goes on."""
        try:
            yield
        except (UnetrError, MemoryError) as problem:
            self.complain(as_ours(problem))

    def may_change(self, shown: ShownCase) -> bool:
        """Can this case be changed? If not, the reviewer is told why."""
        if shown.why_read_only:
            self.say(shown.why_read_only, "warning")
        return not shown.why_read_only

    @contextmanager
    def busy(self, words: str = "") -> Generator[None]:
        """Show that something takes a moment."""
        if words:
            self.say(words)
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            yield
        finally:
            QApplication.restoreOverrideCursor()
