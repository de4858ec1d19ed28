"""Run by test_review_window in a process of its own: a person's walk through a review.

    python review_walk.py FOLDER RESULT.json [PICTURES]

Exits with 77 where Qt cannot be loaded. Pictures of the window go to the folder PICTURES.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

try:
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
except Exception as error:
    sys.stderr.write(f"Qt cannot be loaded: {error}\n")
    sys.exit(77)

from tests.review_stage import FRONT_LEFT, GRID, Hands, make_output_folder
from unetr_app.checksum import sha256_of
from unetr_app.errors import CaseInUse
from unetr_app.napari.pages.labels import LOCK
from unetr_app.napari.reviewing.program import open_window
from unetr_app.review.display import PLANES, to_point
from unetr_app.review.worklist import open_worklist
from unetr_app.volume import Segmentation


def colour_places(picture: np.ndarray[Any, Any]) -> dict[str, list[float]]:
    """Row and column, as fractions of a picture, of the middle of what is red and what is blue."""
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    masks = {
        "red": (red > green + 60) & (red > blue + 60),
        "blue": (blue > green + 60) & (blue > red + 60),
    }
    return {
        name: (np.argwhere(mask).mean(axis=0) / mask.shape).tolist() if mask.sum() > 50 else []
        for name, mask in masks.items()
    }


def letters_of(hands: Hands, plane: str) -> list[str]:
    """The letters at the left, right, upper and lower edge of a plane."""
    return list(hands.window.views.letters_shown(plane))


class Walk:
    """The steps of the walk, and what was seen."""

    def __init__(self, folder: Path, pictures: Path | None):
        self.out = make_output_folder(folder)
        self.exports = folder / "exports"
        self.pictures = pictures
        self.seen: dict[str, Any] = {"prediction": sha256_of(self.out / "case_1/labels.nii.gz")}
        self.window = open_window(self.out, reviewer="tester")
        self.hands = Hands(self.window)
        self.hands.wait_for_case("case_1")

    @property
    def desk(self) -> Any:
        return self.window.bench.shown.desk

    def picture(self, name: str) -> None:
        """Keep a picture of the window for the documentation."""
        if self.pictures is not None:
            from imageio.v3 import imwrite

            imwrite(self.pictures / f"{name}.png", self.hands.window_picture())

    def look(self) -> None:
        """The planes show what lies where, in both conventions."""
        left = to_point([(s.start + s.stop - 1) / 2 for s in FRONT_LEFT], GRID)
        self.window.views.move_to(left)
        self.hands.settle(0.3)
        for convention in ("radiological", "neurological"):
            for plane in ("axial", "coronal", "sagittal"):
                found = colour_places(self.hands.picture(plane))
                self.seen[f"{convention} {plane}"] = found | {
                    "letters": letters_of(self.hands, plane)
                }
            self.hands.key("T")
        self.picture("review")

    def step_through(self) -> None:
        """Next, next, previous, by keyboard, from two planes; each case is fitted to them."""
        models = [self.window.views.model(plane) for plane in PLANES]
        self.window.views.reset_views()
        fitted = [model.scene.camera.zoom for model in models]
        for model in models:
            model.scene.camera.zoom *= 5
        self.hands.key("N")
        self.hands.wait_for_case("case_2")
        self.seen["zoom of the next"] = [
            model.scene.camera.zoom / zoom for model, zoom in zip(models, fitted, strict=True)
        ]
        self.hands.key("N", "coronal")
        self.hands.wait_for_case("case_3")
        self.hands.key("N")
        self.seen["after the last"] = self.window.panel.message.text()
        self.hands.key("P", "sagittal")
        self.hands.wait_for_case("case_2")
        self.hands.key("P")
        self.hands.wait_for_case("case_1")

    def edit(self) -> None:
        """Brush in two planes, one undo for both, redo, an operation."""
        self.hands.key("E")
        self.seen["status while editing"] = self.row("case_1").status
        history, begin = self.desk.history, self.desk.history.data.copy()
        at = self.window.views.point
        self.hands.drag([at, (at[0], at[1] + 4, at[2] - 4)])
        self.seen["painted axial"] = self.changed(begin)
        self.window.views.move_to(at)
        self.hands.drag([at, (at[0] + 4, at[1], at[2])], "coronal")
        self.seen["painted coronal"] = self.changed(begin)
        self.picture("review_edit")
        self.hands.key("Ctrl+Z", "coronal")
        self.seen["after one undo"] = self.changed(begin)
        self.hands.key("Ctrl+Z")
        self.seen["after two undos"] = self.changed(begin)
        self.hands.key("Ctrl+Shift+Z")
        self.seen["after a redo"] = self.changed(begin)
        self.window.panel.show_page(self.window.panel.edit)
        self.hands.click(self.window.panel.edit.operations.buttons["grow"])
        self.seen["steps"] = list(history.steps)
        self.edited = history.data.copy()

    def measure_brush(self) -> None:
        """A dot of each tool in each plane, in mm along i, j and k; all taken back."""
        history, at = self.desk.history, to_point([15, 13, 6], GRID)
        self.window.edits.set_brush(9)
        for key, tool in (("B", "brush"), ("D", "ball")):
            self.hands.key(key)
            for plane in PLANES:
                begin = history.data.copy()
                self.window.views.move_to(at)
                self.hands.drag([self.window.views.point], plane)
                where = np.argwhere(history.data != begin)
                wide = (np.ptp(where, axis=0) + 1) * GRID.spacing
                self.seen[f"{tool} {plane}"] = wide.tolist()
                self.hands.key("Ctrl+Z", plane)
                assert np.array_equal(history.data, begin)

    def lock(self) -> None:
        """A padlock that is shut holds in the next case too."""
        page = self.window.panel.labels
        page._press(1, LOCK)
        self.hands.key("N")
        self.hands.wait_for_case("case_2")
        self.seen["locked in the next case"] = sorted(self.desk.history.locked)
        page._press(1, LOCK)
        self.seen["unlocked"] = sorted(self.desk.history.locked)
        self.hands.key("P")
        self.hands.wait_for_case("case_1")

    def decide(self) -> None:
        """Accept, flag, grade, comment, reject, by keyboard."""
        self.hands.key("4")
        self.hands.key("A")
        self.seen["versions"] = self.desk.versions.numbers()
        self.hands.key("C")
        field = self.hands.main.focusWidget()  # the application's, if the window were active
        QTest.keyClicks(field, "fine now: N A R")
        QTest.keyClick(field, Qt.Key.Key_Return)
        self.hands.settle()
        self.hands.key("N")
        self.hands.wait_for_case("case_2")
        self.hands.key("F")
        self.hands.key("R")
        self.hands.key("N")
        self.hands.wait_for_case("case_3")
        self.picture("review_cases")
        for n in (1, 2, 3):
            row = self.row(f"case_{n}")
            self.seen[f"row {n}"] = [row.status, row.flagged, row.grade, row.comment, row.reviewer]

    def predict(self) -> None:
        """Two predictions of one bundle arrive: outlines in register, and nothing else changes."""
        desk, viewer = self.desk, self.window.bench.viewer
        self.hands.key("B")
        before = desk.history.data.copy()
        active = viewer.layers.selection.active
        found = Segmentation(before, desk.start.geometry, desk.start.labels, {"bundle": "tiny"})
        models = self.window.models
        models._case_id = desk.case_id
        for _ in range(2):
            models._predicting.predicted.emit(found, {"uncertainty": desk.loaded.volume})
        self.hands.settle(0.2)
        mine = [layer for layer in viewer.layers if layer.name.startswith("tiny")]
        self.seen["predicted"] = [layer.name for layer in mine]
        self.seen["prediction in register"] = all(
            np.allclose(layer.scale, active.scale)
            and np.allclose(layer.translate, active.translate)
            for layer in mine
        ) and bool(np.array_equal(mine[-1].data, active.data))
        self.seen["tool stays"] = viewer.layers.selection.active is active
        self.seen["labels stay"] = bool(np.array_equal(before, desk.history.data))
        models._case_id = "case_1"  # a prediction that comes when its case is left
        models._predicting.predicted.emit(found, {})
        self.seen["late prediction"] = self.window.panel.message.whole_text()
        self.hands.key("Escape")

    def share(self) -> None:
        """A second reviewer finds the case in use, and this one's others free."""
        other = open_worklist(self.out)
        try:
            other.open("case_3", "second")
        except CaseInUse as in_use:
            self.seen["second reviewer"] = str(in_use)
        other.open("case_2", "second").close()

    def export(self) -> None:
        """NIfTI of the accepted case on its own grid, through the page."""
        page = self.window.panel.export
        self.window.panel.show_page(page)
        page.show_folder(str(self.exports))
        page.kinds["nifti"].setChecked(True)
        page.all_accepted.setChecked(True)
        self.hands.click(page.export)
        self.hands.wait(lambda: (self.exports / "case_1.nii.gz").exists(), "the export")
        self.hands.wait(lambda: bool(page.result.text()), "word of the export")
        self.seen["exported"] = page.result.text()
        from unetr_app.io import read_label_map

        found = read_label_map(self.exports / "case_1.nii.gz")
        self.seen["export is the edit"] = bool(np.array_equal(found.data, self.edited))
        self.seen["export is on the grid"] = found.geometry.is_close(self.desk.start.geometry)

    def dock(self) -> None:
        """The widgets that napari's menu offers, made as napari makes them."""
        import napari
        from napari._qt.qt_main_window import _instantiate_dock_widget

        from unetr_app.napari.model_widgets import learn_widget, predict_widget
        from unetr_app.napari.reviewing.widget import ReviewWidget

        viewer = napari.Viewer(show=False)
        for made in (ReviewWidget, predict_widget, learn_widget):
            widget = _instantiate_dock_widget(made, viewer)
            viewer.window.add_dock_widget(widget, name=made.__name__)
        self.seen["docks"] = sorted(viewer.window.dock_widgets)
        viewer.close()
        self.hands.settle(0.3)

    def leave(self) -> None:
        """Close the window; nothing is held, the prediction is as it was."""
        self.window.bench.viewer.close()
        self.hands.settle(0.3)
        open_worklist(self.out).open("case_3", "second").close()
        self.seen["prediction at the end"] = sha256_of(self.out / "case_1/labels.nii.gz")

    def row(self, case_id: str) -> Any:
        """What the worklist says of a case."""
        return self.window.bench.worklist.row(case_id)

    def changed(self, begin: np.ndarray[Any, Any]) -> list[int]:
        """How many voxels differ, and in how many slices along k."""
        differs = self.desk.history.data != begin
        return [int(differs.sum()), int(differs.any(axis=(0, 1)).sum())]


def main(folder: Path, result: Path, pictures: Path | None) -> None:
    walk = Walk(folder, pictures)
    walk.look()
    walk.step_through()
    walk.measure_brush()
    walk.lock()
    walk.edit()
    walk.decide()
    walk.predict()
    walk.share()
    walk.export()
    walk.leave()
    walk.dock()
    result.write_text(json.dumps(walk.seen, indent=1))


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    main(given[0], given[1], given[2] if len(given) > 2 else None)
