import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.planes import intensity_window, looks_like_ct, views, views_at
from unetr_app.volume import Segmentation, Volume

SHAPE = (20, 26, 14)  # R, A, S
AFFINE = np.array([[2.0, 0, 0, -19.0], [0, 1.5, 0, -18], [0, 0, 3.0, 100], [0, 0, 0, 1]])
GRID = Geometry(SHAPE, AFFINE)
LABELS = LabelSet.from_names({1: "one", 2: "two"})
ORIENTATIONS = ["RAS", "LPS", "LPI", "SAR", "PIL", "ASR", "IRP"]


def marked(index):
    """A volume with one bright voxel, and a segmentation of just that voxel."""
    data = np.zeros((1, *SHAPE), dtype=np.float32)
    data[0][index] = 1.0
    label_map = (data[0] > 0).astype(np.uint8)
    return Volume(data, GRID), Segmentation(label_map, GRID, LABELS)


def place(array):
    """Where the brightest pixel lies, as fractions of rows and columns."""
    row, column = np.unravel_index(np.argmax(array), array.shape)
    return (row + 0.5) / array.shape[0], (column + 0.5) / array.shape[1]


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_left_is_right_front_is_up_and_head_is_up(codes):
    volume, segmentation = marked((1, 24, 12))  # far left, front and head
    axial, coronal, sagittal = views(volume.reorient(codes), [segmentation.reorient(codes)])
    for view in (axial, coronal, sagittal):
        np.testing.assert_array_equal(view.image > 0, view.masks[0][1])
    assert axial.plane.letters == "RLAP"
    row, column = place(axial.image)
    assert row < 0.2
    assert column > 0.8
    assert coronal.plane.letters == "RLSI"
    row, column = place(coronal.image)
    assert row < 0.2
    assert column > 0.8
    assert sagittal.plane.letters == "APSI"
    row, column = place(sagittal.image)
    assert row < 0.2
    assert column < 0.2


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_views_do_not_depend_on_how_the_array_is_stored(codes):
    generator = np.random.default_rng(2)
    volume = Volume(generator.normal(size=(1, *SHAPE)), GRID)
    label_map = (generator.random(SHAPE) < 0.02) * generator.integers(1, 3, SHAPE)
    segmentation = Segmentation(label_map, GRID, LABELS)
    expected = views(volume, [segmentation])
    found = views(volume.reorient(codes), [segmentation.reorient(codes)])
    for here, there in zip(expected, found, strict=True):
        np.testing.assert_array_equal(here.image, there.image)
        assert here.size_mm == pytest.approx(there.size_mm)
        assert here.position == there.position


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.integers(0, 19), st.integers(0, 25), st.integers(0, 13)))
def test_every_plane_goes_through_the_fullest_slice(index):
    volume, segmentation = marked(index)
    for view in views(volume, [segmentation]):
        assert view.masks[0][1].sum() == 1


def test_position_is_that_of_the_slice_in_mm():
    volume, segmentation = marked((1, 24, 12))
    positions = [view.position for view in views(volume, [segmentation])]
    assert positions == ["S 136 mm", "A 18 mm", "L 17 mm"]


def test_an_oblique_grid_has_no_position():
    turn = np.deg2rad(10)
    direction = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    grid = Geometry.from_parts(SHAPE, (1, 1, 2), direction, (0, 0, 0))
    empty = Segmentation(np.zeros(SHAPE, dtype=np.uint8), grid, LABELS)
    assert [view.position for view in views(None, [empty])] == ["", "", ""]


def test_without_labels_the_centre_is_shown_whole():
    volume = Volume(np.ones((1, *SHAPE)), GRID)
    empty = Segmentation(np.zeros(SHAPE, dtype=np.uint8), GRID, LABELS)
    axial, coronal, sagittal = views(volume, [empty])
    assert axial.size_mm == pytest.approx((40, 39))
    assert coronal.size_mm == pytest.approx((40, 42))
    assert sagittal.size_mm == pytest.approx((39, 42))
    assert not any(view.is_cropped or view.masks[0] for view in (axial, coronal, sagittal))


def test_a_small_label_in_a_large_volume_is_shown_with_its_surroundings():
    grid = Geometry((200, 180, 160), np.diag([1.0, 1.0, 1.5, 1.0]))
    label_map = np.zeros(grid.shape, dtype=np.uint8)
    label_map[3:23, 60:90, 70:80] = 1
    axial = views(None, [Segmentation(label_map, grid, LABELS)])[0]
    assert axial.is_cropped
    assert axial.size_mm == pytest.approx((60, 60))
    assert axial.masks[0][1].sum() == 20 * 30  # nothing of the label is cut off


def test_two_segmentations_are_cut_where_they_differ_most():
    first = np.zeros(SHAPE, dtype=np.uint8)
    first[4:16, 5:20, 3:7] = 1
    second = first.copy()
    second[6:9, 8:12, 6] = 2
    axial = views(None, [Segmentation(m, GRID, LABELS) for m in (first, second)])[0]
    assert set(axial.masks[1]) == {1, 2}
    same = views(None, [Segmentation(first, GRID, LABELS)] * 2)[0]
    assert same.masks[0][1].sum() == 12 * 15


def test_overlapping_labels_are_all_shown():
    masks = np.zeros((2, *SHAPE), dtype=bool)
    masks[0, 4:16, 5:20, 3:7] = masks[1, 4:8, 5:20, 3:7] = True
    axial = views(None, [Segmentation(masks, GRID, LABELS)])[0]
    assert axial.masks[0][1].sum() == 12 * 15
    assert axial.masks[0][2].sum() == 4 * 15


def test_ct_is_shown_with_a_soft_tissue_window():
    air_and_tissue = np.where(np.arange(SHAPE[0])[:, None, None] < 8, -1000.0, 40.0)
    data = np.broadcast_to(air_and_tissue, SHAPE)[None]
    assert intensity_window(Volume(data, GRID, modality="CT")) == (-160, 240)
    assert intensity_window(Volume(data, GRID)) == (-160, 240)  # unknown, but as CT
    assert not looks_like_ct(Volume(data, GRID, modality="MR"))
    assert not looks_like_ct(Volume(data + 1000, GRID))


def test_other_volumes_are_shown_without_their_outliers():
    data = np.linspace(0, 100, 20 * 26 * 14).reshape(1, *SHAPE).copy()
    data[0, 0, 0, 0] = 1e6
    low, high = intensity_window(Volume(data, GRID))
    assert low == pytest.approx(0.5, abs=0.1)
    assert high == pytest.approx(99.5, abs=0.1)
    flat_low, flat_high = intensity_window(Volume(np.full((1, *SHAPE), 7.0), GRID))
    assert flat_low < 7.0 < flat_high


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_planes_at_a_voxel_are_those_of_its_label(codes):
    volume, segmentation = marked((4, 17, 9))
    turned = volume.reorient(codes)
    index = np.argwhere(turned.data[0])[0]
    by_label = views(turned, [segmentation.reorient(codes)])
    for at, labelled in zip(views_at(turned, index), by_label, strict=True):
        assert at.plane == labelled.plane
        assert at.position == labelled.position
        assert at.image.max() == 1.0
        assert not at.is_cropped
        assert not any(at.masks)
        assert at.size_mm == pytest.approx(
            [n * s for n, s in zip(at.image.shape[::-1], _spacing(at.plane.axis), strict=True)]
        )


def _spacing(axis):
    """Across and down, of the plane that is cut along an axis."""
    down, across = (n for n in (2, 1, 0) if n != axis)
    return GRID.spacing[across], GRID.spacing[down]
