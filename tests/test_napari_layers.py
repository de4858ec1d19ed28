from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from data.phantom import oblique_geometry, phantom
from tests.napari_out import require_napari, use_plain_settings
from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation, Volume

require_napari()

from napari.components import ViewerModel  # noqa: E402 - needs napari

from unetr_app.napari import layers  # noqa: E402
from unetr_app.review import display  # noqa: E402

STRAIGHT = Geometry((9, 7, 5), np.diag([1.0, 1.5, 3.0, 1.0]))
GRIDS = {
    "straight": STRAIGHT,
    "LPS": STRAIGHT.reoriented("LPS"),
    "sagittal": STRAIGHT.reoriented("PIR"),
    "oblique": oblique_geometry((9, 7, 5)),
    "oblique, sagittal": oblique_geometry((9, 7, 5)).reoriented("ASL"),
}
TWO = LabelSet((Label(1, "Anterior", (255, 0, 0)), Label(2, "Posterior", (0, 0, 255))))


@pytest.fixture(autouse=True)
def plain_settings(monkeypatch):
    use_plain_settings(monkeypatch)


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


def numbered(grid, channels=1):
    data = np.arange(channels * np.prod(grid.shape), dtype=np.float32)
    return Volume(data.reshape(channels, *grid.shape), grid, modality="MR", source="a.nii.gz")


def two_blobs(grid):
    label_map = np.zeros(grid.shape, np.uint8)
    label_map[1:3, 2, 1:] = 1
    label_map[3, 1:, 2] = 2
    return Segmentation(label_map, grid, TWO, {"bundle": "b"})


def shown(made):
    viewer = ViewerModel()
    for layer in made:
        viewer.add_layer(layer)
    return viewer


def test_a_voxel_lies_in_the_viewer_where_its_geometry_says(grid):
    volume = numbered(grid)
    (layer,) = shown(layers.image_layers(volume)).layers
    for value in (0, 17, 101, volume.data.size - 1):
        (v,) = np.argwhere(np.asarray(layer.data) == value)
        world = display.display_axes(grid) @ np.asarray(layer.data_to_world(v))
        native = np.unravel_index(value, grid.shape)
        np.testing.assert_allclose(world, grid.index_to_world(native), atol=1e-9)


def test_the_slice_shown_is_the_slice_under_the_cursor(grid):
    label_map = np.zeros(grid.shape, np.uint8)
    label_map[4, 3, 3] = 2
    viewer = shown(layers.label_layers(Segmentation(label_map, grid, TWO)))
    (layer,) = viewer.layers
    (v,) = np.argwhere(layer.data)
    position = layer.data_to_world(v)
    viewer.dims.set_point(0, position[0])  # oblique grids too raise no napari warning here
    assert viewer.dims.displayed == (1, 2)
    assert layer._slice.image.raw[v[1], v[2]] == 2
    assert layer.get_value(position, world=True) == 2


def test_image_and_labels_lie_in_register(grid):
    segmentation = two_blobs(grid)
    volume = Volume(segmentation.data[None].astype(np.float32), grid)
    image, labels = shown(layers.image_layers(volume) + layers.label_layers(segmentation)).layers
    np.testing.assert_array_equal(image.data, labels.data)
    np.testing.assert_array_equal(image.extent.world, labels.extent.world)
    np.testing.assert_array_equal(image.affine.affine_matrix, np.eye(4))


def test_scale_is_spacing_in_mm(grid):
    made = layers.image_layers(numbered(grid)) + layers.label_layers(two_blobs(grid))
    viewer = shown(made)
    for layer in viewer.layers:
        np.testing.assert_allclose(layer.scale, grid.reoriented("IPL").spacing)
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
        assert layer.axis_labels == ("I", "P", "L")
    assert viewer.dims.axis_labels == ("I", "P", "L")


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "ASL"])
def test_the_first_view_is_axial_and_radiological(codes):
    straight = Geometry((20, 24, 10), np.diag([1.0, 1.2, 3.0, 1.0]))  # index grows to R, A, S
    data = np.zeros((1, *straight.shape), np.float32)
    data[0, 2, 20, 7] = 1.0  # the patient's left, front, towards the head
    viewer = shown(layers.image_layers(Volume(data, straight).reorient(codes)))
    assert viewer.dims.ndisplay == 2
    assert viewer.dims.displayed == (1, 2)
    assert [str(way) for way in viewer.scene.camera.orientation] == ["towards", "down", "right"]
    assert viewer.scene.camera.handedness == "right"
    (layer,) = viewer.layers
    (where,) = np.argwhere(np.asarray(layer.data))
    viewer.dims.set_point(0, layer.data_to_world(where)[0])
    ((row, column),) = np.argwhere(layer._slice.image.raw)
    rows, columns = layer._slice.image.raw.shape
    assert (rows, columns) == (24, 20)
    assert row < rows / 2, "the front is up"
    assert column > columns / 2, "the patient's left is on the right"
    assert where[0] < layer.data.shape[0] / 2, "the head comes first: up in other planes"


