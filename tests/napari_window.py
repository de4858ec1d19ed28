"""Run by test_napari_window in a process of its own: a real napari window opens a case.

    python napari_window.py CASE_FOLDER DAMAGED_FILE RESULT.npz

Exits with 77 where Qt cannot be loaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

try:
    from qtpy.QtWidgets import QApplication
except Exception as error:
    sys.stderr.write(f"Qt cannot be loaded: {error}\n")
    sys.exit(77)

import napari
from napari.utils.notifications import notification_manager

from unetr_app.errors import UnetrError
from unetr_app.napari import layers


def settle() -> None:
    for _ in range(10):
        QApplication.processEvents()


def picture(viewer: napari.Viewer) -> np.ndarray:
    settle()
    return np.asarray(viewer.screenshot(canvas_only=True, flash=False))[..., :3]


def main(case: Path, damaged: Path, result: Path) -> None:
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1000, 700)
    settle()
    found: dict[str, np.ndarray] = {}
    drop = viewer.window._qt_viewer._qt_open  # what a drag onto the window calls
    drop([str(damaged)], stack=False, plugin="unetr-app")
    found["layers_after_damaged"] = np.array(len(viewer.layers))
    found["said"] = np.array([f"{r.severity}: {r.message}" for r in notification_manager.records])
    drop([str(case)], stack=False, plugin="unetr-app")
    viewer.reset_view()
    image, labels = viewer.layers
    (marker,) = np.argwhere(np.asarray(image.data) == image.data.max())[:1]
    viewer.dims.set_point(0, labels.data_to_world(marker)[0])
    found["both"] = picture(viewer)
    found["window"] = np.asarray(viewer.screenshot(canvas_only=False, flash=False))
    viewer.cursor.position = labels.data_to_world(marker)
    found["status"] = np.array(str(viewer._calc_status_from_cursor()))
    found["notice"] = np.array(viewer.canvas.overlays.text.text)
    labels.visible = False
    found["image"] = picture(viewer)
    labels.visible, image.visible = True, False
    found["labels"] = picture(viewer)
    viewer.dims.set_current_step(0, 0)
    found["other_slice"] = picture(viewer)
    labels.paint((0, 2, 2), 2)  # row 2, column 2: front, the patient's right
    found["painted"] = picture(viewer)
    found["saved"] = layers.to_segmentation(labels).data
    try:
        labels.translate = labels.translate + 1
        layers.to_segmentation(labels)
    except UnetrError as problem:
        found["moved"] = np.array(str(problem))
    np.savez(result, **found)
    viewer.close()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
