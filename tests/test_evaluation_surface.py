import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation import (
    average_surface_distance,
    hd95,
    surface,
    surface_dice,
    surface_distances,
)
from unetr_app.geometry import Geometry

law = settings(deadline=None, max_examples=60)  # the machine may be busy

SPACING = (0.7, 1.3, 2.9)
shapes = st.tuples(*[st.integers(1, 5)] * 3)


@st.composite
def pairs(draw):
    shape = draw(shapes)
    return draw(hnp.arrays(bool, shape)), draw(hnp.arrays(bool, shape))


def oblique(shape, spacing=SPACING):
    tilt, turn = np.deg2rad(20), np.deg2rad(-35)
    about_x = [[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]]
    about_z = [[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]]
    return Geometry.from_parts(shape, spacing, np.array(about_z) @ about_x, (5.0, -60.0, 900.0))


def sheared(shape, spacing=SPACING, degrees=18.0):
    affine = np.diag([*spacing, 1.0])
    affine[1, 2] = -np.tan(np.deg2rad(degrees)) * spacing[2]
    affine[:3, 3] = (40.0, -7.0, 3.0)
    return Geometry(shape, affine)


def brute_surface(mask):
    steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    inside = {tuple(int(n) for n in p) for p in np.argwhere(mask)}
    return [p for p in sorted(inside) if any(tuple(np.add(p, s)) not in inside for s in steps)]


def brute_distances(first, second, geometry):
    here, there = (geometry.index_to_world(brute_surface(m)) for m in (first, second))
    apart = np.linalg.norm(here[:, None] - there[None], axis=-1)
    return apart.min(axis=1), apart.min(axis=0)


