"""LabelControl: which labels are seen and how, and what they measure."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from qtpy.QtCore import QTimer

from unetr_app.errors import UnetrError
from unetr_app.labels import Colour, Label
from unetr_app.napari.layers import Rgba, colour_labels, opaque
from unetr_app.napari.pages.labels import LabelsPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review import display
from unetr_app.review.editing.change import Change
from unetr_app.review.statistics import LabelStatistics, jump_to, label_statistics, updated
from unetr_app.review.survey import findings_of, quality_of

_PAUSE_MS = 400  # after the last stroke, before labels are measured again


class LabelControl:
    """Shows, hides, colours and measures labels, and jumps to them.

    Args:
        bench: Shared by all controls.
        page: The table of labels.
    """

    def __init__(self, bench: Bench, page: LabelsPage):
        self._bench, self._page = bench, page
        self._hidden: set[Label] = set()  # labels keep this and the next two from case to case
        self._locked: set[Label] = set()
        self._colours: dict[Label, Colour] = {}
        self._solo = 0
        self._opacity, self._contour = 0.5, 0
        page.show_opacity(self._opacity)
        self._measuring: Future[Any] | None = None  # until what it found is shown
        self._statistics: tuple[LabelStatistics, ...] = ()
        self._changes: list[Change] = []  # since they were measured
        self._pause = QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._measure)
        page.shown.connect(self.show)
        page.soloed.connect(self.solo)
        page.coloured.connect(self.colour)
        page.opacity_changed.connect(self.set_opacity)
        page.contour_changed.connect(self.set_contour)
        page.jump_wanted.connect(self.jump)
        page.locked.connect(self.lock)
        bench.case_shown.connect(self._begin)
        bench.case_leaving.connect(self._end)
        bench.labels_changed.connect(self._changed)

    def show(self, value: int, is_shown: bool) -> None:
        """Show or hide a label."""
        label = self._label(value)
        if label is not None:
            self._hidden.discard(label) if is_shown else self._hidden.add(label)
            self._paint()

    def show_all(self, is_shown: bool | None = None) -> None:
        """Show or hide all labels.

        Args:
            is_shown: Turned over where None.
        """
        shown = self._bench.shown
        if shown is None:
            return
        hides = any(layer.visible for layer in shown.labels) if is_shown is None else not is_shown
        for layer in shown.labels:
            layer.visible = not hides

    def solo(self, value: int) -> None:
        """Show one label alone; 0, or the one that is alone already, shows all again."""
        self._solo = 0 if value == self._solo else value
        self._page.show_solo(self._solo)
        self._paint()

    def colour(self, value: int, colour: Colour) -> None:
        """Give a label another colour, red, green and blue from 0 to 255, in this window."""
        label = self._label(value)
        if label is not None:
            self._colours[label] = colour
            self._paint()

    def set_opacity(self, opacity: float) -> None:
        """Set how much labels hide of the image, 0 to 1."""
        self._opacity = opacity
        self._paint()

    def set_contour(self, width: int) -> None:
        """Draw outlines of a width in voxels; 0 fills labels."""
        self._contour = width
        self._paint()

    def toggle_contour(self) -> None:
        """Outlines instead of filled labels, or the other way round."""
        self.set_contour(0 if self._contour else 1)
        self._page.show_contour(self._contour)

    def jump(self, value: int) -> None:
        """Move the crosshair to where a label is largest."""
        shown = self._bench.shown
        if shown is None or value not in shown.labels_of:
            return
        if not self._statistics:
            self._bench.say("The labels are still being measured.")
            return
        at = jump_to(shown.desk.history.data, self._statistics, value)
        if at is None:
            self._bench.say(f"{shown.labels_of[value].name} has no voxel.")
        else:
            self._bench.views.move_to(display.to_point(at, shown.geometry))

    def lock(self, value: int, is_locked: bool) -> None:
        """Keep a label as it is, whatever is painted or done; or let it go."""
        label = self._label(value)
        if label is not None:
            self._locked.add(label) if is_locked else self._locked.discard(label)
            self._lock()

    def _label(self, value: int) -> Label | None:
        return None if self._bench.shown is None else self._bench.shown.labels_of.get(value)

    def _begin(self, shown: ShownCase) -> None:
        self._solo = 0
        self._page.show_solo(0)
        self._page.show_labels(shown.segmentation.labels)
        for value, label in shown.labels_of.items():
            self._page.show_shown(value, label not in self._hidden)
            self._page.show_locked(value, label in self._locked)
            self._page.show_colour(value, self._colours.get(label, label.colour))
        self._lock()
        self._paint()
        self._statistics, self._changes = (), []
        if shown.statistics:
            self._show_statistics(shown, shown.statistics, shown.prepared.findings)
        else:
            middle = [n // 2 for n in shown.geometry.shape]
            self._bench.views.move_to(display.to_point(middle, shown.geometry))
            self._measure()

    def _end(self, shown: ShownCase) -> None:
        self._pause.stop()
        if self._measuring is not None:
            self._measuring.cancel()
            self._measuring = None

    def _changed(self, change: Change) -> None:
        self._changes.append(change)
        self._pause.start()

    def _lock(self) -> None:
        """Bring what the case's history protects to what the padlocks show."""
        shown = self._bench.shown
        if shown is not None:
            labels = shown.labels_of.items()
            shown.desk.history.locked = frozenset(v for v, one in labels if one in self._locked)

    def _paint(self) -> None:
        """Bring colours, opacity and outlines of the layers to what is wanted."""
        shown = self._bench.shown
        if shown is None:
            return
        for layer in shown.labels:
            colours: dict[int, Rgba] = {}
            for value, label in shown.labels_of.items():
                if shown.layer_of(value) is not layer:
                    continue
                red, green, blue, _ = opaque(self._colours.get(label, label.colour))
                is_seen = value == self._solo if self._solo else label not in self._hidden
                colours[shown.value_in_layer(value)] = (red, green, blue, float(is_seen))
            colour_labels(layer, colours)
            layer.opacity, layer.contour = self._opacity, self._contour

    def _measure(self) -> None:
        """Measure what has changed, or all labels of a case that was just opened, in a thread."""
        shown = self._bench.shown
        if shown is None:
            return
        if self._measuring is not None:
            self._pause.start()  # what it finds is what these changes begin with
            return
        changes, self._changes = self._changes, []
        known = self._statistics
        loaded, geometry = shown.desk.loaded, shown.geometry
        image = None if loaded.volume is None else loaded.volume.data[0]
        data, labels = shown.desk.history.data, shown.segmentation.labels

        def work() -> tuple[tuple[LabelStatistics, ...], Mapping[str, Any]]:
            if not known:
                found = label_statistics(data, geometry, labels, image)
                return found, findings_of(loaded, found)
            found = known
            for change in changes:
                found = updated(found, data, change, geometry=geometry, image=image)
            return found, quality_of(loaded, found)

        self._measuring = self._bench.background.run(
            work,
            lambda found: self._measured(shown, *found),
            lambda problem: self._failed(shown, problem),
        )

    def _measured(
        self, shown: ShownCase, found: tuple[LabelStatistics, ...], findings: Mapping[str, Any]
    ) -> None:
        if shown is self._bench.shown:
            self._measuring = None
            self._show_statistics(shown, found, findings)

    def _failed(self, shown: ShownCase, problem: UnetrError) -> None:
        if shown is self._bench.shown:
            self._measuring, self._statistics = None, ()  # the next time, all are measured
        self._bench.complain(problem)

    def _show_statistics(
        self, shown: ShownCase, found: tuple[LabelStatistics, ...], findings: Mapping[str, Any]
    ) -> None:
        is_first, self._statistics = not self._statistics, found
        self._page.show_statistics(found)
        if is_first:
            self._go_to_the_largest(shown)
        self._bench.note_findings(shown, findings)

    def _go_to_the_largest(self, shown: ShownCase) -> None:
        largest = max(self._statistics, key=lambda row: row.voxels, default=None)
        if largest is not None and largest.voxels:
            self.jump(largest.value)
