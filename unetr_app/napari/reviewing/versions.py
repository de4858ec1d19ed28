"""VersionControl: what was saved of a case, and going back to it."""

from __future__ import annotations

from napari.layers import Labels

from unetr_app.napari.layers import label_layers
from unetr_app.napari.pages.history import HistoryPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.editing.change import Change, change_to
from unetr_app.review.version_rows import rows_of


class VersionControl:
    """Lists versions, shows one beside the current labels, and goes back to one.

    Args:
        bench: Shared by all controls.
        page: The list of versions.
    """

    def __init__(self, bench: Bench, page: HistoryPage):
        self._bench, self._page = bench, page
        self._layers: list[Labels] = []
        self._number = 0
        page.shown.connect(self.show)
        page.restored.connect(self.restore)
        bench.case_shown.connect(self._begin)
        bench.case_leaving.connect(self._end)
        bench.rows_changed.connect(self._list)

    def show(self, number: int) -> None:
        """Show a version as outlines over the case, or take those away that are there.

        Args:
            number: Of the version; 0 is the prediction.
        """
        shown = self._bench.shown
        if shown is None:
            return
        was_there = any(layer in self._bench.viewer.layers for layer in self._layers)
        for layer in self._layers:
            shown.remove_extra(layer)
        self._layers = []
        if was_there and number == self._number:
            self._bench.say("")
            return
        self._number = number
        with self._bench.careful():
            name = f"version {number}" if number else "prediction"
            self._layers = label_layers(shown.version(number), name)
            for layer in self._layers:
                layer.contour, layer.opacity, layer.editable = 1, 1.0, False
                shown.add_extra(layer)
            self._bench.say(f"The outlines are the {name}; Show takes them away again.")

    def restore(self, number: int) -> None:
        """Make the labels what they were in a version (0: the prediction), as a step to undo."""
        shown = self._bench.shown
        if shown is None or not self._bench.may_change(shown):
            return
        with self._bench.careful():
            name = f"back to version {number}" if number else "back to the prediction"
            change = change_to(shown.desk.history.data, shown.version(number).data, name)
            if change is None:
                self._bench.say("The labels are as they were then.")
                return
            self._tell(shown, shown.desk.history.apply(change))

    def _tell(self, shown: ShownCase, change: Change | None) -> None:
        for layer in shown.labels:
            self._bench.views.refresh_labels(layer)
        if change is not None:
            self._bench.say(f"{change.name}: {len(change.where):,} voxels changed.")
            self._bench.labels_changed.emit(change)

    def _begin(self, shown: ShownCase) -> None:
        self._layers = []
        self._list()

    def _end(self, shown: ShownCase) -> None:
        self._layers = []

    def _list(self) -> None:
        if self._bench.shown is not None:
            self._page.set_read_only(self._bench.shown.why_read_only)
            self._page.show_versions(rows_of(self._bench.shown.desk))
            self._page.show_log(self._bench.shown.desk.log_lines())
