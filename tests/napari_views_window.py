"""Run by test_napari_views in a process of its own: linked views in a real napari window.

    python napari_views_window.py walk|leaks RESULT.npz

Exits with 77 where Qt cannot be loaded.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np

try:
    from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication
except Exception as error:
    sys.stderr.write(f"Qt cannot be loaded: {error}\n")
    sys.exit(77)

import napari
from napari.layers import Labels

from data.phantom import oblique_geometry
from unetr_app.labels import LabelSet
from unetr_app.napari.layers import image_layers, label_layers
from unetr_app.napari.views.linked_views import PLANES, LinkedViews
from unetr_app.review import display
from unetr_app.volume import Segmentation, Volume

# An oblique grid whose axes run to the back, to the foot and to the right: permuted and flipped.
GRID = oblique_geometry((30, 26, 22), (1.0, 1.2, 1.5), (8, -6, 10), (-15, -15, -15)).reoriented(
    "PIR"
)
LETTERS = {
    "axial": ("R", "L", "A", "P"),
    "coronal": ("R", "L", "S", "I"),
    "sagittal": ("A", "P", "S", "I"),
}
MARKER = (slice(3, 8), slice(4, 9), slice(20, 26))  # in display order: head, front, left
BLOCK = (slice(13, 19), slice(16, 22), slice(5, 12))  # foot, back, right
INSIDE = (5, 6, 22)  # of the marker


def settle(times: int = 15) -> None:
    for _ in range(times):
        QApplication.processEvents()
        time.sleep(0.002)  # napari tells of mouse moves every 5 ms at most


def phantom() -> tuple[Volume, Segmentation]:
    image, label_map = np.zeros(GRID.shape, np.float32), np.zeros(GRID.shape, np.uint8)
    for value, box in ((1, MARKER), (2, BLOCK)):
        display.to_display(image, GRID)[box] = 500 * value
        display.to_display(label_map, GRID)[box] = value
    names = LabelSet.from_names({1: "Marker", 2: "Block"})
    return Volume(image[None], GRID, modality="MR"), Segmentation(label_map, GRID, names)


class Room:
    """A window with linked views of the phantom."""

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.views = LinkedViews(viewer)
        viewer.window.add_dock_widget(self.views, area="right", name="views")
        self.heard: dict[str, list[Any]] = {"painted": [], "moved": [], "window": []}
        self.views.painted.connect(lambda *what: self.heard["painted"].append(what))
        self.views.moved.connect(self.heard["moved"].append)
        self.views.window_dragged.connect(lambda *what: self.heard["window"].append(what))
        settle()

    def open(self) -> tuple[np.ndarray, Any, Labels]:
        """The edited array on the source grid, the image layer and the labels layer on it."""
        volume, segmentation = phantom()
        edited = segmentation.data.copy()
        (image,) = image_layers(volume)
        (labels,) = label_layers(segmentation)
        labels.data = display.to_display(edited, GRID)
        self.viewer.add_layer(image)
        self.viewer.add_layer(labels)
        self.views.reset_views()
        settle()
        return edited, image, labels

    def canvas(self, plane: str) -> Any:
        axis = PLANES.index(plane)  # type: ignore[arg-type]
        main = self.viewer.window._qt_viewer
        return main.canvas if axis == 0 else self.views._sides[axis - 1].qt.canvas

    def picture(self, plane: str) -> np.ndarray:
        settle()
        axis = PLANES.index(plane)  # type: ignore[arg-type]
        main = self.viewer.window._qt_viewer
        shown = main if axis == 0 else self.views._sides[axis - 1].qt
        return np.asarray(shown.screenshot(flash=False))[..., :3]

    def pictures(self, name: str) -> dict[str, np.ndarray]:
        return {f"{name} {plane}": self.picture(plane) for plane in PLANES}

    def pixel(self, plane: str, point: Any) -> QPoint:
        """Where a view draws a point, in pixels of its canvas."""
        canvas = self.canvas(plane)
        shown = self.views.model(plane).dims.displayed  # type: ignore[arg-type]
        y, x = (point[axis] for axis in shown)
        where = (canvas.view.transform * canvas.view.scene.transform).map([x, y, 0, 1])
        return QPoint(round(where[0] / where[3]), round(where[1] / where[3]))

    def press(self, plane: str, button: Any, keys: Any, *points: QPoint) -> None:
        """Press at the first point, move over the others, and leave the button pressed."""
        native = self.canvas(plane).native
        QTest.mouseMove(native, points[0])
        settle()
        QTest.mousePress(native, button, keys, points[0])
        for point in points[1:]:
            self.drag(plane, button, keys, point)

    def drag(self, plane: str, button: Any, keys: Any, point: QPoint) -> None:
        """A move with a button held; QTest's own knows no buttons."""
        native = self.canvas(plane).native
        place = QPointF(point)
        QApplication.sendEvent(
            native,
            QMouseEvent(QEvent.Type.MouseMove, place, native.mapToGlobal(place),
                        Qt.MouseButton.NoButton, button, keys),
        )  # fmt: skip
        settle()

    def release(self, plane: str, button: Any, keys: Any, point: QPoint) -> None:
        QTest.mouseRelease(self.canvas(plane).native, button, keys, point)
        settle()


