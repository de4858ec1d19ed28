"""ShownCase: the layers of the case that lies on the desk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer
from numpy.typing import NDArray

from unetr_app.errors import UnetrError
from unetr_app.napari.layers import edited_states, image_states, map_state
from unetr_app.napari.reviewing.prepared import Prepared
from unetr_app.napari.reviewing.stock import LayerStock
from unetr_app.review.display import DISPLAY_CODES, PLANES
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.strokes import display_to_source, stroke
from unetr_app.volume import Segmentation

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from unetr_app.review.desk import Desk

Piece = tuple[tuple[NDArray[Any], ...], NDArray[Any]]


class ShownCase:
    """A case as layers: its images, and the labels that are edited.

    The labels layers show views of the array that the desk's history owns, so that what is painted
    is on the source grid at once.

    Args:
        desk: The open case.
        viewer: The viewer.
        stock: Gives its layers.
        prepared: What is known of it already.
        why_read_only: Why it can only be looked at; empty where it can be changed.
    """

    def __init__(
        self,
        desk: Desk,
        viewer: ViewerModel,
        stock: LayerStock,
        prepared: Prepared,
        *,
        why_read_only: str = "",
    ):
        self.desk = desk
        self.prepared = prepared
        self.windows = prepared.windows
        is_as_prepared = prepared.loaded is desk.loaded and not desk.history.steps
        self.statistics = prepared.statistics if is_as_prepared else ()
        self.why_read_only = why_read_only
        self._viewer = viewer
        self.segmentation = desk.start
        self.geometry = desk.start.geometry
        self.labels_of = {label.value: label for label in self.segmentation.labels}
        self.extras: list[Layer] = []
        loaded, name = desk.loaded, desk.case_id
        uncertainty = loaded.uncertainty
        stock.show(
            [] if loaded.volume is None else image_states(loaded.volume, name),
            []
            if uncertainty is None
            else [map_state(uncertainty.data[0], self.geometry, "uncertainty")],
            edited_states(self.segmentation, desk.history.data, f"{name} labels"),
        )
        self.images, self.maps, self.labels = stock.images, stock.maps, stock.labels

    @property
    def is_overlapping(self) -> bool:
        """Is each label a mask of its own?"""
        return self.segmentation.is_overlapping

    def layer_of(self, value: int) -> Labels:
        """The layer that a label is painted on."""
        if not self.is_overlapping:
            return self.labels[0]
        return self.labels[self.segmentation.labels.values.index(value)]

    def value_in_layer(self, value: int) -> int:
        """What a label's voxels hold in its layer."""
        return 1 if self.is_overlapping else value

    def axis_of(self, plane: str) -> int:
        """The axis of the source grid that a plane's slices lie along."""
        order, _ = self.geometry.reorientation(DISPLAY_CODES)
        return order[PLANES.index(plane)]

    def add_extra(self, layer: Layer) -> None:
        """Show one layer more, on top, until the case is left or `remove_extra`.

        The tool stays where it was: the layer that is painted on remains the active one.
        """
        selection = self._viewer.layers.selection
        active = selection.active
        self.extras.append(layer)
        self._viewer.layers.append(layer)
        if active is not None:
            selection.active = active

    def remove_extra(self, layer: Layer) -> None:
        """Take such a layer away again; one that is gone already is no error."""
        if layer in self.extras:
            self.extras.remove(layer)
        if layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def painted(self, layer: Labels, pieces: Sequence[Piece], name: str) -> Change | None:
        """What a stroke changed, by the array that is edited; None where nothing.

        Args:
            layer: The layer that was painted on.
            pieces: Indices in the layer's own order and the values before, as they were painted.
            name: Of the step.
        """
        row = self.labels.index(layer) if self.is_overlapping else None
        at_source = [(display_to_source(at, self.geometry), before) for at, before in pieces]
        return stroke(self.desk.history.data, at_source, name, row=row)

    def version(self, number: int) -> Segmentation:
        """What was saved under a number; 0 is the prediction.

        Raises:
            UnetrError: If that version is damaged or gone.
        """
        if number == 0:
            return self.desk.loaded.prediction
        found = self.desk.versions.get(number)
        if isinstance(found, UnetrError):
            raise found
        return self.desk.versions.read(found, self.geometry)

    @property
    def is_as_loaded(self) -> bool:
        """Would reading the case again give what was read before?"""
        return tuple(self.desk.versions.numbers()) == self.desk.loaded.numbers

    def leave(self) -> None:
        """Take away what was shown beside image, map and labels, whose layers serve the next."""
        for layer in self.extras:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self.extras = []
