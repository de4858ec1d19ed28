"""Linked views: coronal and sagittal canvases beside napari's own, which is axial."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import napari
import numpy as np
from napari.components import ViewerModel
from napari.layers import Labels
from qtpy.QtCore import QSize, Qt, Signal  # pyright: ignore[reportPrivateImportUsage]
from qtpy.QtGui import QCloseEvent
from qtpy.QtWidgets import QSplitter

from unetr_app.napari import notifications
from unetr_app.napari.immortal_none import make_none_immortal
from unetr_app.napari.views.crosshair import Crosshair
from unetr_app.napari.views.letters_overlay import Letters, LettersOverlay
from unetr_app.napari.views.mirrored import MirroredLayers
from unetr_app.napari.views.side_view import SideView
from unetr_app.napari.views.window_drag import WindowDrag, is_drawing

Plane = Literal["axial", "coronal", "sagittal"]
Convention = Literal["radiological", "neurological"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")  # by display axis that is sliced

# (depth, vertical, horizontal). Both directions of the screen that are not seen in 2D change
# together, so that 3D never shows a mirror image.
_ORIENTATIONS: dict[Convention, Any] = {
    "radiological": ("towards", "down", "right"),
    "neurological": ("away", "down", "left"),
}


class LinkedViews(QSplitter):
    """Two more canvases for a viewer, and what links the three.

    The slider of each view, the mouse with Shift held, and `move_to` move one common point that
    all views show and mark. A click with Shift does so too while no drawing tool is chosen.

    Args:
        viewer: The main viewer, in the display frame of `unetr_app.review.display`: axial.

    Signals:
        painted: After each stroke in any view: the main viewer's layer, a list of (indices an
            axis in data coordinates, values before), and the tool's name.
        moved: The common point moved: display coordinates in mm.
        window_dragged: The image's window was dragged: its lower and upper end.
    """

    painted = Signal(object, object, str)
    moved = Signal(object)
    window_dragged = Signal(float, float)

    def __init__(self, viewer: napari.Viewer) -> None:
        make_none_immortal()
        super().__init__(Qt.Orientation.Vertical)
        self.setObjectName("linked views")
        self._main = viewer
        main = viewer.window._qt_viewer
        notifications.show_notice()
        self._notice_position = viewer.canvas.overlays.text.position
        viewer.canvas.overlays.text.position = "bottom_center"  # stacked with the letter there
        self._sides = [SideView(main, axis) for axis in (1, 2)]
        models = [viewer, *(side.model for side in self._sides)]
        self._models: dict[Plane, ViewerModel] = dict(zip(PLANES, models, strict=True))
        canvases = [main.canvas, *(side.qt.canvas for side in self._sides)]
        self._crosshairs = [Crosshair(m, c) for m, c in zip(models, canvases, strict=True)]
        self._letters = {
            plane: LettersOverlay(model, canvas, plane, axis)
            for axis, (plane, model, canvas) in enumerate(
                zip(PLANES, models, canvases, strict=True)
            )
        }
        self._layers = MirroredLayers(viewer, models[1:], self.painted.emit)
        self._window = WindowDrag(viewer, models, self.window_dragged.emit)
        self._convention: Convention = "radiological"
        self._point: tuple[float, ...] = ()
        self._is_moving = False
        self._zoom_linked = False
        self._is_closed = False
        for side in self._sides:
            self.addWidget(side.qt)
        for model in models:
            self._listen(model)
        viewer.layers.events.inserted.connect(self._on_layers, position="last")
        viewer.layers.events.removed.connect(self._on_layers, position="last")
        self._on_layers()

    @property
    def point(self) -> tuple[float, ...]:
        """The common point in display coordinates, mm; () where there is no volume."""
        return self._point

    @property
    def convention(self) -> Convention:
        """Which side of the screen the patient's left is on."""
        return self._convention

    def model(self, plane: Plane) -> ViewerModel:
        """The viewer of one plane, for its camera and sliders."""
        return self._models[plane]

    def move_to(self, point: Sequence[float]) -> None:
        """Show and mark a point in all three views.

        Args:
            point: Display coordinates in mm; brought into the volume where it lies outside.
        """
        ranges = self._main.dims.range
        if self._is_moving or self._main.dims.ndim != 3 or not self._main.layers:
            return
        wanted = np.clip(point, [r.start for r in ranges], [r.stop for r in ranges])
        self._is_moving = True
        try:
            for model in self._models.values():
                for axis in model.dims.not_displayed:
                    if model.dims.point[axis] != wanted[axis]:
                        model.dims.set_point(axis, float(wanted[axis]))
        finally:
            self._is_moving = False
        self._mark(tuple(float(v) for v in wanted))
        self._keep_in_sight()

    def refresh_labels(self, layer: Labels) -> None:
        """Show in all views what an operation changed in a layer's array."""
        self._layers.refresh(layer)

    def set_brush(self, layer: Labels, diameter_mm: float) -> None:
        """Make the brush of a layer as wide in mm in all views."""
        self._layers.set_brush(layer, diameter_mm)

    def set_letters(self, plane: Plane, letters: Letters) -> None:
        """Say what the edges of a view show.

        Args:
            plane: The view.
            letters: At the left, right, top and bottom in the radiological convention, as in
                ``("R", "L", "A", "P")``; the neurological one exchanges them by itself.
        """
        self._letters[plane].set_letters(letters)

    def set_convention(self, convention: Convention) -> None:
        """Put the patient's left on the right (radiological) or on the left (neurological).

        Axial and coronal are mirrored; sagittal has no left and right.
        """
        self._convention = convention
        for plane in PLANES[:2]:
            self._models[plane].scene.camera.orientation = _ORIENTATIONS[convention]
            self._letters[plane].set_mirrored(convention == "neurological")

    def letters_shown(self, plane: Plane) -> Letters:
        """The letters at the left, right, upper and lower edge of a view, as they are seen now."""
        return self._letters[plane].shown

    def show_letters(self, visible: bool) -> None:
        """Show the letters at the edges or hide them."""
        for letters in self._letters.values():
            letters.show(visible)

    def show_crosshair(self, visible: bool) -> None:
        """Draw the crosshair or not."""
        for crosshair in self._crosshairs:
            crosshair.show(visible)

    def link_zoom(self, linked: bool) -> None:
        """Make all views show a millimetre as large as the one zoomed last, or not."""
        self._zoom_linked = linked
        if linked:
            self._follow_zoom(self._main.scene.camera.zoom)

    def reset_views(self) -> None:
        """Fit all three views to their canvases, as after these were made larger or smaller."""
        linked, self._zoom_linked = self._zoom_linked, False
        for model in self._models.values():
            model.fit_to_view()
        self._zoom_linked = linked
        if linked:
            self._follow_zoom(min(model.scene.camera.zoom for model in self._models.values()))

    def begin_case(self) -> None:
        """Layers were refilled with another case's data: fit the views, say anew what they show."""
        self._on_layers()
        self.reset_views()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Two small canvases: napari's own would take the window from the main one."""
        return QSize(420, 640)

    def close(self) -> bool:
        """Unlink the views; the main viewer is left as it was before."""
        self._release()
        return super().close()

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 - Qt's name
        """The widget is closed with its window."""
        self._release()
        super().closeEvent(event)

    def _listen(self, model: ViewerModel) -> None:
        model.dims.events.point.connect(self._on_point, position="last")
        model.scene.camera.events.zoom.connect(self._on_zoom)
        model.mouse_move_callbacks.append(self._on_mouse_move)
        model.mouse_drag_callbacks.append(self._on_mouse_drag)

    def _release(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self.set_convention("radiological")
        events = self._main.layers.events
        events.inserted.disconnect(self._on_layers)
        events.removed.disconnect(self._on_layers)
        self._window.close()
        for model in self._models.values():
            model.dims.events.point.disconnect(self._on_point)
            model.scene.camera.events.zoom.disconnect(self._on_zoom)
            model.mouse_move_callbacks.remove(self._on_mouse_move)
            model.mouse_drag_callbacks.remove(self._on_mouse_drag)
        for part in (self._layers, *self._crosshairs, *self._letters.values(), *self._sides):
            part.close()
        self._main.canvas.overlays.text.position = self._notice_position
        for parts in (self._models, self._sides, self._crosshairs, self._letters):
            parts.clear()  # whoever still holds this widget holds no canvas
        del self._layers, self._window

    def _on_layers(self) -> None:
        """Layers came or went: the main viewer's point is the common one."""
        if self._main.layers and self._main.dims.ndim == 3:
            self._point = ()  # said anew even where it is the same
            self.move_to(self._main.dims.point)
        else:
            self._mark(())

    def _on_point(self, event: Any) -> None:
        dims = event.source
        if self._is_moving or len(self._point) != 3 or dims.ndim != 3:
            return
        point = list(self._point)
        for axis in dims.not_displayed:
            point[axis] = dims.point[axis]
        self.move_to(point)

    def _mark(self, point: tuple[float, ...]) -> None:
        if point == self._point and point:
            return
        self._point = point
        for crosshair in self._crosshairs:
            crosshair.move(point or None)
        for letters in self._letters.values():
            letters.show_slice()
        if point:
            self.moved.emit(point)

    def _keep_in_sight(self) -> None:
        """Bring the point into each view that is zoomed to another place."""
        for model in self._models.values():
            camera, shown = model.scene.camera, model.dims.displayed
            reach = np.asarray(model.canvas.size) / (2 * camera.zoom)  # rows, columns, in mm
            at = np.asarray([self._point[axis] for axis in shown])
            if (np.abs(at - camera.center[-2:]) > reach).any():
                camera.center = (camera.center[0], float(at[0]), float(at[1]))

    def _on_zoom(self, event: Any) -> None:
        if self._zoom_linked:
            self._follow_zoom(event.value)

    def _follow_zoom(self, zoom: float) -> None:
        for model in self._models.values():
            if model.scene.camera.zoom != zoom:
                model.scene.camera.zoom = zoom

    def _on_mouse_move(self, _: ViewerModel, event: Any) -> None:
        if "Shift" in event.modifiers and len(event.modifiers) == 1:
            self.move_to(event.position)

    def _on_mouse_drag(self, view: ViewerModel, event: Any) -> Iterator[None]:
        if event.button != 1 or "Shift" not in event.modifiers or is_drawing(view):
            return
        event.handled = True
        self.move_to(event.position)
        yield
        while event.type == "mouse_move":
            self.move_to(event.position)
            yield
