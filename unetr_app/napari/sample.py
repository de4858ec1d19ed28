"""Sample data: a small made-up image whose sides tell each other apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.napari.layers import image_layers, label_layers
from unetr_app.volume import Segmentation, Volume

_SHAPE = (40, 56, 24)
_SPACING_MM = (1.0, 0.8, 2.0)
_TURN_DEG = 12.0  # about the axis from foot to head
# Each: centre and semi-axes in RAS+ mm, and intensity. The small one lies at the patient's left.
_LARGE = ((5.0, 4.0, -3.0), (11.0, 14.0, 14.0), 700.0)
_SMALL = ((-12.0, -8.0, 8.0), (5.0, 7.0, 9.0), 1000.0)


def oblique_phantom() -> list[Any]:
    """Image and labels of two ellipsoids on an oblique, anisotropic grid, as layer data."""
    angle = np.deg2rad(_TURN_DEG)
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    middle = (np.asarray(_SHAPE) - 1) / 2 * _SPACING_MM
    geometry = Geometry.from_parts(_SHAPE, _SPACING_MM, turn, -turn @ middle)
    points = geometry.index_to_world(np.moveaxis(np.indices(_SHAPE), 0, -1))  # (I, J, K, 3) mm
    image = np.full(_SHAPE, 200.0) + np.random.default_rng(0).normal(0, 30, _SHAPE)
    label_map = np.zeros(_SHAPE, dtype=np.uint8)
    for value, (centre, radii, intensity) in enumerate((_LARGE, _SMALL), start=1):
        inside = (((points - centre) / radii) ** 2).sum(axis=-1) <= 1
        image[inside] += intensity - 200
        label_map[inside] = value
    volume = Volume(image[None].astype(np.float32), geometry, modality="MR")
    names = LabelSet.from_names({1: "Large", 2: "Small, left"})
    layers = [
        *image_layers(volume, "phantom"),
        *label_layers(Segmentation(label_map, geometry, names), "phantom labels"),
    ]
    return [layer.as_layer_data_tuple() for layer in layers]
