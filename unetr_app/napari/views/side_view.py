"""Side view: one more canvas beside the main viewer's, with its own slider."""

from __future__ import annotations

from typing import Any

from napari.components import ViewerModel
from napari.qt import QtViewer
from napari.settings import get_settings

_STEPS = {"Left": -1, "Up": -1, "Right": 1, "Down": 1}


class SideView:
    """A canvas that slices along another axis than the main viewer.

    Arrow keys step through its slices; all other keys do what they do in the main viewer.

    Args:
        main: napari's widget of the main viewer.
        axis: The display axis that this view is sliced along.
    """

    def __init__(self, main: QtViewer, axis: int) -> None:
        self.axis = axis
        self._order = (axis, *(n for n in range(3) if n != axis))
        self.model = ViewerModel(order=self._order)
        self.model.theme = main.viewer.theme
        self.qt = QtViewer(self.model)
        self.qt.setAcceptDrops(False)  # a file belongs into the main viewer
        self._main = main
        own = self.qt._key_map_handler
        events: Any = self.qt.canvas.events
        events.key_press.disconnect(own.on_key_press)
        events.key_release.disconnect(own.on_key_release)
        events.key_press.connect(self._on_key_press)
        events.key_release.connect(self._on_key_release)
        self.model.layers.events.inserted.connect(self._keep_order, position="last")
        self.model.events.status.connect(self._show_status)
        main.viewer.events.theme.connect(self._on_theme)

    def close(self) -> None:
        """Leave nothing behind: no layer, callback, thread or canvas."""
        self._main.viewer.events.theme.disconnect(self._on_theme)
        self.model.layers.clear()
        self.model._layer_slicer.shutdown()
        self.model.mouse_drag_callbacks.clear()
        self.model.mouse_move_callbacks.clear()
        get_settings().appearance.events.theme.disconnect(self.model.canvas.events.background_color)
        events: Any = self.qt.canvas.events
        events.key_press.disconnect(self._on_key_press)
        events.key_release.disconnect(self._on_key_release)
        self.qt.close()
        self.qt.deleteLater()

    def _keep_order(self) -> None:
        if self.model.dims.ndim == 3 and self.model.dims.order != self._order:
            self.model.dims.order = self._order

    def _on_theme(self) -> None:
        self.model.theme = self._main.viewer.theme

    def _show_status(self) -> None:
        self._main.viewer.status = self.model.status

    def _on_key_press(self, event: Any) -> None:
        step = _STEPS.get(event.key.name) if event.key is not None else None
        if step is None or event.modifiers:
            self._main._key_map_handler.on_key_press(event)
            return
        dims = self.model.dims
        dims.set_current_step(self.axis, dims.current_step[self.axis] + step)
        event.handled = True

    def _on_key_release(self, event: Any) -> None:
        self._main._key_map_handler.on_key_release(event)
