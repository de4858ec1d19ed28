from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from data import phantom
from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app import resample
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.resample import (
    resample_array,
    resample_labels,
    resample_to,
    restore_label_map,
)
from unetr_app.volume import Segmentation, Volume

LABELS = LabelSet.from_names({1: "one", 4: "four", 300: "three hundred"})
CODES = st.sampled_from(ALL_ORIENTATIONS)
SEEDS = st.integers(0, 2**32 - 1)
LAW = settings(max_examples=40, deadline=None)


def _noise(geometry: Geometry, seed: int, channels: int = 2) -> Volume:
    rng = np.random.default_rng(seed)
    return Volume(rng.normal(size=(channels, *geometry.shape)).astype(np.float32), geometry)


def _label_map(geometry: Geometry, seed: int) -> Segmentation:
    rng = np.random.default_rng(seed)
    return Segmentation(rng.choice([0, 1, 4, 300], geometry.shape), geometry, LABELS)


def _inside(here: Geometry, there: Geometry, margin: float = 0.0) -> np.ndarray:
    """Voxels of ``there`` whose centre lies in the voxels of ``here``, ``margin`` from the edge."""
    index = np.stack(np.meshgrid(*map(np.arange, there.shape), indexing="ij"), axis=-1)
    place = here.world_to_index(there.index_to_world(index))
    low, high = -0.5 + margin, np.asarray(here.shape) - 0.5 - margin
    return np.all((place > low) & (place < high), axis=-1)


@LAW
@given(geometries(), SEEDS)
def test_the_same_grid_gives_the_same_values_bit_for_bit(geometry: Geometry, seed: int) -> None:
    volume, labels = _noise(geometry, seed), _label_map(geometry, seed)
    again = Geometry(geometry.shape, np.linalg.inv(np.linalg.inv(geometry.affine)))
    np.testing.assert_array_equal(resample_to(volume, geometry).data, volume.data)
    np.testing.assert_array_equal(resample_to(volume, again).data, volume.data)
    np.testing.assert_array_equal(resample_labels(labels, again).data, labels.data)


@LAW
@given(geometries(), CODES, SEEDS)
def test_a_reoriented_grid_gives_the_reoriented_values(
    geometry: Geometry, codes: str, seed: int
) -> None:
    volume, labels = _noise(geometry, seed), _label_map(geometry, seed)
    there = geometry.reoriented(codes)
    np.testing.assert_array_equal(resample_to(volume, there).data, volume.reorient(codes).data)
    np.testing.assert_array_equal(resample_labels(labels, there).data, labels.reorient(codes).data)


@LAW
@given(geometries(), st.tuples(*[st.integers(-3, 5)] * 3), SEEDS)
def test_a_shifted_grid_cuts_and_extends(
    geometry: Geometry, start: tuple[int, int, int], seed: int
) -> None:
    volume = _noise(geometry, seed)
    there = geometry.cropped(start, (7, 6, 5))
    moved = resample_to(volume, there, outside=-9.0)
    for index in np.ndindex(*there.shape):
        old = np.add(index, start)
        inside = bool(np.all(old >= 0) and np.all(old < geometry.shape))
        expected = volume.data[(slice(None), *old)] if inside else [-9.0, -9.0]
        np.testing.assert_array_equal(moved.data[(slice(None), *index)], expected)


@st.composite
def overlapping(draw: st.DrawFn) -> tuple[Geometry, Geometry]:
    """Two grids of any kind whose middles lie close together."""
    here, other = draw(geometries(min_side=2)), draw(geometries(min_side=2))
    affine = other.affine.copy()
    middle = here.index_to_world((np.asarray(here.shape) - 1) / 2)
    affine[:3, 3] += middle - other.index_to_world((np.asarray(other.shape) - 1) / 2)
    return here, Geometry(other.shape, affine)


@LAW
@given(overlapping(), st.floats(-1000, 1000, width=32))
def test_a_constant_stays_constant_inside_and_is_absent_outside(
    grids: tuple[Geometry, Geometry], value: float
) -> None:
    here, there = grids
    volume = Volume(np.full((1, *here.shape), value, np.float32), here)
    moved = resample_to(volume, there, outside=7777.0).data[0]
    inside = _inside(here, there, 1e-3)
    np.testing.assert_allclose(moved[inside], value, rtol=1e-6)
    assert (moved[~_inside(here, there, -1e-3)] == 7777.0).all()


@LAW
@given(overlapping(), st.tuples(*[st.floats(-3, 3)] * 3))
def test_a_field_linear_in_millimetres_is_the_same_field_on_any_grid(
    grids: tuple[Geometry, Geometry], slope: tuple[float, float, float]
) -> None:
    here, there = grids

    def field(geometry: Geometry) -> np.ndarray:
        index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
        middle = here.index_to_world((np.asarray(here.shape) - 1) / 2)
        return (geometry.index_to_world(index) - middle) @ slope

    moved = resample_array(field(here), here, there)
    between_centres = _inside(here, there, 0.501)
    np.testing.assert_allclose(moved[between_centres], field(there)[between_centres], atol=1e-3)