def test_volume_comes_back_exactly(grid):
    volume = numbered(grid)
    back = layers.to_volume(layers.image_layers(volume)[0])
    assert back.geometry == volume.geometry
    np.testing.assert_array_equal(back.data, volume.data)
    assert (back.modality, back.source) == ("MR", "a.nii.gz")
    assert back.channel_names == volume.channel_names


def test_segmentation_comes_back_exactly_and_is_unharmed_by_paint(grid):
    segmentation = two_blobs(grid)
    before = segmentation.data.copy()
    (layer,) = layers.label_layers(segmentation)
    back = layers.to_segmentation(layer)
    assert back.geometry == segmentation.geometry
    assert back.labels == TWO
    assert back.data.dtype == np.uint8
    assert back.provenance == {"bundle": "b"}
    np.testing.assert_array_equal(back.data, before)
    native = np.arange(before.size).reshape(grid.shape)
    (v,) = np.argwhere(display.to_display(native, grid) == before.size - 2)
    layer.data_setitem(tuple(v[:, None]), 2)
    np.testing.assert_array_equal(segmentation.data, before)
    before.flat[-2] = 2
    np.testing.assert_array_equal(layers.to_segmentation(layer).data, before)


def test_channels_become_layers_and_come_back(grid):
    volume = numbered(grid, channels=3)
    made = layers.image_layers(volume, "case")
    assert [layer.name for layer in made] == ["case channel_0", "case channel_1", "case channel_2"]
    assert [layer.visible for layer in made] == [True, False, False]
    np.testing.assert_array_equal(layers.to_volume(made).data, volume.data)
    assert layers.to_volume(made[1]).channel_names == ("channel_1",)


def test_channels_of_an_image_three_voxels_wide_are_no_colours():
    volume = Volume(np.ones((1, 3, 7, 5), np.float32), STRAIGHT.cropped((0, 0, 0), (3, 7, 5)))
    assert not layers.image_layers(volume)[0].rgb


def test_overlapping_labels_become_layers_and_come_back(grid):
    masks = np.zeros((2, *grid.shape), bool)
    masks[0, 1:5], masks[1, 3:6] = True, True
    segmentation = Segmentation(masks, grid, TWO)
    made = layers.label_layers(segmentation, "case")
    assert [layer.name for layer in made] == ["case Anterior", "case Posterior"]
    assert [set(np.unique(layer.data)) for layer in made] == [{0, 1}, {0, 2}]
    back = layers.to_segmentation(made[::-1])
    assert back.is_overlapping
    np.testing.assert_array_equal(back.data, masks)
    with pytest.raises(InvalidRequest, match="1 of 2 overlapping labels"):
        layers.to_segmentation(made[0])


def test_labels_have_names_and_colours(grid):
    segmentation = two_blobs(grid)
    (layer,) = shown(layers.label_layers(segmentation)).layers
    np.testing.assert_allclose(layer.get_color(1), (1, 0, 0, 1))
    np.testing.assert_allclose(layer.get_color(2), (0, 0, 1, 1))
    assert layer.get_color(7)[3] > 0, "a value without a name is seen"
    assert layer.selected_label == 1
    (at,) = np.argwhere(layer.data == 2)[:1]
    status = layer.get_status(layer.data_to_world(at), world=True)
    assert "label: Posterior" in "".join(str(words) for words in status.values())


@pytest.mark.parametrize("modality", ["CT", ""])
def test_ct_begins_with_a_soft_tissue_window_in_a_full_range(modality):
    data = np.linspace(-1024, 1500, np.prod(STRAIGHT.shape)).reshape(1, *STRAIGHT.shape)
    (layer,) = layers.image_layers(Volume(data, STRAIGHT, modality=modality))
    assert tuple(layer.contrast_limits) == (-160, 240)
    assert tuple(layer.contrast_limits_range) == (-1024, 1500)