LEFT, RIGHT = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton
NO_BUTTON = Qt.MouseButton.NoButton
NO_KEY, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


def conventions(room: Room, labels: Labels, found: dict[str, Any]) -> None:
    room.views.show_crosshair(False)
    room.views.move_to(labels.data_to_world(INSIDE))
    found.update(room.pictures("no letters"))
    for plane, letters in LETTERS.items():
        room.views.set_letters(plane, letters)  # type: ignore[arg-type]
    found.update(room.pictures("radiological"))
    room.views.set_convention("neurological")
    found.update(room.pictures("neurological"))
    found["handedness"] = str(room.viewer.scene.camera.handedness)
    room.views.set_convention("radiological")
    before = {plane: room.views.model(plane).scene.camera.center for plane in PLANES}
    for plane in PLANES:
        camera = room.views.model(plane).scene.camera
        camera.zoom *= 40
        camera.center = (0.0, 9e3, 9e3)  # nothing but the letters is left in sight
    found.update(room.pictures("panned"))
    for plane in PLANES:
        room.views.model(plane).scene.camera.zoom /= 40
        room.views.model(plane).scene.camera.center = before[plane]


def crosshair(room: Room, labels: Labels, found: dict[str, Any]) -> None:
    layers = len(room.viewer.layers)
    found.update(room.pictures("crosshair off"))
    room.views.show_crosshair(True)
    found.update(room.pictures("crosshair"))
    point = labels.data_to_world(INSIDE)
    for plane in PLANES:
        at = room.pixel(plane, point)
        found[f"cross {plane}"] = (at.y(), at.x())
    found["layers for the crosshair"] = len(room.viewer.layers) - layers
    for axis, plane in enumerate(PLANES):
        dims = room.views.model(plane).dims
        dims.set_current_step(axis, 9 + axis)
        found[f"slider {plane}"] = labels.world_to_data(room.views.point)
        steps = [room.views.model(p).dims.current_step[n] for n, p in enumerate(PLANES)]
        found[f"steps {plane}"] = steps
    target = labels.data_to_world((4, 7, 23))
    room.views.move_to(labels.data_to_world((10, 10, 10)))
    at = room.pixel("sagittal", target)
    room.drag("sagittal", NO_BUTTON, SHIFT, at)
    found["shift moved"] = labels.world_to_data(room.views.point)
    at = room.pixel("coronal", target)
    room.press("coronal", LEFT, SHIFT, at)
    room.release("coronal", LEFT, SHIFT, at)
    found["shift clicked"] = labels.world_to_data(room.views.point)
    found["heard moved"] = len(room.heard["moved"])
    found["said last"] = labels.world_to_data(room.heard["moved"][-1])
    room.views.move_to((1e6, -1e6, 0.0))
    found["beyond"] = labels.world_to_data(room.views.point)


