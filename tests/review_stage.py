"""What tests of the review window share: a worklist of phantoms, and hands on a real window.

Keys and mouse go through Qt's own events to the widget that a person would have under the cursor.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from data.phantom import oblique_geometry
from tests.napari_out import add_case, write_image
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume

GRID = oblique_geometry((30, 26, 12), (1.0, 1.2, 2.5), (8, -6, 10), (-15, -15, -15))
FRONT_LEFT = (slice(3, 7), slice(18, 23), slice(6, 9))  # i to the right, j to the front
BACK_RIGHT = (slice(20, 27), slice(4, 8), slice(6, 9))
LABELS = LabelSet.from_names({1: "Front left", 2: "Back right"})
RED, BLUE = [255, 0, 0], [0, 0, 255]


def phantom(grid: Geometry = GRID, *, seed: int = 0) -> tuple[Volume, Segmentation]:
    """An image whose marker at the patient's front left is brightest, and its two labels."""
    label_map = np.zeros(grid.shape, np.uint8)
    label_map[FRONT_LEFT], label_map[BACK_RIGHT] = 1, 2
    data = np.full(grid.shape, 100, np.float32)
    data += np.random.default_rng(seed).normal(0, 5, grid.shape).astype(np.float32)
    data[FRONT_LEFT], data[BACK_RIGHT] = 1000, 500
    return Volume(data[None], grid, modality="MR"), Segmentation(label_map, grid, LABELS)


def make_output_folder(folder: Path, cases: int = 3) -> Path:
    """An output folder of `unetr segment` with some cases, images beside it."""
    out = folder / "out"
    for n in range(1, cases + 1):
        made = phantom(seed=n)
        add_case(out, write_image(folder / f"case_{n}.nii.gz", made[0]), made, case_id=f"case_{n}")
        rows = [
            {"value": 1, "name": "Front left", "colour": RED},
            {"value": 2, "name": "Back right", "colour": BLUE},
        ]
        (out / f"case_{n}" / "measurements.json").write_text(json.dumps({"labels": rows}))
    return out


class Hands:
    """Keys and mouse on a review window.

    Args:
        window: The review.
    """

    def __init__(self, window: Any):
        self.window = window
        self.viewer = window.bench.viewer
        self.main = self.viewer.window._qt_window

    def settle(self, seconds: float = 0.05) -> None:
        """Let Qt work for a while."""
        from qtpy.QtWidgets import QApplication

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            QApplication.processEvents()
            time.sleep(0.002)

    def wait(self, is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
        """Let Qt work until something is so."""
        until = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < until, f"waited in vain for {what}"
            self.settle(0.01)
        self.settle()

    def wait_for_case(self, case_id: str) -> None:
        """Let Qt work until a case is shown and measured."""
        bench = self.window.bench
        self.wait(
            lambda: bench.shown is not None and bench.shown.desk.loaded.case_id == case_id,
            f"case {case_id}",
        )
        self.wait(lambda: bool(self.window.labels._statistics), "statistics")

    def canvas(self, plane: str = "axial") -> Any:
        """The canvas of a plane."""
        if plane == "axial":
            return self.viewer.window._qt_viewer.canvas
        side = {"coronal": 0, "sagittal": 1}[plane]
        return self.window.views._sides[side].qt.canvas

    def key(self, keys: str, plane: str = "axial") -> None:
        """Press keys, as in ``"Ctrl+Z"``, with the focus on a plane."""
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        native = self.canvas(plane).native
        native.setFocus()
        pressed = QKeySequence(keys)[0]
        QTest.keyClick(native, pressed.key(), pressed.keyboardModifiers())
        self.settle()

    def pixel(self, point: tuple[float, float, float], plane: str = "axial") -> tuple[int, int]:
        """Where display coordinates in mm are seen on a plane's canvas."""
        canvas = self.canvas(plane)
        model = self.window.views.model(plane)
        row, column = model.dims.displayed
        x, y = canvas.view.scene.transform.map((point[column], point[row], 0, 1))[:2]
        return round(x), round(y)

    def drag(self, points: list[tuple[float, float, float]], plane: str = "axial") -> None:
        """Draw with the left button through display coordinates in mm."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        native, left = self.canvas(plane).native, Qt.MouseButton.LeftButton
        places = [QPoint(*self.pixel(point, plane)) for point in points]
        none = Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(native, places[0])
        self.settle()
        QTest.mousePress(native, left, none, places[0])
        self.settle()
        for place in places[1:]:
            _move(native, place)
            self.settle()
        QTest.mouseRelease(native, left, none, places[-1])
        self.settle()

    def picture(self, plane: str = "axial") -> np.ndarray[Any, Any]:
        """What a plane shows, (rows, columns, 3)."""
        from napari._qt.utils import QImg2array

        self.settle(0.1)
        return np.asarray(QImg2array(self.canvas(plane).screenshot()))[..., :3]

    def click(self, widget: Any) -> None:
        """Click a button."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        assert widget.isEnabled(), widget.text()
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton)
        self.settle()

    def window_picture(self) -> np.ndarray[Any, Any]:
        """What the whole window shows."""
        self.settle(0.2)
        return np.asarray(self.viewer.screenshot(canvas_only=False, flash=False))[..., :3]


def _move(native: Any, place: Any) -> None:
    """Move the mouse with the left button held; QTest moves it without buttons."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    left = Qt.MouseButton.LeftButton
    where = QPointF(place)
    event = QMouseEvent(
        QEvent.Type.MouseMove, where, QPointF(native.mapToGlobal(place)),
        Qt.MouseButton.NoButton, left, Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(native, event)
