from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.phantom import oblique_geometry, phantom
from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation import dice, hd95, surface_distances
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.review.comparison import aligned, compare_segmentations, difference_map
from unetr_app.volume import Segmentation

law = settings(deadline=None, max_examples=40)
LABELS = LabelSet.from_names({1: "one", 2: "two", 7: "seven"})


@st.composite
def pairs(draw):
    geometry = draw(geometries(max_side=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return tuple(made(geometry, rng, draw(st.booleans())) for _ in range(2))


def made(geometry, rng, overlapping):
    if overlapping:
        return Segmentation(rng.random((3, *geometry.shape)) < 0.3, geometry, LABELS)
    data = rng.choice([0, 0, 1, 2, 7], geometry.shape).astype(np.uint8)
    return Segmentation(data, geometry, LABELS)


@law
@given(pairs())
def test_the_map_says_of_each_voxel_who_has_what(pair):
    first, second = pair
    found = difference_map(first, second)
    assert found.dtype == np.uint8
    for voxel in np.ndindex(first.geometry.shape):
        here, there = ({v for v in LABELS.values if s.mask(v)[voxel]} for s in pair)
        wanted = 0 if here == there else 3 if here and there else 1 if here else 2
        assert found[voxel] == wanted


@law
@given(pairs(), st.sampled_from(LABELS.values))
def test_the_map_of_one_label_adds_up_to_its_rows(pair, value):
    found = difference_map(*pair, value)
    row = next(row for row in compare_segmentations(*pair) if row.value == value)
    voxel = pair[0].geometry.voxel_ml
    only = [np.count_nonzero(found == n) * voxel for n in (1, 2)]
    assert row.second_ml - row.first_ml == pytest.approx(only[1] - only[0])
    assert row.difference_ml == pytest.approx(only[1] - only[0])
    shared = row.first_ml - only[0]
    if row.dice is not None:
        assert row.dice == pytest.approx(2 * shared / (row.first_ml + row.second_ml))
    assert set(np.unique(found)) <= {0, 1, 2}


@law
@given(pairs())
def test_exchanged_segmentations_give_the_same_agreement(pair):
    there, back = compare_segmentations(*pair), compare_segmentations(*pair[::-1])
    for one, other in zip(there, back, strict=True):
        assert (one.dice, one.hd95_mm) == (other.dice, pytest.approx(other.hd95_mm))
        assert one.difference_ml == pytest.approx(-other.difference_ml)
        assert (one.first_ml, one.second_ml) == (other.second_ml, other.first_ml)
    swap = np.array([0, 2, 1, 3], np.uint8)
    np.testing.assert_array_equal(difference_map(*pair[::-1]), swap[difference_map(*pair)])


def test_rows_are_what_the_evaluation_says_of_the_whole_grid():
    _, first = phantom(oblique_geometry((24, 28, 16)))
    second = Segmentation(np.roll(first.data, 1, 0), first.geometry, first.labels)
    for row in compare_segmentations(first, second):
        masks = second.mask(row.value), first.mask(row.value)
        assert row.dice == dice(*masks) < 1
        assert row.hd95_mm == hd95(surface_distances(*masks, first.geometry)) > 0
        assert row.difference_percent == pytest.approx(
            100 * row.difference_ml / row.first_ml if row.first_ml else None
        )


def test_a_label_that_only_one_has_has_no_distance():
    grid = oblique_geometry((6, 5, 4))
    data = np.zeros(grid.shape, np.uint8)
    first = Segmentation(data, grid, LABELS)
    marked = data.copy()
    marked[2, 2, 2] = 2
    one, two, seven = compare_segmentations(first, Segmentation(marked, grid, LABELS))
    assert (two.dice, two.hd95_mm, two.difference_percent) == (0.0, None, None)
    assert two.difference_ml == pytest.approx(grid.voxel_ml)
    assert (one.dice, one.hd95_mm, seven.dice) == (None, None, None)


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_another_order_of_the_array_changes_nothing(codes):
    _, first = phantom(oblique_geometry((24, 28, 16)))
    found = aligned(first, first.reorient(codes))
    assert found.warnings == ()
    assert found.segmentation.geometry == first.geometry
    assert not difference_map(first, first.reorient(codes)).any()
    assert all(row.dice == 1 for row in compare_segmentations(first, first.reorient(codes)))


def test_another_grid_is_met_by_the_nearest_voxel_and_said():
    grid = Geometry((6, 7, 8), np.diag([2.0, 3.0, 4.0, 1.0]))
    data = np.zeros(grid.shape, np.uint8)
    data[2:5, 1:4, 3:6] = 7
    first = Segmentation(data, grid, LABELS)
    finer = Segmentation(
        data.repeat(2, 0).repeat(2, 1).repeat(2, 2), grid.respaced((1.0, 1.5, 2.0)), LABELS
    )
    found = aligned(first, finer)
    assert ["nearest voxel" in words for words in found.warnings] == [True]
    np.testing.assert_array_equal(found.segmentation.data, data)
    assert not difference_map(first, finer).any()


def test_segmentations_of_different_places_are_refused():
    grid = oblique_geometry((6, 5, 4))
    far = Geometry(grid.shape, np.diag([1.0, 1.0, 1.0, 0.0]) @ grid.affine + _shift(5000))
    here, there = (Segmentation(np.zeros(g.shape, np.uint8), g, LABELS) for g in (grid, far))
    with pytest.raises(UnsafeGeometry, match="nowhere in one place"):
        compare_segmentations(here, there)
    with pytest.raises(InvalidRequest, match="neither segmentation has a label 9"):
        difference_map(here, here, 9)


def _shift(mm):
    shift = np.zeros((4, 4))
    shift[0, 3], shift[3, 3] = mm, 1.0
    return shift
