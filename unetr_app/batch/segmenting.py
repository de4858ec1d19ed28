"""What a batch asks of a segmenter, so that it needs neither torch nor a bundle itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from unetr_app.inference.memory_plan import MemoryPlan
from unetr_app.inference.prepared import Prepared
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume


class Card(Protocol):
    """The part of a `unetr_app.bundle.BundleCard` that a batch reads."""

    @property
    def name(self) -> str:
        """The bundle's name."""
        ...

    @property
    def version(self) -> str:
        """The bundle's version."""
        ...

    @property
    def path(self) -> Path:
        """The bundle's folder."""
        ...

    @property
    def labels(self) -> LabelSet:
        """The labels that the bundle finds."""
        ...

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the weights in hexadecimal digits."""
        ...

    @property
    def training_range(self) -> Any:
        """What the bundle was trained on: has ``check(volume)``; None where unknown."""
        ...


class SegmentsVolumes(Protocol):
    """What `unetr_app.inference.segmenter.Segmenter` does."""

    @property
    def card(self) -> Card:
        """The opened bundle's card."""
        ...

    def prepare(self, volume: Volume) -> Volume | Prepared:
        """What can be done before the network, in another thread.

        Args:
            volume: The image.
        """
        ...

    def segment(
        self,
        volume: Volume | Prepared,
        *,
        maps: Mapping[str, Path] | None = None,
        on_plan: Callable[[MemoryPlan], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Segmentation:
        """Segment a volume on its own grid.

        Args:
            volume: The image, or what `prepare` made of it.
            maps: Files to write besides, by the map's name.
            on_plan: Hears what memory it will take.
            progress: Hears of windows done and in all.
            should_stop: Asked before each window.
        """
        ...


class OnDemand:
    """A segmenter that is opened when the first volume comes, and then kept.

    A batch in which all cases are done already never loads a network.

    Args:
        card: The bundle's card, read from its metadata alone.
        opener: Opens the segmenter.
    """

    def __init__(self, card: Card, opener: Callable[[], SegmentsVolumes]):
        self._card = card
        self._opener = opener
        self._opened: SegmentsVolumes | None = None

    @property
    def card(self) -> Card:
        """The bundle's card."""
        return self._card

    def prepare(self, volume: Volume) -> Volume | Prepared:
        """As the segmenter does where it is open; else nothing is done ahead."""
        return volume if self._opened is None else self._opened.prepare(volume)

    def segment(
        self,
        volume: Volume | Prepared,
        *,
        maps: Mapping[str, Path] | None = None,
        on_plan: Callable[[MemoryPlan], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Segmentation:
        """Open the segmenter where that has not been done, and segment."""
        return self.open().segment(
            volume, maps=maps, on_plan=on_plan, progress=progress, should_stop=should_stop
        )

    @property
    def backend_words(self) -> str:
        """Which backend runs the network, and why no other one; empty before it does."""
        name = getattr(self._opened, "backend_name", "")
        notes = "; ".join(getattr(self._opened, "backend_notes", ()))
        return f"{name} ({notes})" if name and notes else name

    def open(self) -> SegmentsVolumes:
        """The segmenter itself, opened where that has not been done."""
        if self._opened is None:
            self._opened = self._opener()
        return self._opened
