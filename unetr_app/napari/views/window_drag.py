"""Window drag: the right mouse button changes level and width of the image.

To the right the window widens, to the left it narrows; up is darker (a higher level), down is
brighter. It works while no drawing tool is chosen; with one, hold napari's key for moving (space).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from napari.components import ViewerModel
from napari.layers import Image

_RIGHT = 2
_SPAN_PX = 300  # dragged so far, a window changes by its own width
_NARROWEST = 1e-3  # of the width that the drag began with


def image_to_window(viewer: ViewerModel) -> Image | None:
    """The image whose window a drag changes: the active one, else the lowest visible one."""
    active = viewer.layers.selection.active
    images = [one for one in viewer.layers if isinstance(one, Image) and one.visible]
    return active if active in images else next(iter(images), None)  # pyright: ignore[reportReturnType]


class WindowDrag:
    """Level and width by dragging, in several views of one viewer's layers.

    Args:
        main: The viewer whose image is changed.
        views: The viewers whose canvases are dragged on.
        dragged: Called with the new lower and upper end of the window.
    """

    def __init__(
        self,
        main: ViewerModel,
        views: list[ViewerModel],
        dragged: Callable[[float, float], None],
    ) -> None:
        self._main = main
        self._views = views
        self._dragged = dragged
        for view in views:
            view.mouse_drag_callbacks.append(self.drag)

    def close(self) -> None:
        """Stop listening."""
        for view in self._views:
            view.mouse_drag_callbacks.remove(self.drag)

    def drag(self, view: ViewerModel, event: Any) -> Iterator[None]:
        """Press, moves and release, as napari calls it."""
        image = image_to_window(self._main)
        if event.button != _RIGHT or event.modifiers or is_drawing(view) or image is None:
            return
        event.handled = True  # else napari's camera zooms
        x0, y0 = event.pos
        low, high = (float(limit or 0) for limit in image.contrast_limits)
        level, width = (low + high) / 2, high - low
        yield
        while event.type == "mouse_move":
            event.handled = True
            x, y = event.pos
            wider = max(width * (1 + (x - x0) / _SPAN_PX), width * _NARROWEST)
            middle = level + width * (y0 - y) / _SPAN_PX
            image.contrast_limits = (middle - wider / 2, middle + wider / 2)
            self._dragged(middle - wider / 2, middle + wider / 2)
            yield


def is_drawing(view: ViewerModel) -> bool:
    """Is a tool chosen for the active layer, so that the mouse buttons are the tool's?"""
    active = view.layers.selection.active
    return active is not None and str(getattr(active, "mode", "pan_zoom")) != "pan_zoom"
