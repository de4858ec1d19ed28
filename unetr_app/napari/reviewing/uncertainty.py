"""UncertaintyControl: the slices that need a look most."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image

from unetr_app.napari.pages.uncertainty import UncertaintyPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review import display
from unetr_app.review.uncertainty import (
    NO_MAP,
    SliceScores,
    next_changed,
    next_uncertain,
    slice_scores,
)


class UncertaintyControl:
    """Jumps to uncertain and to changed slices, and shows the map of uncertainty.

    Args:
        bench: Shared by all controls.
        page: The curve of scores.
    """

    def __init__(self, bench: Bench, page: UncertaintyPage):
        self._bench, self._page = bench, page
        self._plane = "axial"
        self._scores: SliceScores | None = None
        self._visited: dict[str, list[int]] = {}
        self._layer: Image | None = None
        self._is_shown, self._opacity = False, 0.5
        page.plane_chosen.connect(self.choose_plane)
        page.next_uncertain.connect(self.next_uncertain)
        page.next_changed.connect(self.next_changed)
        page.slice_wanted.connect(self.go_to)
        page.map_shown.connect(self.show_map)
        page.opacity_changed.connect(self.set_opacity)
        bench.case_shown.connect(self._begin)
        bench.case_leaving.connect(self._end)
        bench.labels_changed.connect(lambda _: self._show())
        bench.views.moved.connect(lambda _: self._show())

    def choose_plane(self, plane: str) -> None:
        """Score the slices of another plane."""
        self._plane = plane
        self._show()

    def next_uncertain(self) -> None:
        """Go to the most uncertain slice that was not visited yet."""
        if self._scores is None:
            self._bench.say(NO_MAP, "warning")
            return
        visited = self._visited.setdefault(self._plane, [])
        found = next_uncertain(self._scores, self._axis, visited)
        if found is None:
            self._bench.say("No slice is uncertain.")
            return
        visited.append(found)
        self.go_to(found)

    def next_changed(self) -> None:
        """Go to the next slice in which labels were changed."""
        shown = self._bench.shown
        if shown is None:
            return
        found = next_changed(np.flatnonzero(self._changed(shown)), self._current(shown))
        if found is None:
            self._bench.say("No slice was changed.")
        else:
            self.go_to(found)

    def go_to(self, number: int) -> None:
        """Move the crosshair to a slice of the plane, counted in the order of display."""
        shown = self._bench.shown
        if shown is None:
            return
        place = display.place(shown.geometry)
        point = list(self._bench.views.point)
        point[self._axis] = place.translate[self._axis] + number * place.scale[self._axis]
        self._bench.views.move_to((point[0], point[1], point[2]))

    def show_map(self, is_shown: bool) -> None:
        """Show or hide the map over the image."""
        self._is_shown = is_shown
        if self._layer is not None:
            self._layer.visible = is_shown

    def set_opacity(self, opacity: float) -> None:
        """Set how strongly the map shows, 0 to 1."""
        self._opacity = opacity
        if self._layer is not None:
            self._layer.opacity = opacity

    @property
    def _axis(self) -> int:
        return display.PLANES.index(self._plane)

    @property
    def _spacing(self) -> float:
        shown = self._bench.shown
        return 1.0 if shown is None else display.place(shown.geometry).scale[self._axis]

    def _begin(self, shown: ShownCase) -> None:
        self._visited, self._scores = {}, None
        uncertainty = shown.desk.loaded.uncertainty
        if uncertainty is None:
            self._page.show_missing(NO_MAP)
            self._show()
            return
        self._layer = shown.maps[0]
        self._layer.visible, self._layer.opacity = self._is_shown, self._opacity
        data = display.to_display(uncertainty.data[0], shown.geometry)
        grid = shown.geometry.reoriented(display.DISPLAY_CODES)
        self._bench.background.run(
            lambda: slice_scores(data, grid),
            lambda scores: self._keep(shown, scores),
            self._bench.complain,
        )

    def _end(self, shown: ShownCase) -> None:
        self._layer, self._scores = None, None

    def _keep(self, shown: ShownCase, scores: Any) -> None:
        if shown is self._bench.shown:
            self._scores = scores
            self._show()

    def _current(self, shown: ShownCase) -> int:
        place = display.place(shown.geometry)
        at = (self._bench.views.point[self._axis] - place.translate[self._axis]) / self._spacing
        return min(max(round(at), 0), place.shape[self._axis] - 1)

    def _changed(self, shown: ShownCase) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """For each slice of the plane, in the order of display: does it differ from the start?"""
        axis = shown.axis_of(self._plane)
        changed = np.zeros(shown.geometry.shape[axis], dtype=np.bool_)
        changed[shown.desk.history.changed_slices(axis)] = True
        _, flips = shown.geometry.reorientation(display.DISPLAY_CODES)
        return changed[::-1] if self._axis in flips else changed

    def _show(self) -> None:
        shown = self._bench.shown
        if shown is not None:
            scores = None if self._scores is None else self._scores.areas_cm2[self._axis]
            self._page.show_scores(self._plane, scores, self._current(shown), self._changed(shown))
