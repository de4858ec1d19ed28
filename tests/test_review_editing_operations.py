"""Operations against slow references: every distance by the affine, every voxel by itself."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tests.strategies import geometries
from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.editing import margins
from unetr_app.review.editing.balls import ball, near
from unetr_app.review.editing.brushes import Brush, paint
from unetr_app.review.editing.components import largest_component, remove_islands
from unetr_app.review.editing.holes import fill_holes
from unetr_app.review.editing.interpolation import _signed_mm, interpolate
from unetr_app.review.editing.margins import grow, shrink
from unetr_app.review.editing.replacing import clear, replace
from unetr_app.volume import reoriented_array

law = settings(deadline=None, max_examples=40)
CLOSE_MM = 1e-4  # radii nearer than this to a distance between voxels are not tried


def sheared(grid, slant):
    affine = grid.affine.copy()
    affine[:3, 2] += slant * affine[:3, 1] * grid.spacing[2] / grid.spacing[1]
    return Geometry(grid.shape, affine)


def sheared_twice(grid, slant):
    affine = sheared(grid, slant).affine.copy()
    affine[:3, 1] += 0.2 * slant * affine[:3, 0] * grid.spacing[1] / grid.spacing[0]
    return Geometry(grid.shape, affine)


grids = st.builds(
    sheared_twice,
    geometries(min_side=2, max_side=7, max_angle_deg=180.0),
    st.one_of(st.just(0.0), st.floats(-0.6, 0.6)),
)
seeds = st.integers(0, 10**6)
radii = st.floats(0.3, 8.0)


def blobs(rng, shape, labels=3):
    """Labels in lumps, with islands and holes among them."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 0.8)
    return np.digitize(noise, np.quantile(noise, np.linspace(0.4, 0.9, labels))).astype(np.uint8)


def after(labels, change):
    result = labels.copy()
    if change is not None:
        assert change.fits(labels)
        change.write(result)
    return result


def distances(grid):
    """(N, N) mm between the centres of all voxels."""
    world = grid.index_to_world(np.argwhere(np.ones(grid.shape)))
    return np.linalg.norm(world[:, None] - world[None], axis=-1)


def clear_of_ties(apart, mm):
    assume(np.abs(apart - mm).min() > CLOSE_MM)


@law
@given(grids, seeds, radii, st.booleans(), st.sets(st.integers(0, 3), max_size=2))
def test_growing_takes_every_voxel_within_the_distance_and_no_other(grid, seed, mm, over, locked):
    labels = blobs(np.random.default_rng(seed), grid.shape)
    apart = distances(grid)
    clear_of_ties(apart, mm)
    result = after(labels, grow(labels, grid, 1, mm, over_labels=over, locked=locked))
    own = (labels == 1).reshape(-1)
    within = (apart[:, own] <= mm).any(axis=1).reshape(grid.shape)
    takes = within & ((labels == 0) | over) & ~np.isin(labels, list(locked)) & (1 not in locked)
    np.testing.assert_array_equal(result, np.where(takes, 1, labels))


@law
@given(grids, seeds, radii)
def test_shrinking_is_growing_of_what_is_outside(grid, seed, mm):
    labels = blobs(np.random.default_rng(seed), grid.shape, labels=1)
    shrunk = after(labels, shrink(labels, grid, 1, mm))
    outside = (labels == 0).astype(np.uint8)
    grown = after(outside, grow(outside, grid, 1, mm))
    np.testing.assert_array_equal(shrunk, 1 - grown)


@law
@given(grids, seeds, radii)
def test_shrinking_gives_up_what_is_near_any_other_voxel(grid, seed, mm):
    labels = blobs(np.random.default_rng(seed), grid.shape)
    apart = distances(grid)
    clear_of_ties(apart, mm)
    result = after(labels, shrink(labels, grid, 2, mm))
    other = (labels != 2).reshape(-1)
    near_other = (apart[:, other] <= mm).any(axis=1).reshape(grid.shape)
    np.testing.assert_array_equal(result, np.where((labels == 2) & near_other, 0, labels))