@LAW
@given(overlapping(), SEEDS)
def test_linear_interpolation_equals_a_slow_twin(
    grids: tuple[Geometry, Geometry], seed: int
) -> None:
    here, there = grids
    array = np.random.default_rng(seed).normal(size=here.shape)
    index = np.stack(np.meshgrid(*map(np.arange, there.shape), indexing="ij"))
    place = here.world_to_index(there.index_to_world(np.moveaxis(index, 0, -1)))
    slow = ndimage.map_coordinates(array, np.moveaxis(place, -1, 0), order=1, mode="nearest")
    inside = _inside(here, there, 1e-3)
    np.testing.assert_allclose(resample_array(array, here, there)[inside], slow[inside], atol=1e-4)


@LAW
@given(overlapping(), SEEDS)
def test_labels_take_the_nearest_value_and_invent_none(
    grids: tuple[Geometry, Geometry], seed: int
) -> None:
    here, there = grids
    labels = _label_map(here, seed)
    moved = resample_labels(labels, there)
    assert moved.geometry == there
    assert set(np.unique(moved.data)) <= set(np.unique(labels.data)) | {0}
    index = np.stack(np.meshgrid(*map(np.arange, there.shape), indexing="ij"), axis=-1)
    place = here.world_to_index(there.index_to_world(index))
    near = np.rint(place)
    clear = _inside(here, there, 1e-3) & np.all(np.abs(place - near) < 0.499, axis=-1)
    nearest = labels.data[tuple(near[clear].astype(int).T)]
    np.testing.assert_array_equal(moved.data[clear], nearest)


def test_overlapping_masks_move_one_by_one() -> None:
    grid = phantom.oblique_geometry((6, 7, 5))
    masks = np.random.default_rng(0).random((3, *grid.shape)) > 0.5
    moved = resample_labels(Segmentation(masks, grid, LABELS), grid.reoriented("PIL"))
    assert moved.is_overlapping
    back = resample_labels(moved, grid)
    np.testing.assert_array_equal(back.data, masks)


def test_up_and_down_again_gives_back_a_smooth_image() -> None:
    grid = phantom.oblique_geometry((20, 24, 16), spacing=(1.0, 1.2, 1.5))
    rng = np.random.default_rng(3)
    smooth = ndimage.gaussian_filter(rng.normal(size=grid.shape), 3).astype(np.float32)
    fine = Geometry(
        (60, 72, 48),
        grid.affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1.0]) @ _shift(-1.0),
    )
    back = resample_array(resample_array(smooth, grid, fine), fine, grid)
    np.testing.assert_allclose(back, smooth, atol=1e-6)


def _shift(voxels: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = voxels
    return matrix


@LAW
@given(overlapping(), SEEDS, st.integers(1, 5))
def test_restoring_is_the_largest_of_each_channel_resampled(
    grids: tuple[Geometry, Geometry], seed: int, channels: int
) -> None:
    model, native = grids
    logits = np.random.default_rng(seed).normal(size=(channels, *model.shape)).astype(np.float32)
    every = np.stack([resample_array(c, model, native, edge=1.5) for c in logits])
    expected = np.where(_inside(model, native, -1.0), every.argmax(axis=0), 0)
    restored = restore_label_map(logits, model, native, 1.5)
    edge = _inside(model, native, -1.001) & ~_inside(model, native, -0.999)
    assert restored.dtype == np.uint8
    np.testing.assert_array_equal(restored[~edge], expected[~edge])


def test_restoring_slab_by_slab_is_restoring_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    native = phantom.oblique_geometry((19, 14, 11))
    model = native.reoriented("RAS").respaced((1.0, 1.0, 1.0))
    logits = np.random.default_rng(1).normal(size=(4, *model.shape)).astype(np.float32)
    at_once = restore_label_map(logits, model, native)
    monkeypatch.setattr(resample, "_SLAB_VOXELS", 2 * 14 * 11)
    np.testing.assert_array_equal(restore_label_map(logits, model, native), at_once)


def test_of_equal_logits_the_first_channel_wins() -> None:
    grid = Geometry((4, 5, 6), np.eye(4))
    assert not restore_label_map(np.ones((3, 4, 5, 6), np.float32), grid, grid).any()
    logits = np.zeros((3, 4, 5, 6), np.float32)
    logits[1:] = 1.0
    assert (restore_label_map(logits, grid, grid) == 1).all()


def test_more_than_256_channels_need_16_bits() -> None:
    grid = Geometry((1, 2, 2), np.eye(4))
    logits = np.zeros((300, 1, 2, 2), np.float32)
    logits[299] = 1.0
    restored = restore_label_map(logits, grid, grid)
    assert restored.dtype == np.uint16
    assert (restored == 299).all()
