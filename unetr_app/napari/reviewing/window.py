"""ReviewWindow: a napari window made into a place to review segmentations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari import Viewer
from qtpy.QtCore import Qt

from unetr_app.napari.pages.panel import ReviewPanel
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.cases import CaseControl
from unetr_app.napari.reviewing.compare import CompareControl
from unetr_app.napari.reviewing.edits import EditControl
from unetr_app.napari.reviewing.export import ExportControl
from unetr_app.napari.reviewing.keyboard import Keyboard
from unetr_app.napari.reviewing.labels import LabelControl
from unetr_app.napari.reviewing.leaving import Leaving
from unetr_app.napari.reviewing.models import ModelControl
from unetr_app.napari.reviewing.planes import PlaneControl
from unetr_app.napari.reviewing.settings import ReviewSettings, read_settings
from unetr_app.napari.reviewing.surveying import SurveyControl
from unetr_app.napari.reviewing.uncertainty import UncertaintyControl
from unetr_app.napari.reviewing.versions import VersionControl
from unetr_app.napari.views.linked_views import LinkedViews
from unetr_app.review.keys import KEYS

_SIZE = (1500, 900)  # pixels
_WIDTHS = (340, 390)  # pixels at least: planes, pages
_WIDER = 1.25
_REPEATED = ("undo", "redo", "smaller_brush", "larger_brush", "next_uncertain", "next_changed")


class ReviewWindow:
    """The pages, the planes and the keys of a review, in a napari window.

    Args:
        viewer: napari's.
        settings: Reviewer and habits; the preferences' where absent.
        has_panel_dock: Whether the pages get a dock of their own; else the caller shows `panel`.
    """

    def __init__(
        self,
        viewer: Viewer,
        settings: ReviewSettings | None = None,
        *,
        has_panel_dock: bool = True,
    ):
        chosen = settings or read_settings()
        self.panel = ReviewPanel()
        self.views = LinkedViews(viewer)
        self.bench = bench = Bench(viewer, self.views, self.panel)
        self.labels = LabelControl(bench, self.panel.labels)
        self.edits = EditControl(bench, self.panel.edit, brush_mm=chosen.brush_mm)
        self.planes = PlaneControl(bench, self.panel.display, convention=chosen.convention)
        self.compare = CompareControl(bench, self.panel.compare)
        self.uncertainty = UncertaintyControl(bench, self.panel.uncertainty)
        self.versions = VersionControl(bench, self.panel.history)
        self.export = ExportControl(bench, self.panel.export)
        self.cases = CaseControl(
            bench, self.panel.cases, reviewer=chosen.reviewer, advances=chosen.advances
        )
        self.models = ModelControl(bench, self.compare)
        self.survey = SurveyControl(bench, self.cases)
        self._is_open = True
        self._main = viewer.window._qt_window  # napari gives no other way to it
        planes = viewer.window.add_dock_widget(self.views, name="Planes", area="right")
        if has_panel_dock:
            pages = viewer.window.add_dock_widget(self.panel, name="Review", area="right")
            self._main.splitDockWidget(planes, pages, Qt.Orientation.Horizontal)
        self.panel.show_reviewer(chosen.reviewer)
        self._keyboard = Keyboard(self._main, self._bindings(), self._repeated())
        self._leaving = Leaving(self._main, self.close)

    def make_room(self) -> None:
        """Hide napari's list and controls of layers; its Window menu brings them back."""
        viewer = self.bench.viewer.window._qt_viewer
        viewer.dockLayerList.setVisible(False)
        viewer.dockLayerControls.setVisible(False)
        screen = self._main.screen().availableSize()
        self._main.resize(min(_SIZE[0], screen.width()), min(_SIZE[1], screen.height()))
        for widget, width in zip((self.views, self.panel), _WIDTHS, strict=True):
            widget.setMinimumWidth(width)

    def open(self, path: str | Path, reviews: str | Path | None = None, case_id: str = "") -> None:
        """Show a worklist.

        Args:
            path: Output folder, list, data set or folder of images with labels.
            reviews: Where decisions and versions are kept; beside the cases where absent.
            case_id: The case to begin with; where the work stopped where empty.

        Raises:
            UnetrError: If there is no worklist at that path, or no such case in it.
        """
        kept = None if reviews is None else Path(reviews)
        self.cases.open_worklist(Path(path), kept, case_id)

    def close(self) -> None:
        """Put the case away, let go of its lock and of napari's keys; once."""
        if not self._is_open:
            return
        self._is_open = False
        self._leaving.release()
        self._keyboard.release()
        self.models.close()
        self.survey.close()
        self.cases.leave()
        self.bench.background.close()
        self.views.close()

    def leave(self) -> None:
        """Give the napari window back as it was, while it stays open."""
        if self._is_open:
            self.close()
            self.bench.stock.clear()
            self.bench.viewer.window.remove_dock_widget(self.views)

    def _bindings(self) -> dict[str, Callable[[], None]]:
        actions = self._actions()
        return {spelt: actions[key.action] for key in KEYS for spelt in key.keys}

    def _repeated(self) -> frozenset[str]:
        return frozenset(spelt for key in KEYS if key.action in _REPEATED for spelt in key.keys)

    def _actions(self) -> dict[str, Callable[[], None]]:
        cases, edits, labels, planes = self.cases, self.edits, self.labels, self.planes
        return {
            "next_case": cases.next,
            "previous_case": cases.previous,
            "accept": cases.accept,
            "edit": self._edit,
            "reject": cases.reject,
            "flag": cases.toggle_flag,
            **{f"grade_{n}": lambda n=n: cases.grade(n) for n in range(1, 6)},
            "comment": self._comment,
            "brush": lambda: edits.choose_tool("brush"),
            "erase": lambda: edits.choose_tool("erase"),
            "fill": lambda: edits.choose_tool("fill"),
            "brush_3d": lambda: edits.choose_tool("brush_3d"),
            "pan": lambda: edits.choose_tool("pan"),
            "smaller_brush": lambda: edits.widen(1 / _WIDER),
            "larger_brush": lambda: edits.widen(_WIDER),
            "undo": edits.undo,
            "redo": edits.redo,
            "save_version": edits.save,
            "leave": self._leave_field,
            "next_uncertain": self.uncertainty.next_uncertain,
            "next_changed": self.uncertainty.next_changed,
            "solo": lambda: labels.solo(edits.value),
            "show_labels": labels.show_all,
            "jump": lambda: labels.jump(edits.value),
            "contour": labels.toggle_contour,
            "next_window": planes.next_preset,
            "convention": planes.toggle_convention,
            "crosshair": planes.toggle_crosshair,
        }

    def _edit(self) -> None:
        self.cases.edit()
        self.edits.choose_tool("brush")

    def _comment(self) -> None:
        self.panel.show_page(self.panel.cases)
        self.panel.cases.focus_comment()

    def _leave_field(self) -> None:
        self.edits.choose_tool("pan")
        self.bench.viewer.window._qt_window.setFocus(Qt.FocusReason.OtherFocusReason)