@pytest.mark.parametrize("mm", [1.0, 2.3, 4.0, 30.0])
@pytest.mark.parametrize("slant", [0.0, 0.3])
def test_wide_margins_are_the_same_however_they_are_found(mm, slant, monkeypatch):
    grid = sheared(Geometry((12, 13, 9), np.diag([-0.5, 1.0, 2.0, 1.0])), slant)
    labels = blobs(np.random.default_rng(0), grid.shape)
    full = np.ones_like(labels)
    by_steps = [f(labels, grid, n, mm) for f in (grow, shrink) for n in (1, 3)]
    monkeypatch.setattr(margins, "_MANY", 0)
    otherwise = [f(labels, grid, n, mm) for f in (grow, shrink) for n in (1, 3)]
    for one, other in zip(by_steps, otherwise, strict=True):
        np.testing.assert_array_equal(after(labels, one), after(labels, other))
    assert shrink(full, grid, 1, mm) is None


def test_a_ball_on_strongly_sheared_axes_reaches_beyond_its_radius_in_steps():
    grid = sheared(Geometry((15, 15, 15), np.eye(4)), 0.9)
    labels = np.zeros(grid.shape, np.uint8)
    labels[7, 7, 7] = 1
    apart = distances(grid)[np.flatnonzero(labels)[0]].reshape(grid.shape)
    within = apart <= 4.03
    assert np.abs(np.argwhere(within) - 7).max() > 4
    np.testing.assert_array_equal(after(labels, grow(labels, grid, 1, 4.03)) == 1, within)


def test_distances_in_sheared_slices_are_by_the_affine():
    grid = sheared(Geometry((3, 11, 12), np.diag([1.0, 0.9, 1.3, 1.0])), 0.8)
    labels = np.zeros(grid.shape, np.uint8)
    labels[0, 1:10, 1:5] = labels[2, 3:6, 3:11] = 1
    labels[0, 1:4, 1:3] = 0
    plane = Geometry((1, 11, 12), grid.affine)
    apart = distances(plane)

    def signed(mask):
        inside = mask.reshape(-1)
        reach_mm = np.where(inside, apart[:, ~inside].min(axis=1), -apart[:, inside].min(axis=1))
        return reach_mm.reshape(mask.shape)

    for number in (0, 2):
        mask = labels[number] == 1
        found = _signed_mm(mask, grid.affine[:3, 1:3].T)
        np.testing.assert_allclose(found, signed(mask), atol=1e-9)