def test_ct_of_other_values_is_seen_all_the_same():
    data = np.linspace(1000, 1500, np.prod(STRAIGHT.shape)).reshape(1, *STRAIGHT.shape)
    (layer,) = layers.image_layers(Volume(data, STRAIGHT, modality="CT"))
    assert 1000 <= layer.contrast_limits[0] < layer.contrast_limits[1] <= 1500


def test_mr_begins_between_percentiles_whatever_its_unit():
    rng = np.random.default_rng(0)
    data = rng.normal(1000, 100, (1, 20, 30, 40)).astype(np.float32)
    data[0, 0, 0, 0] = 1e6  # one hot voxel does not darken the rest
    grid = Geometry((20, 30, 40), np.eye(4))
    for unit in (1.0, 1e-4, 1e3):
        (layer,) = layers.image_layers(Volume(data * unit, grid, modality="MR"))
        low, high = layer.contrast_limits
        assert 650 * unit < low < 800 * unit
        assert 1200 * unit < high < 1350 * unit
        assert layer.contrast_limits_range[1] == pytest.approx(1e6 * unit)


def test_a_constant_image_can_be_shown():
    (layer,) = layers.image_layers(Volume(np.full((1, 9, 7, 5), 3.0), STRAIGHT))
    assert layer.contrast_limits[0] < layer.contrast_limits[1]


def test_layers_of_others_do_not_come_back():
    viewer = ViewerModel()
    foreign = viewer.add_labels(np.zeros((5, 7, 9), np.uint8), name="mine")
    with pytest.raises(InvalidRequest, match="'mine' is no segmentation opened by unetr-app"):
        layers.to_segmentation(foreign)
    (image,) = layers.image_layers(numbered(STRAIGHT))
    with pytest.raises(InvalidRequest, match="no segmentation"):
        layers.to_segmentation(image)
    with pytest.raises(InvalidRequest, match="different files"):
        layers.to_volume([image, *layers.image_layers(numbered(STRAIGHT))])
    with pytest.raises(InvalidRequest, match="no layer was given"):
        layers.to_volume([])


@pytest.mark.parametrize(
    "move",
    [
        lambda layer: setattr(layer, "translate", layer.translate + 1.0),
        lambda layer: setattr(layer, "scale", (1, 1, 1)),
        lambda layer: setattr(layer, "rotate", (0, 0, 5)),
        lambda layer: setattr(layer, "affine", np.diag([1, 1, -1, 1])),
    ],
)
def test_a_layer_that_was_moved_does_not_come_back(move):
    (layer,) = layers.label_layers(two_blobs(STRAIGHT))
    move(layer)
    with pytest.raises(UnsafeGeometry, match="moved"):
        layers.to_segmentation(layer)


def test_a_layer_with_other_voxels_does_not_come_back():
    (layer,) = layers.label_layers(two_blobs(STRAIGHT))
    layer.data = np.asarray(layer.data)[1:]
    with pytest.raises(UnsafeGeometry, match="its grid has"):
        layers.to_segmentation(layer)


def test_paint_without_a_name_is_refused():
    (layer,) = layers.label_layers(two_blobs(STRAIGHT))
    layer.data_setitem((np.array([0]), np.array([0]), np.array([0])), 9)
    with pytest.raises(InvalidRequest, match="values without a name"):
        layers.to_segmentation(layer)


def test_a_duplicate_comes_back_too():
    viewer = shown(layers.label_layers(two_blobs(STRAIGHT)))
    from napari.layers._layer_actions import _duplicate_layer

    _duplicate_layer(viewer.layers)
    np.testing.assert_array_equal(
        layers.to_segmentation(viewer.layers[1]).data, two_blobs(STRAIGHT).data
    )


def test_a_phantom_is_whole_after_the_way_there_and_back():
    volume, truth = phantom(oblique_geometry((24, 28, 16)))
    image, labels = layers.image_layers(volume) + layers.label_layers(truth)
    np.testing.assert_array_equal(layers.to_volume(image).data, volume.data)
    back = layers.to_segmentation(labels)
    for value in truth.labels.values:
        before, after = (
            grid.index_to_world(np.argwhere(one.mask(value))).mean(axis=0)
            for one, grid in ((truth, truth.geometry), (back, back.geometry))
        )
        np.testing.assert_array_equal(after, before)


def test_no_qt_and_no_torch_are_imported():
    code = (
        "import sys; import unetr_app.napari.readers, unetr_app.napari.preferences, "
        "unetr_app.napari.sample; "
        "print(sorted({m.split('.')[0] for m in sys.modules} "
        "& {'torch', 'monai', 'qtpy', 'PySide6', 'PyQt5', 'PyQt6'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
