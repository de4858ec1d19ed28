from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.phantom import oblique_geometry
from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.review.uncertainty import (
    NO_MAP,
    SliceScores,
    case_score,
    changed_slices,
    next_changed,
    next_uncertain,
    slice_scores,
    uncertain_slices,
)
from unetr_app.volume import reoriented_array

law = settings(deadline=None, max_examples=40)
GRID = Geometry((5, 6, 7), np.diag([1.0, 2.0, 4.0, 1.0]))


def scores_of(area, step=1.0):
    found = np.asarray(area, float)
    return SliceScores((found, found, found), (step, step, step), float(found.sum()))


def test_a_slice_scores_the_area_that_is_uncertain_in_it():
    entropy = np.zeros(GRID.shape, np.float32)
    entropy[1, 2, 3], entropy[1, 4, 3], entropy[4, 4, 6] = 1.0, 0.5, 0.25
    found = slice_scores(entropy, GRID)
    assert found.apart_mm == pytest.approx((1, 2, 4))
    i, j, k = found.areas_cm2
    np.testing.assert_allclose(i, [0, 1.5 * 0.08, 0, 0, 0.25 * 0.08])
    np.testing.assert_allclose(j, [0, 0, 0.04, 0, 0.75 * 0.04, 0])
    np.testing.assert_allclose(k, [0, 0, 0, 1.5 * 0.02, 0, 0, 0.25 * 0.02])
    assert found.case_ml == case_score(entropy, GRID) == pytest.approx(1.75 * 0.008)


def test_haze_does_not_add_up():
    assert slice_scores(np.full(GRID.shape, 0.09, np.float32), GRID).case_ml == 0


@law
@given(geometries(max_side=5), st.integers(0, 2**32 - 1))
def test_areas_times_the_way_between_slices_are_the_volume(geometry, seed):
    entropy = np.random.default_rng(seed).random(geometry.shape, np.float32)
    found = slice_scores(entropy, geometry)
    for area, step in zip(found.areas_cm2, found.apart_mm, strict=True):
        assert area.sum() * step / 10 == pytest.approx(found.case_ml)


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_scores_belong_to_slices_and_not_to_the_order_of_the_array(codes):
    geometry = oblique_geometry((5, 6, 7))
    entropy = np.random.default_rng(3).random(geometry.shape, np.float32)
    here = slice_scores(entropy, geometry)
    there = slice_scores(reoriented_array(entropy, geometry, codes), geometry.reoriented(codes))
    order, flips = geometry.reorientation(codes)
    for n, old in enumerate(order):
        area = here.areas_cm2[old][::-1] if n in flips else here.areas_cm2[old]
        np.testing.assert_allclose(there.areas_cm2[n], area, rtol=1e-5)
        assert there.apart_mm[n] == pytest.approx(here.apart_mm[old])


def test_without_a_map_there_is_no_score_but_advice():
    assert slice_scores(None, GRID) is None
    assert case_score(None, GRID) is None
    assert "--uncertainty" in NO_MAP
    with pytest.raises(UnsafeGeometry, match="does not fit"):
        slice_scores(np.zeros((2, 2, 2), np.float32), GRID)


@law
@given(st.lists(st.floats(0, 9), min_size=1, max_size=30), st.floats(0.5, 6), st.floats(0, 12))
def test_stops_are_the_peaks_and_none_is_near_another(area, step, apart):
    stops = uncertain_slices(scores_of(area, step), 0, apart)
    values = [area[n] for n in stops]
    assert values == sorted(values, reverse=True)
    assert all(value > 0 for value in values)
    assert all(abs(a - b) * step >= apart for n, a in enumerate(stops) for b in stops[:n])
    for n, value in enumerate(area):  # whatever is left out has a stop beside it that is as bad
        beside = [m for m in stops if m == n or abs(m - n) * step < apart]
        assert value == 0 or any(area[m] >= value for m in beside)


@law
@given(st.lists(st.floats(0, 9), min_size=1, max_size=30), st.integers(1, 3))
def test_next_and_next_and_next_goes_round_all_stops_again_and_again(area, rounds):
    scores = scores_of(area, 2.0)
    stops = uncertain_slices(scores, 1)
    visited = []
    for _ in range(rounds * len(stops)):
        visited.append(next_uncertain(scores, 1, visited))
    assert tuple(visited) == stops * rounds
    if not stops:
        assert next_uncertain(scores, 1, []) is None


def test_a_slice_beside_one_that_was_looked_at_has_been_seen():
    scores = scores_of([0, 9, 0, 0, 0, 0, 8, 0, 0, 0, 0, 7], step=2.0)
    assert next_uncertain(scores, 2, [2]) == 6  # 2 mm from the most uncertain one
    assert next_uncertain(scores, 2, [4]) == 1  # 6 mm from it, and 4 mm from the second
    assert next_uncertain(scores, 2, [2, 5, 11]) == 1
    assert next_uncertain(scores, 2, [4], apart_mm=3) == 1


@law
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_changed_slices_hold_every_change_and_nothing_else(seed, overlapping):
    rng = np.random.default_rng(seed)
    shape = (2, 5, 6, 7) if overlapping else (5, 6, 7)
    before = rng.integers(0, 3, shape).astype(np.uint8)
    after = before.copy()
    where = tuple(rng.integers(0, n, 3) for n in shape)
    after[where] = rng.integers(0, 3, 3)
    changed = np.argwhere(before != after)[:, -3:]
    for axis, slices in enumerate(changed_slices(before, after)):
        assert slices.tolist() == sorted({int(v) for v in changed[:, axis]})
    with pytest.raises(UnsafeGeometry):
        changed_slices(before, after[..., :-1])


@law
@given(st.sets(st.integers(0, 40), min_size=1), st.integers(0, 40), st.booleans())
def test_going_on_meets_every_changed_slice_once_a_round(changed, current, back):
    seen, here = [], current
    for _ in changed:
        here = next_changed(changed, here, back=back)
        seen.append(here)
    assert set(seen) == changed
    assert next_changed([], current) is None
