"""Model widgets: predicting and learning as dock widgets of their own, on any viewer."""

from __future__ import annotations

from typing import Any

import napari
from qtpy.QtWidgets import QWidget

from unetr_app.errors import InvalidRequest
from unetr_app.napari import layers, notifications
from unetr_app.napari.learn_session import LearnSession
from unetr_app.napari.pages.learn import LearnPage
from unetr_app.napari.pages.predict import PredictPage
from unetr_app.napari.predict_session import PredictSession
from unetr_app.volume import Segmentation, Volume


def predict_widget(viewer: napari.Viewer | None = None) -> QWidget:
    """Segment the selected image layers, and add the labels in register.

    Args:
        viewer: Whose layers; where absent those of the window that asks: napari hands its viewer
            to classes only.

    Raises:
        InvalidRequest: If there is no window.
    """
    viewer = viewer or napari.current_viewer()
    if viewer is None:
        raise InvalidRequest("there is no napari window", cure="Open one first.")
    page = PredictPage()
    session = PredictSession(page, lambda: _selected_volume(viewer))

    def add(segmentation: Segmentation, maps: dict[str, Volume]) -> None:
        name = str(segmentation.provenance.get("bundle", "prediction"))
        notifications.show_notice()
        for kind, volume in maps.items():
            for layer in layers.image_layers(volume, f"{name} {kind}"):
                layer.visible = False
                viewer.add_layer(layer)
        for layer in layers.label_layers(segmentation, name):
            viewer.add_layer(layer)

    session.predicted.connect(add)
    return page


def learn_widget() -> QWidget:
    """Fine-tune a bundle on accepted cases."""
    page = LearnPage()
    LearnSession(page)
    return page


def _selected_volume(viewer: Any) -> Volume:
    """The volume of the selected image layers; of the only one, where none is selected.

    Raises:
        InvalidRequest: If there is none that this plugin opened.
    """
    from napari.layers import Image

    chosen = [layer for layer in viewer.layers if layer in viewer.layers.selection]
    images = [layer for layer in chosen if isinstance(layer, Image)]
    every = [layer for layer in viewer.layers if isinstance(layer, Image)]
    found = images or (every if len(every) == 1 else [])
    if not found:
        raise InvalidRequest(
            "No image layer is selected", cure="Click the layer of the image to segment."
        )
    return layers.to_volume(found)