def blobs(shape=(26, 22, 14), seed=3):
    """Two overlapping, lumpy, asymmetric bodies."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    scale = np.array([1.0, 1.2, 1.9])

    def body(centre, radius):
        return (((grid - centre) * scale) ** 2).sum(-1) < radius**2

    first = body((11, 9, 6), 7.3) | body((17, 13, 8), 4.1)
    second = body((12, 10, 6), 6.9) | body((18, 12, 7), 4.6)
    rough = np.random.default_rng(seed).random(shape) < 0.01
    return first, second ^ (rough & second)


@law
@given(pairs())
def test_distances_equal_brute_force_on_oblique_and_sheared_grids(pair):
    first, second = pair
    for geometry in (oblique(first.shape), sheared(first.shape)):
        found = surface_distances(first, second, geometry)
        if first.any() and second.any():
            expected = brute_distances(first, second, geometry)
            np.testing.assert_allclose(np.sort(found.to_reference), np.sort(expected[0]), atol=1e-9)
            np.testing.assert_allclose(
                np.sort(found.to_prediction), np.sort(expected[1]), atol=1e-9
            )


@law
@given(pairs())
def test_search_tree_and_distance_transform_agree(pair):
    first, second = pair
    geometry = oblique(first.shape)
    if first.any() and second.any():
        tree = surface._by_tree(first, second, geometry)
        transform = surface._by_transform(first, second, geometry)
        np.testing.assert_allclose(tree, transform, atol=1e-9)


def test_both_ways_are_taken_by_masks_that_suit_them(monkeypatch):
    taken = []
    for name in ("_by_tree", "_by_transform"):
        real = getattr(surface, name)
        monkeypatch.setattr(surface, name, lambda *a, r=real, n=name: taken.append(n) or r(*a))
    smooth = np.zeros((64, 64, 64), dtype=bool)
    smooth[4:60, 4:60, 4:60] = True
    surface_distances(smooth, smooth, Geometry(smooth.shape, np.eye(4)))
    assert set(taken) == {"_by_transform"}
    taken.clear()
    far = np.zeros((64, 64, 64), dtype=bool)
    far[1:3, 1:3, 1:3] = far[60:63, 60:63, 60:63] = True
    surface_distances(far, far, Geometry(far.shape, np.eye(4)))
    assert set(taken) == {"_by_tree"}


@law
@given(pairs())
def test_order_of_the_masks_swaps_the_directions_alone(pair):
    first, second = pair
    geometry = oblique(first.shape)
    one, other = (surface_distances(*p, geometry) for p in ((first, second), (second, first)))
    np.testing.assert_allclose(one.to_reference, other.to_prediction)
    assert hd95(one) == pytest.approx(hd95(other))
    assert average_surface_distance(one) == pytest.approx(average_surface_distance(other))
    assert surface_dice(one, 0.8) == surface_dice(other, 0.8)


@law
@given(pairs())
def test_a_mask_agrees_with_itself_wholly(pair):
    found = surface_distances(pair[0], pair[0], oblique(pair[0].shape))
    assert (hd95(found), average_surface_distance(found)) == (0.0, 0.0)
    assert surface_dice(found, 0.0) == 1.0


@law
@given(st.integers(0, 2), st.integers(1, 6))
def test_a_body_moved_along_one_axis_is_that_many_millimetres_away(axis, steps):
    shape = (16, 16, 16)
    mask = np.zeros(shape, dtype=bool)
    mask[(2, 3, 4)] = True
    moved = np.roll(mask, steps, axis=axis)
    found = surface_distances(mask, moved, oblique(shape))
    away = steps * SPACING[axis]
    assert hd95(found) == pytest.approx(away)
    assert average_surface_distance(found) == pytest.approx(away)
    assert surface_dice(found, away) == 1.0  # at the tolerance is within it
    assert surface_dice(found, away - 0.01) == 0.0


@pytest.mark.parametrize("which", ["prediction", "reference"])
def test_one_empty_mask_is_infinitely_far(which):
    full = np.ones((3, 4, 5), dtype=bool)
    masks = (~full, full) if which == "prediction" else (full, ~full)
    found = surface_distances(*masks, Geometry(full.shape, np.eye(4)))
    assert hd95(found) == math.inf
    assert average_surface_distance(found) == math.inf
    assert surface_dice(found, 1e9) == 0.0


def test_two_empty_masks_agree():
    empty = np.zeros((3, 4, 5), dtype=bool)
    found = surface_distances(empty, empty, Geometry(empty.shape, np.eye(4)))
    assert (hd95(found), average_surface_distance(found), surface_dice(found)) == (0.0, 0.0, 1.0)


def test_masks_of_another_grid_and_negative_tolerances_are_refused():
    mask = np.ones((3, 4, 5), dtype=bool)
    with pytest.raises(UnsafeGeometry, match="do not fit"):
        surface_distances(mask, mask, Geometry((5, 4, 3), np.eye(4)))
    found = surface_distances(mask, mask, Geometry((3, 4, 5), np.eye(4)))
    for tolerance in (-0.1, math.nan, math.inf):
        with pytest.raises(InvalidRequest, match="tolerance"):
            surface_dice(found, tolerance)


@pytest.fixture(scope="module")
def monai_metrics():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics")


@settings(deadline=None, max_examples=30)
@given(pair=pairs())
def test_equals_monai_on_small_masks(monai_metrics, pair):
    if pair[0].any() and pair[1].any():
        assert_equals_monai(monai_metrics, *pair)


def test_equals_monai_on_bodies(monai_metrics):
    assert_equals_monai(monai_metrics, *blobs())


def assert_equals_monai(metrics, first, second, tolerance=1.9):
    import torch

    y_pred, y = (torch.from_numpy(m[None, None].astype(np.float32)) for m in (first, second))
    same = {"y_pred": y_pred, "y": y, "include_background": True, "spacing": list(SPACING)}
    found = surface_distances(first, second, oblique(first.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI calls its own deprecated argument
        theirs = (
            metrics.compute_hausdorff_distance(percentile=95, **same),
            metrics.compute_average_surface_distance(symmetric=True, **same),
            metrics.compute_surface_dice(class_thresholds=[tolerance], **same),
        )
    ours = (hd95(found), average_surface_distance(found), surface_dice(found, tolerance))
    np.testing.assert_allclose(ours, [float(t) for t in theirs], rtol=1e-4)
