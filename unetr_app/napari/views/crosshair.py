"""Crosshair: two thin lines through the common point, drawn into a canvas and in no layer list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.components import ViewerModel
from vispy.scene.visuals import Line
from vispy.visuals.transforms import STTransform

_COLOUR = (1.0, 0.9, 0.2, 0.6)
_GAP_PX = 12.0  # left free around the point, on each side: what lies there is to be seen
_FAR_PX = 1e5
_ON_TOP = 10_000
# Two lines with a gap, in pixels around the point. They are moved by a transform: new vertices
# would make vispy compile its shader again, 8 ms a step.
_LINES = np.array(
    [(sign * along, 0, 0) for sign in (-1, 1) for along in (_FAR_PX, _GAP_PX)]
    + [(0, sign * along, 0) for sign in (-1, 1) for along in (_FAR_PX, _GAP_PX)],
    np.float32,
)


class Crosshair:
    """The lines of one view.

    Args:
        viewer: The view's model.
        canvas: napari's canvas of it (``QtViewer.canvas``).
    """

    def __init__(self, viewer: ViewerModel, canvas: Any) -> None:
        self._viewer = viewer
        self._point: tuple[float, ...] | None = None
        self._is_wanted = True
        self._line: Any = Line(_LINES, _COLOUR, connect="segments")
        self._line.parent = canvas.view.scene
        self._line.transform = STTransform()
        self._line.order = _ON_TOP
        self._line.set_gl_state("translucent", depth_test=False)
        self._line.visible = False
        viewer.scene.camera.events.zoom.connect(self._draw)
        viewer.dims.events.ndisplay.connect(self._draw)
        viewer.dims.events.order.connect(self._draw)

    @property
    def is_visible(self) -> bool:
        """Are the lines drawn?"""
        return bool(self._line.visible)

    def show(self, visible: bool) -> None:
        """Switch the lines on or off."""
        self._is_wanted = visible
        self._draw()

    def move(self, point: Sequence[float] | None) -> None:
        """Put the crossing at a point in display coordinates, mm; None hides the lines."""
        self._point = None if point is None else tuple(point)
        self._draw()

    def close(self) -> None:
        """Take the lines off the canvas."""
        self._viewer.scene.camera.events.zoom.disconnect(self._draw)
        self._viewer.dims.events.ndisplay.disconnect(self._draw)
        self._viewer.dims.events.order.disconnect(self._draw)
        self._line.parent = None

    def _draw(self) -> None:
        shown = self._viewer.dims.displayed
        point = self._point
        self._line.visible = (
            self._is_wanted and point is not None and len(shown) == 2 and len(point) > max(shown)
        )
        if not self._line.visible or point is None:
            return
        y, x = (point[axis] for axis in shown)
        scale = 1 / self._viewer.scene.camera.zoom
        self._line.transform.scale = (scale, scale)
        self._line.transform.translate = (x, y)