def test_growing_by_a_spacing_reaches_the_neighbour_though_the_affine_is_single_precision():
    spacing = np.float64(np.float32(0.7))
    grid = Geometry((9, 9, 9), np.diag([spacing, spacing, 1.4, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[4, 4, 4] = 1
    assert after(labels, grow(labels, grid, 1, 0.7)).sum() == 5
    assert after(labels, grow(labels, grid, 1, 1.4)).sum() == 15


def test_nothing_comes_back_at_the_other_side_of_the_grid():
    grid = Geometry((6, 7, 8), np.eye(4))
    for corner in product((0, -1), repeat=3):
        labels = np.zeros(grid.shape, np.uint8)
        labels[corner] = 1
        for mm in (1.0, 3.0, 50.0):
            grown = after(labels, grow(labels, grid, 1, mm)).reshape(-1) == 1
            at = np.flatnonzero(labels)[0]
            np.testing.assert_array_equal(grown, distances(grid)[at] <= mm)


def test_a_label_cut_off_by_the_edge_does_not_shrink_away_from_it():
    grid = Geometry((6, 5, 4), np.eye(4))
    labels = np.ones(grid.shape, np.uint8)
    assert shrink(labels, grid, 1, 2.0) is None
    labels[5] = 0
    assert after(labels, shrink(labels, grid, 1, 2.0))[:, 2, 2].tolist() == [1, 1, 1, 0, 0, 0]


@law
@given(grids, seeds, radii)
def test_runs_give_what_single_steps_give(grid, seed, mm):
    mask = np.random.default_rng(seed).random(grid.shape) < 0.1
    around = ball(grid, mm)
    slow = np.zeros_like(mask)
    middle = np.asarray(around.shape) // 2
    for at in np.argwhere(mask):
        for step in np.argwhere(around) - middle:
            there = at + step
            if (there >= 0).all() and (there < grid.shape).all():
                slow[tuple(there)] = True
    np.testing.assert_array_equal(near(mask, around), slow)


@law
@given(grids, seeds, radii, st.sampled_from([None, 0, 1, 2]), st.integers(1, 3))
def test_a_brush_paints_what_is_within_its_radius_of_its_path(grid, seed, mm, axis, points):
    rng = np.random.default_rng(seed)
    labels = blobs(rng, grid.shape)
    path = rng.uniform(-1.0, np.asarray(grid.shape), (points, 3))
    if axis is not None:
        path[:, axis] = rng.integers(0, grid.shape[axis])
    index = np.argwhere(np.ones(grid.shape))
    voxels = grid.index_to_world(index)
    apart = np.full(len(voxels), np.inf)
    ends = grid.index_to_world(path)
    for a, b in zip(ends, ends[1:] if points > 1 else ends, strict=False):
        along = np.clip((voxels - a) @ (b - a) / max((b - a) @ (b - a), 1e-30), 0, 1)
        apart = np.minimum(apart, np.linalg.norm(voxels - a - along[:, None] * (b - a), axis=1))
    clear_of_ties(apart, mm)
    chosen = apart <= mm
    if axis is not None:
        chosen &= index[:, axis] == path[0, axis]
    result = after(labels, paint(labels, grid, Brush(3, mm, axis), path))
    np.testing.assert_array_equal(result, np.where(chosen.reshape(grid.shape), 3, labels))
    spared = after(labels, paint(labels, grid, Brush(3, mm, axis, only=0), path))
    free = chosen.reshape(grid.shape) & (labels == 0)
    np.testing.assert_array_equal(spared, np.where(free, 3, labels))
    erased = after(labels, paint(labels, grid, Brush(0, mm, axis, only=2), path, locked={1}))
    gone = chosen.reshape(grid.shape) & (labels == 2)
    np.testing.assert_array_equal(erased, np.where(gone, 0, labels))


def flood(mask, links):
    """(I, J, K) component numbers of a mask, by following neighbours; slow."""
    numbers = np.zeros(mask.shape, int)
    for start in map(tuple, np.argwhere(mask)):
        if numbers[start]:
            continue
        number = numbers.max() + 1
        todo = [start]
        numbers[start] = number
        while todo:
            at = todo.pop()
            for step in links:
                there = tuple(np.add(at, step))
                inside = all(0 <= n < m for n, m in zip(there, mask.shape, strict=True))
                if inside and mask[there] and not numbers[there]:
                    numbers[there] = number
                    todo.append(there)
    return numbers


FACES = [step for step in product((-1, 0, 1), repeat=3) if np.abs(step).sum() == 1]


@law
@given(grids, seeds, st.floats(0.001, 0.3))
def test_components_are_kept_and_removed_by_size(grid, seed, below_ml):
    labels = blobs(np.random.default_rng(seed), grid.shape)
    numbers = flood(labels == 1, FACES)
    sizes = np.bincount(numbers.reshape(-1))[1:]
    assume((np.abs(sizes * grid.voxel_ml - below_ml) > 1e-9).all())
    largest = np.flatnonzero(sizes == sizes.max(initial=0)) + 1
    goes = (labels == 1) & ~np.isin(numbers, largest)
    result = after(labels, largest_component(labels, 1))
    np.testing.assert_array_equal(result, np.where(goes, 0, labels))
    assert largest_component(result, 1) is None
    small = np.flatnonzero(sizes * grid.voxel_ml < below_ml) + 1
    goes = (labels == 1) & np.isin(numbers, small)
    result = after(labels, remove_islands(labels, grid, 1, below_ml))
    np.testing.assert_array_equal(result, np.where(goes, 0, labels))
    assert remove_islands(result, grid, 1, below_ml) is None


def test_an_island_of_exactly_the_size_stays():
    grid = Geometry((9, 9, 9), np.diag([0.1, 0.3, 0.7, 1.0]))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2, 2, 2:5] = 1
    assert remove_islands(labels, grid, 1, 3 * 0.1 * 0.3 * 0.7 / 1000) is None
    assert remove_islands(labels, grid, 1, 3.01 * 0.1 * 0.3 * 0.7 / 1000) is not None


@law
@given(st.tuples(*[st.integers(2, 8)] * 3), seeds, st.sampled_from([None, 0, 1, 2]))
def test_only_what_cannot_reach_the_edge_is_filled(shape, seed, axis):
    rng = np.random.default_rng(seed)
    labels = (rng.random(shape) < 0.7).astype(np.uint8)
    labels[rng.random(shape) < 0.05] = 2
    links = [step for step in FACES if axis is None or step[axis] == 0]
    padded = np.pad(labels, 1)  # beyond the edge of the grid is outside
    numbers = flood(padded != 1, links)
    edge = np.ones(padded.shape, bool)
    edge[1:-1, 1:-1, 1:-1] = False
    if axis is not None:
        inner = [slice(1, -1)] * 3
        inner[axis] = slice(None)
        edge[:] = True
        edge[tuple(inner)] = False
    outside = np.isin(numbers, np.unique(numbers[edge]))[1:-1, 1:-1, 1:-1]
    fills = (labels == 0) & ~outside
    result = after(labels, fill_holes(labels, 1, axis=axis))
    np.testing.assert_array_equal(result, np.where(fills, 1, labels))
    np.testing.assert_array_equal(result[outside], labels[outside])
    everything = after(labels, fill_holes(labels, 1, axis=axis, over_labels=True))
    np.testing.assert_array_equal(everything, np.where((labels != 1) & ~outside, 1, labels))


def test_a_hole_is_filled_and_a_label_within_stays():
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[1:7, 1:8, 1:9] = 1
    labels[3:5, 3:6, 3:7] = 0
    labels[3, 4, 5] = 2
    filled = after(labels, fill_holes(labels, 1))
    assert (filled[1:7, 1:8, 1:9] > 0).all()
    assert filled[3, 4, 5] == 2


def discs(grid, axis, slices, radius_mm):
    labels = np.zeros(grid.shape, np.uint8)
    middle = [(n - 1) / 2 for n in grid.shape]
    for number, radius in zip(slices, radius_mm, strict=True):
        middle[axis] = number
        labels = after(labels, paint(labels, grid, Brush(1, radius, axis), middle))
    return labels


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slant", [0.0, 0.4])
def test_between_two_equal_discs_is_the_disc(axis, slant):
    grid = sheared(Geometry((15, 17, 19), np.diag([-0.8, 1.0, 1.5, 1.0])), slant)
    labels = discs(grid, axis, (4, 10), (5.0, 5.0))
    result = np.moveaxis(after(labels, interpolate(labels, grid, 1, axis)), axis, 0)
    for number in range(4, 11):
        np.testing.assert_array_equal(result[number], np.moveaxis(labels, axis, 0)[4])
    assert not result[:4].any()
    assert not result[11:].any()


@pytest.mark.parametrize("slant", [0.0, 0.3])
def test_between_two_discs_the_radius_is_linear(slant):
    grid = sheared(Geometry((60, 64, 12), np.diag([0.5, -0.4, 3.0, 1.0])), slant)
    labels = discs(grid, 2, (2, 10), (4.0, 10.0))
    result = after(labels, interpolate(labels, grid, 1, 2))
    for number in range(2, 11):
        area_mm2 = (result[..., number] > 0).sum() * 0.5 * 0.4
        assert np.sqrt(area_mm2 / np.pi) == pytest.approx(4 + 6 * (number - 2) / 8, abs=0.25)


@law
@given(grids, seeds, st.integers(0, 2))
def test_interpolation_leaves_given_slices_and_other_labels_untouched(grid, seed, axis):
    rng = np.random.default_rng(seed)
    labels = blobs(rng, grid.shape)
    emptied = np.moveaxis(labels, axis, 0)
    gone = rng.random(len(emptied)) < 0.5
    emptied[gone] = np.where(emptied[gone] == 1, 0, emptied[gone])
    result = after(labels, interpolate(labels, grid, 1, axis))
    given_slices = (emptied == 1).any(axis=(1, 2))
    np.testing.assert_array_equal(np.moveaxis(result, axis, 0)[given_slices], emptied[given_slices])
    np.testing.assert_array_equal(result[labels > 0], labels[labels > 0])
    assert set(np.unique(result[labels == 0])) <= {0, 1}


def test_key_slices_stay_and_what_lies_between_is_drawn_anew():
    grid = Geometry((30, 30, 12), np.diag([1.0, 1.0, 2.0, 1.0]))
    labels = discs(grid, 2, range(2, 11), [4.0] + [9.0] * 7 + [4.0])
    labels[0, 0, 5] = 2
    result = after(labels, interpolate(labels, grid, 1, 2, keys=[10, 2]))
    for number in range(2, 11):
        np.testing.assert_array_equal(result[..., number] == 1, labels[..., 2] == 1)
    assert result[0, 0, 5] == 2
    emptied = after(labels, interpolate(labels, grid, 1, 2, keys=[0, 6]))
    assert not (emptied[..., :6] == 1).any()  # slice 0 is a key and empty
    np.testing.assert_array_equal(emptied[..., 6:], labels[..., 6:])
    with pytest.raises(InvalidRequest, match="not all on the grid"):
        interpolate(labels, grid, 1, 2, keys=[2, 12])


def test_a_label_that_fills_whole_slices_is_interpolated_too():
    grid = Geometry((5, 6, 7), np.eye(4))
    labels = np.zeros(grid.shape, np.uint8)
    labels[..., [1, 5]] = 1
    assert after(labels, interpolate(labels, grid, 1, 2))[..., 1:6].all()


@law
@given(seeds)
def test_replacing_there_and_back_is_the_same(seed):
    labels = blobs(np.random.default_rng(seed), (5, 6, 7))
    there = after(labels, replace(labels, 1, 9))
    np.testing.assert_array_equal(there, np.where(labels == 1, 9, labels))
    np.testing.assert_array_equal(after(there, replace(there, 9, 1)), labels)
    cleared = after(labels, clear(labels, 2))
    np.testing.assert_array_equal(cleared, np.where(labels == 2, 0, labels))
    assert clear(cleared, 2) is None


def every_operation(labels, grid, axes, centre, locked=()):
    """Each operation's result; ``axes`` are where the axes 0, 1, 2 of the source have gone."""
    lock = {"locked": locked}
    return {
        "grow": grow(labels, grid, 1, 2.3, over_labels=True, **lock),
        "shrink": shrink(labels, grid, 1, 1.7, **lock),
        "largest": largest_component(labels, 1, **lock),
        "islands": remove_islands(labels, grid, 1, 0.02, **lock),
        "holes": fill_holes(labels, 1, **lock),
        "slices": fill_holes(labels, 1, axis=axes[0], over_labels=True, **lock),
        "interpolate": interpolate(labels, grid, 1, axes[2], **lock),
        "keys": interpolate(labels, grid, 2, axes[1], keys=[0, grid.shape[axes[1]] - 1], **lock),
        "replace": replace(labels, 1, 2, **lock),
        "clear": clear(labels, 2, **lock),
        "ball": paint(labels, grid, Brush(1, 3.1), centre, **lock),
        "disc": paint(labels, grid, Brush(2, 3.1, axes[1]), centre, **lock),
        "erase": paint(labels, grid, Brush(0, 3.1), centre, **lock),
    }  # fmt: skip


@law
@given(grids, seeds, st.sampled_from(["RAS", "LPS", "IPL", "SRA", "AIR", "PSL"]))
def test_operations_do_not_care_how_the_grid_is_stored(grid, seed, codes):
    for mm in (2.3, 1.7, 3.1):
        clear_of_ties(distances(grid), mm)
    rng = np.random.default_rng(seed)
    labels = blobs(rng, grid.shape)
    labels[rng.integers(0, grid.shape[0])] = 0
    turned_grid = grid.reoriented(codes)
    turned = np.ascontiguousarray(reoriented_array(labels, grid, codes))
    order, _ = grid.reorientation(codes)
    centre = np.array([rng.integers(0, n) for n in grid.shape])
    turned_centre = np.round(turned_grid.world_to_index(grid.index_to_world(centre)))
    here = every_operation(labels, grid, (0, 1, 2), centre)
    axes = tuple(order.index(n) for n in range(3))
    there = every_operation(turned, turned_grid, axes, turned_centre)
    for name, change in here.items():
        expected = reoriented_array(after(labels, change), grid, codes)
        np.testing.assert_array_equal(after(turned, there[name]), expected, err_msg=name)


@law
@given(grids, seeds, st.sets(st.integers(0, 3), min_size=1, max_size=3))
def test_locked_labels_stay_under_every_operation(grid, seed, locked):
    rng = np.random.default_rng(seed)
    labels = blobs(rng, grid.shape)
    centre = [rng.integers(0, n) for n in grid.shape]
    for name, change in every_operation(labels, grid, (0, 1, 2), centre, locked).items():
        result = after(labels, change)
        for value in locked:
            np.testing.assert_array_equal(result == value, labels == value, err_msg=name)


def test_nothing_to_do_is_none():
    grid = Geometry((5, 6, 7), np.diag([1.0, 2.0, 3.0, 1.0]))
    empty = np.zeros(grid.shape, np.uint8)
    named = every_operation(empty, grid, (0, 1, 2), (2, 2, 2))
    assert {name for name, change in named.items() if change is not None} == {"ball", "disc"}
    assert paint(empty, grid, Brush(1, 2.0), (50, 2, 2)) is None
    one = np.ones(grid.shape, np.uint8)
    assert grow(one, grid, 1, 5.0, over_labels=True) is None


@pytest.mark.parametrize("mm", [0.0, -1.0, np.nan, np.inf, 1e9])
def test_distances_that_mean_nothing_are_refused(mm):
    grid = Geometry((5, 6, 7), np.eye(4))
    labels = np.ones(grid.shape, np.uint8)
    with pytest.raises(InvalidRequest):
        grow(labels, grid, 1, mm)
    with pytest.raises(InvalidRequest):
        shrink(labels, grid, 1, mm)
    with pytest.raises(InvalidRequest):
        Brush(1, mm)
    if not 0 < mm < np.inf:
        with pytest.raises(InvalidRequest):
            remove_islands(labels, grid, 1, mm)


def test_paths_and_axes_that_mean_nothing_are_refused():
    grid = Geometry((5, 6, 7), np.eye(4))
    labels = np.ones(grid.shape, np.uint8)
    for path in ((1, 2), (np.nan, 1, 2), np.empty((0, 3))):
        with pytest.raises(InvalidRequest):
            paint(labels, grid, Brush(2, 1.0), path)
    for axis in (3, -1):
        with pytest.raises(InvalidRequest):
            Brush(1, 1.0, axis)
        with pytest.raises(InvalidRequest):
            interpolate(labels, grid, 1, axis)
        with pytest.raises(InvalidRequest):
            fill_holes(labels, 1, axis=axis)