def painting(room: Room, edited: np.ndarray, labels: Labels, found: dict[str, Any]) -> None:
    room.views.show_crosshair(False)
    voxel = (9, 12, 17)  # in display order, where nothing is labelled
    room.views.move_to(labels.data_to_world(voxel))
    before = edited.copy()
    labels.mode, labels.selected_label = "paint", 2
    room.views.set_brush(labels, 0.1)  # mm: one voxel
    at = room.pixel("coronal", labels.data_to_world(voxel))
    settle()
    found.update(room.pictures("unpainted"))
    room.press("coronal", LEFT, NO_KEY, at)
    settle()
    found.update(room.pictures("painting"))  # the button is still down
    found["heard while painting"] = len(room.heard["painted"])
    room.release("coronal", LEFT, NO_KEY, at)
    found.update(room.pictures("painted"))
    for plane in PLANES:
        there = room.pixel(plane, labels.data_to_world(voxel))
        found[f"paint {plane}"] = (there.y(), there.x())
    marked = np.zeros(GRID.shape, bool)
    display.to_display(marked, GRID)[voxel] = True
    found["painted voxels"] = np.argwhere(edited != before)
    found["voxel meant"] = np.argwhere(marked)
    ((layer, atoms, name),) = room.heard["painted"]
    found["painted name"], found["painted is main"] = name, layer is labels
    restored = edited.copy()
    for where, old in reversed(atoms):
        display.to_display(restored, GRID)[where] = old
    found["restored"] = np.array_equal(restored, before)
    sides = [room.views.model(plane).layers[1] for plane in PLANES[1:]]
    found["histories"] = [len(one._undo_history) + len(one._redo_history)
                          for one in (labels, *sides)]  # fmt: skip
    found["shared"] = [np.shares_memory(one.data, edited) for one in (labels, *sides)]
    sides[1].n_edit_dimensions, sides[1].brush_size = 3, 5
    sides[1].paint(voxel, 1)
    found["3D brush depth"] = np.ptp(np.argwhere(display.to_display(edited, GRID) == 1)[:, 0])
    found["3D brush atoms"] = len(room.heard["painted"][-1][1])
    labels.mode = "pan_zoom"
    edited[...] = before
    room.views.refresh_labels(labels)
    found.update(room.pictures("taken back"))


def following(room: Room, image: Any, labels: Labels, found: dict[str, Any]) -> None:
    sides = [room.views.model(plane) for plane in PLANES[1:]]
    image.contrast_limits, image.gamma, image.colormap = (100, 400), 0.7, "magma"
    labels.opacity, labels.contour, labels.visible = 0.3, 2, False
    mirrored = [(*side.layers[0].contrast_limits, side.layers[0].gamma,
                 side.layers[0].colormap.name == "magma", side.layers[1].opacity,
                 side.layers[1].contour, side.layers[1].visible) for side in sides]  # fmt: skip
    found["mirrored"] = np.array(mirrored, float)
    labels.opacity, labels.contour, labels.visible = 0.5, 0, True
    sides[0].layers[1].selected_label, sides[1].layers[1].contour = 2, 7
    found["from the sides"] = (labels.selected_label, labels.contour)
    found["in both sides"] = [side.layers[1].contour for side in sides]
    labels.contour = 0
    found["units"] = [str(unit) for side in sides for unit in side.layers[1].units]
    room.viewer.layers.move(0, 2)
    found["moved names"] = [[one.name for one in side.layers] for side in (room.viewer, *sides)]
    room.viewer.layers.move(1, 0)
    room.viewer.layers.selection.active = image
    found["selected"] = [side.layers.selection.active.name == image.name for side in sides]


