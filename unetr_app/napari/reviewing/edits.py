"""EditControl: tools, operations, and one undo for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from napari.layers import Labels

from unetr_app.napari.pages.edit import EditPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import Piece, ShownCase
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.editor import Editor

# Tool: mode of napari's labels layer, and in how many dimensions it works.
_TOOLS = {
    "pan": ("pan_zoom", 2),
    "brush": ("paint", 2),
    "erase": ("erase", 2),
    "fill": ("fill", 2),
    "brush_3d": ("paint", 3),
    "erase_3d": ("erase", 3),
}

_Operation = Callable[[Editor, ShownCase, Mapping[str, Any]], Change | None]
_OPERATIONS: dict[str, _Operation] = {
    "keep_largest": lambda editor, _, o: editor.largest_component(o["value"]),
    "remove_islands": lambda editor, _, o: editor.remove_islands(o["value"], o["below_ml"]),
    "fill_holes": lambda editor, _, o: editor.fill_holes(o["value"]),
    "grow": lambda editor, _, o: editor.grow(o["value"], o["mm"]),
    "shrink": lambda editor, _, o: editor.shrink(o["value"], o["mm"]),
    "interpolate": lambda editor, shown, o: editor.interpolate(
        o["value"], shown.axis_of(o["plane"])
    ),
    "replace": lambda editor, _, o: editor.replace(o["value"], o["by"]),
    "clear": lambda editor, _, o: editor.clear(o["value"]),
}


class EditControl:
    """Turns strokes and buttons into steps of the case's history.

    Args:
        bench: Shared by all controls.
        page: The tools.
        brush_mm: Diameter of the brush to begin with.
    """

    def __init__(self, bench: Bench, page: EditPage, *, brush_mm: float):
        self._bench, self._page = bench, page
        self._tool, self._brush_mm, self._value = "pan", brush_mm, 0
        self._editor: Editor | None = None
        page.tool_chosen.connect(self.choose_tool)
        page.brush_changed.connect(self.set_brush)
        page.label_chosen.connect(self.choose_label)
        bench.panel.labels.selected.connect(self.choose_label)
        page.operation_wanted.connect(self.operate)
        page.undo_wanted.connect(self.undo)
        page.redo_wanted.connect(self.redo)
        page.save_wanted.connect(self.save)
        bench.case_shown.connect(self._begin)
        bench.case_leaving.connect(self._end)
        bench.views.painted.connect(self._record)
        bench.rows_changed.connect(lambda: bench.shown and self._show_history(bench.shown))

    @property
    def value(self) -> int:
        """The label that is painted with; 0 where there is none."""
        return self._value

    def choose_tool(self, tool: str) -> None:
        """Take a tool.

        Args:
            tool: ``"pan"``, ``"brush"``, ``"erase"``, ``"fill"``, ``"brush_3d"`` or ``"erase_3d"``.
        """
        shown = self._bench.shown
        if shown is None or (tool != "pan" and not self._bench.may_change(shown)):
            tool = "pan"
        self._tool = tool
        if shown is not None:
            self._prepare(shown)
        self._page.show_tool(tool)

    def choose_label(self, value: int) -> None:
        """Paint with a label from now on."""
        shown = self._bench.shown
        if shown is None or value not in shown.labels_of:
            return
        self._value = value
        self._prepare(shown)
        self._page.show_label(value)
        self._bench.panel.labels.show_selected(value)

    def set_brush(self, diameter_mm: float) -> None:
        """Set the brush's size in mm."""
        self._brush_mm = min(max(diameter_mm, 0.5), 200.0)
        self._page.show_brush(self._brush_mm)
        if self._bench.shown is not None:
            self._prepare(self._bench.shown)

    def widen(self, factor: float) -> None:
        """Make the brush larger or smaller."""
        self.set_brush(round(self._brush_mm * factor, 1))

    def operate(self, name: str, options: Mapping[str, Any]) -> None:
        """Change the labels as a whole.

        Args:
            name: As of `unetr_app.napari.pages.operations.Operations`.
            options: Its parameters; ``value`` is the label.
        """
        shown = self._bench.shown
        if shown is None or self._editor is None or not self._bench.may_change(shown):
            return
        with self._bench.careful():
            with self._bench.busy(f"{name.replace('_', ' ')} …"):
                change = _OPERATIONS[name](self._editor, shown, options)
            if change is None:
                self._bench.say("Nothing to change.")
            else:
                self._bench.say(f"{change.name}: {len(change.where):,} voxels changed.")
                self._tell(shown, change)

    def undo(self) -> None:
        """Take the last step back, whichever view or button it came from."""
        self._turn("undo")

    def redo(self) -> None:
        """Do a step again that was taken back."""
        self._turn("redo")

    def save(self) -> None:
        """Make a version of what was edited."""
        shown = self._bench.shown
        if shown is None or not self._bench.may_change(shown):
            return
        with self._bench.careful():
            with self._bench.busy("saving a version …"):
                version = shown.desk.save("saved")
            if version is None:
                self._bench.say("Nothing was changed since the newest version.")
            else:
                self._bench.say(f"Version {version.number} is saved.")
        self._show_history(shown)
        self._bench.rows_changed.emit()

    def _begin(self, shown: ShownCase) -> None:
        labels = shown.segmentation.labels
        self._editor = Editor(shown.desk.history, shown.geometry, labels)
        self._value = labels.values[0] if len(labels) else 0
        self._page.show_labels(labels)
        self._page.show_label(self._value)
        self._bench.panel.labels.show_selected(self._value)
        self._page.show_brush(self._brush_mm)
        self._page.set_read_only(shown.why_read_only)
        self.choose_tool("pan")
        self._show_history(shown)

    def _end(self, shown: ShownCase) -> None:
        self._editor = None

    def _prepare(self, shown: ShownCase) -> None:
        """Bring the layers into the state that tool, label and brush want."""
        if not shown.labels or not self._value:
            return
        mode, dimensions = _TOOLS[self._tool]
        active = shown.layer_of(self._value)
        for layer in shown.labels:
            layer.mode = mode if layer is active else "pan_zoom"
        active.n_edit_dimensions = dimensions
        active.selected_label = shown.value_in_layer(self._value)
        self._bench.viewer.layers.selection.active = active
        self._bench.views.set_brush(active, self._brush_mm)

    def _record(self, layer: Labels, pieces: Sequence[Piece], name: str) -> None:
        """A stroke was painted, in whichever view."""
        shown = self._bench.shown
        if shown is None or layer not in shown.labels:
            return
        with self._bench.careful():
            change = shown.painted(layer, pieces, name)
            if change is not None:
                shown.desk.history.record(change)
                self._tell(shown, change, layer)
        if shown.desk.history.locked:
            self._bench.views.refresh_labels(layer)  # locked labels are as they were

    def _turn(self, way: str) -> None:
        shown = self._bench.shown
        if shown is None or not self._bench.may_change(shown):
            return
        with self._bench.careful():
            change = getattr(shown.desk.history, way)()
            if change is None:
                self._bench.say(f"Nothing to {way}.")
            else:
                self._bench.say(f"{way}: {change.name}")
                self._tell(shown, change)

    def _tell(self, shown: ShownCase, change: Change, painted: Labels | None = None) -> None:
        for layer in shown.labels:
            if layer is not painted:
                self._bench.views.refresh_labels(layer)
        self._show_history(shown)
        self._bench.labels_changed.emit(change)

    def _show_history(self, shown: ShownCase) -> None:
        history = shown.desk.history
        self._page.show_history(history.undoable, history.redoable, shown.desk.unsaved_steps)
