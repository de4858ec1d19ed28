"""LayerStock: the layers of a review, kept and refilled from case to case."""

from __future__ import annotations

from collections.abc import Sequence

from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer

from unetr_app.napari.layers import State, new_layer, refill


class LayerStock:
    """Layers in three ranks: images, maps over them, labels on top.

    A new layer costs napari a good part of a second in each of three views, a refilled one little.

    Args:
        viewer: Where they are shown.
    """

    def __init__(self, viewer: ViewerModel):
        self._viewer = viewer
        self._ranks: list[list[Layer]] = [[], [], []]

    @property
    def images(self) -> list[Image]:
        """One a channel."""
        return [layer for layer in self._ranks[0] if isinstance(layer, Image)]

    @property
    def maps(self) -> list[Image]:
        """Maps such as uncertainty."""
        return [layer for layer in self._ranks[1] if isinstance(layer, Image)]

    @property
    def labels(self) -> list[Labels]:
        """The labels that are edited: one layer, or one a label."""
        return [layer for layer in self._ranks[2] if isinstance(layer, Labels)]

    def show(self, images: Sequence[State], maps: Sequence[State], labels: Sequence[State]) -> None:
        """Show these, in layers that are there as far as they fit."""
        for rank, states in enumerate((images, maps, labels)):
            for n, state in enumerate(states):
                self._put(rank, n, state)
            for layer in self._ranks[rank][len(states) :]:
                self._drop(layer)
            del self._ranks[rank][len(states) :]

    def clear(self) -> None:
        """Take all of them away."""
        self.show((), (), ())

    def _put(self, rank: int, n: int, state: State) -> None:
        row = self._ranks[rank]
        if n < len(row):
            if row[n] in self._viewer.layers and refill(row[n], state):
                return
            self._drop(row.pop(n))
        layer = new_layer(state)
        row.insert(n, layer)
        ours = [one for ranked in self._ranks for one in ranked]
        self._viewer.layers.insert(ours.index(layer), layer)

    def _drop(self, layer: Layer) -> None:
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
