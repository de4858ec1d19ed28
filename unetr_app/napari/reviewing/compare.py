"""CompareControl: two segmentations of a case held against each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtWidgets import QFileDialog

from unetr_app.napari.layers import difference_layer
from unetr_app.napari.pages.compare import ComparePage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.comparison import aligned, compare_segmentations, difference_map
from unetr_app.review.results import read_labels
from unetr_app.volume import Segmentation

PREDICTION, EDIT, SECOND = "prediction", "current edit", "second reader"


class CompareControl:
    """Compares prediction, versions, the current edit, a second reader, and files.

    Args:
        bench: Shared by all controls.
        page: Choices and the table.
    """

    def __init__(self, bench: Bench, page: ComparePage):
        self._bench, self._page = bench, page
        self._others: dict[str, Segmentation] = {}
        self._layer: Labels | None = None
        self._pair = (PREDICTION, EDIT)
        self._is_shown = False
        page.compare_wanted.connect(self.compare)
        page.difference_shown.connect(self.show_difference)
        page.file_wanted.connect(self.ask_file)
        bench.case_shown.connect(self._begin)
        bench.case_leaving.connect(self._end)

    def compare(self, first: str, second: str) -> None:
        """Measure how two segmentations agree, in a thread."""
        shown = self._bench.shown
        if shown is None:
            return
        self._pair = (first, second)
        self._page.show_busy("comparing …")

        def work() -> Any:
            one, other = self._named(shown, first), self._named(shown, second)
            there = aligned(one, other)
            rows = compare_segmentations(one, there.segmentation)
            return rows, difference_map(one, there.segmentation), there.warnings

        self._bench.background.run(work, lambda found: self._show(shown, found), self._fail)

    def show_difference(self, is_shown: bool) -> None:
        """Show or hide where the two differ."""
        self._is_shown = is_shown
        if self._layer is not None:
            self._layer.visible = is_shown
        elif is_shown:
            self.compare(*self._pair)

    def add(self, name: str, segmentation: Segmentation) -> None:
        """Offer one segmentation more of the open case, until it is left."""
        if self._bench.shown is not None:
            self._others[name] = segmentation
            self._page.show_choices(self._choices(self._bench.shown))

    def ask_file(self) -> None:
        """Ask for a file of labels."""
        path, _ = QFileDialog.getOpenFileName(
            self._page, "Labels to compare with", "", "Labels (*.nii *.nii.gz *.nrrd *.mha *.mhd)"
        )
        if path:
            self.add_file(path)

    def add_file(self, path: str) -> None:
        """Read labels of a file, to be compared with."""
        shown = self._bench.shown
        if shown is None:
            return
        with self._bench.careful():
            name = Path(path).name
            self.add(name, read_labels(Path(path)))
            self.compare(EDIT, name)

    def _begin(self, shown: ShownCase) -> None:
        self._others = {}
        self._page.show_choices(self._choices(shown))
        self._page.show_rows([])

    def _end(self, shown: ShownCase) -> None:
        self._layer = None  # the case takes its layers with it

    def _choices(self, shown: ShownCase) -> list[str]:
        versions = [f"version {number}" for number in shown.desk.versions.numbers()]
        second = [SECOND] if shown.desk.loaded.second is not None else []
        return [PREDICTION, EDIT, *versions, *second, *self._others]

    def _named(self, shown: ShownCase, name: str) -> Segmentation:
        """One of the choices, as it is now."""
        desk = shown.desk
        if name == PREDICTION:
            return desk.loaded.prediction
        if name == EDIT:
            return desk.labels
        if name == SECOND and desk.loaded.second is not None:
            return desk.loaded.second
        if name in self._others:
            return self._others[name]
        return shown.version(int(name.rsplit(" ", 1)[-1]))

    def _show(self, shown: ShownCase, found: Any) -> None:
        if shown is not self._bench.shown:
            return
        rows, difference, warnings = found
        self._page.show_busy("")
        self._page.show_rows(rows)
        for words in warnings:
            self._bench.say(words, "warning")
        if self._layer is not None:
            shown.remove_extra(self._layer)
        self._layer = difference_layer(difference, shown.geometry, "difference")
        self._layer.visible = self._is_shown
        shown.add_extra(self._layer)

    def _fail(self, problem: Any) -> None:
        self._page.show_busy("")
        self._bench.complain(problem)
