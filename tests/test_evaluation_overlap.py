import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr_app.errors import UnsafeGeometry
from unetr_app.evaluation import dice, volume_difference_ml, volume_difference_percent
from unetr_app.geometry import Geometry

law = settings(deadline=None, max_examples=60)  # the machine may be busy

SHAPE = (3, 4, 5)
GRID = Geometry(SHAPE, np.diag([0.5, -1.0, 4.0, 1.0]))
masks = hnp.arrays(bool, SHAPE)


@law
@given(masks, masks)
def test_dice_is_twice_the_shared_voxels_over_the_sum_of_both(first, second):
    a = {tuple(p) for p in np.argwhere(first)}
    b = {tuple(p) for p in np.argwhere(second)}
    expected = 2 * len(a & b) / (len(a) + len(b)) if a or b else 1.0
    assert dice(first, second) == pytest.approx(expected)


@law
@given(masks, masks)
def test_dice_does_not_depend_on_the_order(first, second):
    assert dice(first, second) == dice(second, first)


@law
@given(masks)
def test_dice_of_a_mask_with_itself_is_one_and_with_its_complement_zero(mask):
    assert dice(mask, mask) == 1.0
    assert dice(mask, ~mask) == 0.0


@law
@given(masks, masks)
def test_volume_difference_is_a_difference_of_volumes(first, second):
    voxel_ml = 0.5 * 1.0 * 4.0 / 1000
    expected = (int(first.sum()) - int(second.sum())) * voxel_ml
    assert volume_difference_ml(first, second, GRID) == pytest.approx(expected)


@law
@given(masks, st.integers(1, 60))
def test_percent_is_of_the_reference(first, there):
    reference = np.zeros(60, dtype=bool)
    reference[:there] = True
    percent = volume_difference_percent(first, reference.reshape(SHAPE))
    assert percent == pytest.approx(100 * (first.sum() - there) / there)


def test_there_is_no_percent_of_nothing():
    nothing = np.zeros(SHAPE, dtype=bool)
    assert volume_difference_percent(~nothing, nothing) is None


def test_masks_of_two_grids_are_refused():
    with pytest.raises(UnsafeGeometry, match="one grid"):
        dice(np.zeros((2, 3, 4), dtype=bool), np.zeros((4, 3, 2), dtype=bool))
