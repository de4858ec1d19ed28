"""A layer that is refilled shows what a new one would."""

from __future__ import annotations

import numpy as np
import pytest

from tests.napari_out import require_napari, use_plain_settings
from tests.review_stage import phantom
from unetr_app.geometry import Geometry
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation, Volume

require_napari()

from napari.components import ViewerModel  # noqa: E402 - needs napari

from unetr_app.napari import layers  # noqa: E402
from unetr_app.napari.reviewing.stock import LayerStock  # noqa: E402

OTHER = Geometry((7, 9, 11), np.diag([-1.5, 2.0, 0.7, 1.0]))


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    use_plain_settings(monkeypatch)


def other_case(seed: int = 3) -> tuple[Volume, Segmentation]:
    rng = np.random.default_rng(seed)
    data = rng.normal(-300, 50, (1, *OTHER.shape)).astype(np.float32)
    names = LabelSet((Label(4, "other", (9, 200, 30)),))
    return Volume(data, OTHER), Segmentation((rng.random(OTHER.shape) < 0.2) * 4, OTHER, names)


def states_of(made):
    volume, segmentation = made
    return (
        layers.image_states(volume, "image"),
        layers.edited_states(segmentation, np.array(segmentation.data), "labels"),
    )


def is_like(layer, new):
    np.testing.assert_array_equal(layer.data, new.data)
    np.testing.assert_allclose(layer.scale, new.scale)
    np.testing.assert_allclose(layer.translate, new.translate)
    np.testing.assert_allclose(layer.extent.world, new.extent.world)
    assert layer.name == new.name
    assert layer.metadata.keys() == new.metadata.keys()
    if hasattr(new, "contrast_limits"):
        assert layer.contrast_limits == new.contrast_limits
        assert layer.contrast_limits_range == new.contrast_limits_range
    else:
        assert layer.selected_label == new.selected_label
        assert layer.features.to_dict() == new.features.to_dict()
        assert layer.colormap.color_dict.keys() == new.colormap.color_dict.keys()
        for value, colour in new.colormap.color_dict.items():
            np.testing.assert_allclose(layer.colormap.color_dict[value], colour)


@pytest.mark.parametrize("way", ["forth", "back"])
def test_a_refilled_layer_is_like_a_new_one(way):
    here, there = phantom(), other_case()
    if way == "back":
        here, there = there, here
    viewer = ViewerModel()
    for old, new in zip(states_of(here), states_of(there), strict=True):
        layer = layers.new_layer(old[0])
        viewer.add_layer(layer)
        assert layers.refill(layer, new[0])
        is_like(layer, layers.new_layer(new[0]))


def test_what_is_painted_after_refilling_lands_in_the_new_array():
    old, new = states_of(phantom())[1], other_case()[1]
    edited = np.array(new.data)
    layer = layers.new_layer(old[0])
    ViewerModel().add_layer(layer)
    layers.refill(layer, layers.edited_states(new, edited, "labels")[0])
    before = edited.copy()
    layer.brush_size = 1
    free = tuple(np.argwhere(layer.data == 0)[0])
    layer.paint(free, 4)
    (place,) = np.argwhere(edited != before)
    assert layer.data[free] == 4
    assert edited[tuple(place)] == 4


def test_another_kind_of_array_is_not_refilled():
    image, labels = states_of(phantom())
    assert not layers.refill(layers.new_layer(image[0]), labels[0])
    wide = {**labels[0], "data": labels[0]["data"].astype(np.uint16)}
    assert not layers.refill(layers.new_layer(labels[0]), wide)


def test_the_stock_has_as_many_layers_as_the_case_in_their_order():
    viewer = ViewerModel()
    stock = LayerStock(viewer)
    volume, segmentation = phantom()
    two = Volume(np.concatenate([volume.data, volume.data]), volume.geometry)
    masks = np.stack([segmentation.data == 1, segmentation.data == 2])
    overlapping = Segmentation(masks, segmentation.geometry, segmentation.labels)
    map_ = layers.map_state(volume.data[0], volume.geometry, "uncertainty")
    cases = [
        (layers.image_states(volume, "one"), [], states_of((volume, segmentation))[1]),
        (
            layers.image_states(two, "two"), [map_],
            layers.edited_states(overlapping, masks.copy(), "both"),
        ),
        ([], [], states_of((volume, segmentation))[1]),
        (layers.image_states(volume, "one"), [map_], states_of((volume, segmentation))[1]),
    ]  # fmt: skip
    for images, maps, labels in cases:
        stock.show(images, maps, labels)
        wanted = [state["name"] for state in (*images, *maps, *labels)]
        assert [layer.name for layer in viewer.layers] == wanted
    stock.clear()
    assert not viewer.layers
