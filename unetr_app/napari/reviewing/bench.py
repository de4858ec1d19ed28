"""Bench: what the controls of a review window share."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QApplication

from unetr_app.errors import DeviceMemory, UnetrError
from unetr_app.napari.reviewing.background import Background
from unetr_app.review.expected import ExpectedRanges, trained_ranges
from unetr_app.review.flags import quality_flags

if TYPE_CHECKING:
    from napari import Viewer

    from unetr_app.napari.pages.panel import ReviewPanel
    from unetr_app.napari.reviewing.shown_case import ShownCase
    from unetr_app.napari.views.linked_views import LinkedViews
    from unetr_app.review.statistics import LabelStatistics


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
        self.background = Background()
        self.worklist: Any = None
        self._ranges: dict[str, ExpectedRanges | None] = {}
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

    def note_flags(self, shown: ShownCase, statistics: Sequence[LabelStatistics]) -> None:
        """Keep what speaks against the labels of a case for the table of cases."""
        flags = quality_flags(statistics, shown.geometry, expected=self._expected(shown))
        with self.careful():
            self.worklist.note_findings(shown.desk.loaded.case_id, {"flags": flags})
            self.rows_changed.emit()

    def _expected(self, shown: ShownCase) -> ExpectedRanges | None:
        """What the labels of the case's bundle measured in training; None where unknown."""
        name = str(shown.segmentation.provenance.get("bundle", ""))
        if name not in self._ranges:
            try:
                self._ranges[name] = trained_ranges(name) if name else None
            except UnetrError:  # the bundle is not installed here
                self._ranges[name] = None
        return self._ranges[name]

    @contextmanager
    def careful(self) -> Generator[None]:
        """Turn errors of a block into a message, so that the window goes on."""
        try:
            yield
        except UnetrError as problem:
            self.complain(problem)
        except MemoryError:
            self.complain(DeviceMemory("the computer ran out of memory", cure="Close a program."))

    @contextmanager
    def busy(self, words: str) -> Generator[None]:
        """Show that something takes a moment."""
        self.say(words)
        QApplication.setOverrideCursor(Qt.CursorShape.WaitCursor)
        try:
            yield
        finally:
            QApplication.restoreOverrideCursor()