def windows_and_keys(room: Room, image: Any, found: dict[str, Any]) -> None:
    image.contrast_limits = (100, 400)
    zoom = room.views.model("coronal").scene.camera.zoom
    start = QPoint(100, 100)
    room.press("coronal", RIGHT, NO_KEY, start, QPoint(150, 100), QPoint(250, 70))
    room.release("coronal", RIGHT, NO_KEY, QPoint(250, 70))
    found["window"] = image.contrast_limits
    found["window told"] = room.heard["window"][-1]
    found["window mirrored"] = room.views.model("sagittal").layers[0].contrast_limits
    found["zoom kept"] = room.views.model("coronal").scene.camera.zoom == zoom
    pressed: list[int] = []
    room.viewer.bind_key("N", lambda _: pressed.append(1), overwrite=True)
    native = room.canvas("sagittal").native
    QTest.keyClick(native, Qt.Key.Key_N)
    steps = [room.views.model("sagittal").dims.current_step[2]]
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Left):
        QTest.keyClick(native, key)
        steps.append(room.views.model("sagittal").dims.current_step[2])
    found["keys"], found["steps by key"] = len(pressed), np.diff(steps)
    room.viewer.bind_key("N", None)
    room.views.link_zoom(True)
    room.views.model("sagittal").scene.camera.zoom = 4.5
    found["zooms"] = [room.views.model(plane).scene.camera.zoom for plane in PLANES]
    room.views.link_zoom(False)


def walk(found: dict[str, Any]) -> None:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 900)
    overlays = set(viewer.canvas.overlays)
    callbacks = len(viewer.mouse_drag_callbacks), len(viewer.mouse_move_callbacks)
    room = Room(viewer)
    edited, image, labels = room.open()
    conventions(room, labels, found)
    crosshair(room, labels, found)
    painting(room, edited, labels, found)
    following(room, image, labels, found)
    windows_and_keys(room, image, found)
    text = viewer.canvas.overlays.text
    found["notice"], found["notice shown"] = text.text, text.visible
    room.views.set_convention("neurological")
    viewer.layers.clear()
    found["emptied"] = [len(room.views.model(plane).layers) for plane in PLANES]
    room.open()
    found["order again"] = [room.views.model(plane).dims.order[0] for plane in PLANES]
    room.views.close()
    room.views.close()  # a second time does nothing
    viewer.window.remove_dock_widget(room.views)
    settle()
    found["left behind"] = (
        len(set(viewer.canvas.overlays) - overlays),
        len(viewer.mouse_drag_callbacks) - callbacks[0],
        len(viewer.mouse_move_callbacks) - callbacks[1],
    )
    found["layers kept"] = len(viewer.layers)
    found["orientation"] = [str(one) for one in viewer.scene.camera.orientation]
    labels = viewer.layers[1]
    labels.paint((0, 1, 1), 2)
    found["napari's undo again"] = len(labels._undo_history)
    viewer.close()


def leaks(found: dict[str, Any]) -> None:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1200, 800)
    gone: list[weakref.ref] = []
    widgets = []
    for _ in range(5):
        room = Room(viewer)
        room.open()
        sides = room.views._sides
        gone += [weakref.ref(one) for side in sides for one in (
            side, side.model, side.qt, side.qt.canvas, *side.model.layers)]  # fmt: skip
        gone += [weakref.ref(part) for part in (room.views, *room.views._crosshairs)]
        viewer.layers.clear()
        viewer.window.remove_dock_widget(room.views)
        room.views.close()
        room.views.deleteLater()
        del room, sides
        settle(5)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # as its loop would
        gc.collect()
        widgets.append(len(QApplication.allWidgets()))
    found["open: alive"] = [repr(type(one())) for one in gone if one() is not None]
    found["open: widgets"] = widgets
    found["open: threads"] = threading.active_count()
    room = Room(viewer)
    gone = []
    for _ in range(6):
        edited, image, labels = room.open()
        mirrored = [one for p in PLANES for one in room.views.model(p).layers]
        gone += [weakref.ref(one) for one in (edited, image, labels, *mirrored)]
        viewer.layers.clear()
        del edited, image, labels, mirrored
        settle(2)
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)  # napari's controls
        gc.collect()
    found["layers: alive"] = [repr(type(one())) for one in gone if one() is not None]
    room.views.close()
    viewer.close()


if __name__ == "__main__":
    what: dict[str, Any] = {}
    {"walk": walk, "leaks": leaks}[sys.argv[1]](what)
    np.savez(sys.argv[2], **{name: np.array(value) for name, value in what.items()})
