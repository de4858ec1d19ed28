"""PlaneControl: intensity window, convention, crosshair and letters of the three planes."""

from __future__ import annotations

from unetr_app.napari.pages.display import OWN, WHOLE, DisplayPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.display import PLANES
from unetr_app.review.intensity_windows import IntensityWindow, intensity_range
from unetr_app.review.letters import Convention, edge_letters


class PlaneControl:
    """Sets how images are seen.

    Args:
        bench: Shared by all controls.
        page: Presets and switches.
        convention: ``"radiological"`` or ``"neurological"``.
    """

    def __init__(self, bench: Bench, page: DisplayPage, *, convention: Convention):
        self._bench, self._page = bench, page
        self.convention: Convention = convention
        self._presets: list[IntensityWindow] = []
        self._at = 0
        self._has_crosshair = True
        page.window_chosen.connect(self.set_window)
        page.preset_chosen.connect(self.choose_preset)
        page.convention_chosen.connect(self.set_convention)
        page.crosshair_shown.connect(self.show_crosshair)
        page.letters_shown.connect(bench.views.show_letters)
        page.image_chosen.connect(self.show_image)
        bench.case_shown.connect(self._begin)
        bench.views.window_dragged.connect(self._dragged)

    def set_window(self, level: float, width: float) -> None:
        """Show intensities round a level, over a width."""
        low, high = IntensityWindow("", level, width).limits
        self._set_limits(low, high)
        self._page.show_window(level, width)

    def choose_preset(self, name: str) -> None:
        """Take one of the presets by its name, the image's own, or all intensities."""
        if name == WHOLE and self._bench.shown and self._bench.shown.desk.loaded.volume:
            low, high = intensity_range(self._bench.shown.desk.loaded.volume)
            self.set_window((low + high) / 2, high - low)
        for n, preset in enumerate(self._presets):
            if preset.name == name or (name == OWN and preset.is_stated):
                self._at = n
                self._take(preset)
                return

    def next_preset(self) -> None:
        """Take the next preset."""
        if self._presets:
            self._at = (self._at + 1) % len(self._presets)
            preset = self._presets[self._at]
            self._take(preset)
            self._bench.say(f"{preset.name}: level {preset.level:g}, width {preset.width:g}")

    def set_convention(self, convention: Convention) -> None:
        """Mirror the axial and coronal plane for the convention, letters with them."""
        self.convention = convention
        self._bench.views.set_convention(convention)
        self._page.show_convention(convention)

    def toggle_convention(self) -> None:
        """From radiological to neurological or back."""
        if self.convention == "radiological":
            self.set_convention("neurological")
        else:
            self.set_convention("radiological")

    def show_crosshair(self, is_shown: bool) -> None:
        """Show or hide the crosshair."""
        self._has_crosshair = is_shown
        self._bench.views.show_crosshair(is_shown)

    def toggle_crosshair(self) -> None:
        """Show the crosshair where it is hidden, hide it where it is shown."""
        self.show_crosshair(not self._has_crosshair)
        self._page.show_crosshair(self._has_crosshair)

    def show_image(self, name: str) -> None:
        """Show one channel of a case that has several."""
        shown = self._bench.shown
        for layer in shown.images if shown else []:
            layer.visible = layer.name == name

    def _begin(self, shown: ShownCase) -> None:
        self._bench.views.set_convention(self.convention)
        self._show_letters(shown)
        self._presets = list(shown.windows)
        self._at = 0
        self._page.show_presets([(p.name, p.level, p.width) for p in self._presets])
        own = [one.name for one in self._presets if one.is_stated]
        self._page.show_own("" if own else "the image stores no window")
        self._page.show_images([layer.name for layer in shown.images])
        self._page.show_convention(self.convention)
        if self._presets:
            self._take(self._presets[0])

    def _take(self, window: IntensityWindow) -> None:
        self._set_limits(*window.limits)
        self._page.show_window(window.level, window.width)

    def _show_letters(self, shown: ShownCase) -> None:
        for plane in PLANES:  # the views exchange left and right themselves
            letters = edge_letters(shown.geometry, plane, "radiological")
            self._bench.views.set_letters(plane, letters)

    def _dragged(self, low: float, high: float) -> None:
        self._page.show_window((low + high) / 2, high - low)

    def _set_limits(self, low: float, high: float) -> None:
        shown = self._bench.shown
        for layer in shown.images if shown else []:
            if layer.visible:
                least, most = layer.contrast_limits_range
                layer.contrast_limits_range = (min(least or low, low), max(most or high, high))
                layer.contrast_limits = (low, high)
