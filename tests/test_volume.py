from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation, Volume

GRID = Geometry((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
LABELS = LabelSet((Label(1, "one"), Label(3, "three")))


@given(geometries(max_side=5), st.sampled_from(ALL_ORIENTATIONS))
def test_every_voxel_keeps_its_place_when_reoriented(geometry: Geometry, codes: str) -> None:
    data = np.arange(np.prod(geometry.shape), dtype=np.float32).reshape(1, *geometry.shape)
    turned = Volume(data, geometry).reorient(codes)
    for value in (0, data.size // 2, data.size - 1):
        here = np.argwhere(data[0] == value)[0]
        there = np.argwhere(turned.data[0] == value)[0]
        np.testing.assert_allclose(
            geometry.index_to_world(here), turned.geometry.index_to_world(there), atol=1e-9
        )


@given(geometries(max_side=5), st.sampled_from(ALL_ORIENTATIONS))
def test_labels_reorient_there_and_back_bit_for_bit(geometry: Geometry, codes: str) -> None:
    data = (np.arange(np.prod(geometry.shape)) % 2).reshape(geometry.shape)
    here = Segmentation(data, geometry, LABELS)
    back = here.reorient(codes).reorient(geometry.orientation)
    np.testing.assert_array_equal(back.data, here.data)


def test_data_and_geometry_must_agree() -> None:
    with pytest.raises(UnsafeGeometry, match="does not fit"):
        Volume(np.zeros((1, 3, 4, 6), np.float32), GRID)
    with pytest.raises(UnsafeGeometry, match="do not fit"):
        Segmentation(np.zeros((3, 4, 6), np.uint8), GRID, LABELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_place(value: float) -> None:
    data = np.zeros((1, 3, 4, 5), np.float32)
    data[0, 2, 1, 4] = value
    with pytest.raises(UnreadableInput, match=r"1 voxels .* \(2, 1, 4\)"):
        Volume(data, GRID)


def test_data_cannot_be_changed() -> None:
    volume = Volume(np.zeros((2, 3, 4, 5)), GRID)
    assert volume.data.dtype == np.float32
    assert volume.channel_names == ("channel_0", "channel_1")
    with pytest.raises(ValueError, match="read-only"):
        volume.data[0, 0, 0, 0] = 1.0


def test_a_label_map_takes_the_smallest_integer() -> None:
    assert Segmentation(np.zeros(GRID.shape, np.int64), GRID, LABELS).data.dtype == np.uint8


def test_a_value_without_a_name_is_refused() -> None:
    data = np.zeros(GRID.shape, np.uint8)
    data[0, 0, 0] = 2
    with pytest.raises(InvalidRequest, match=r"\[2\]"):
        Segmentation(data, GRID, LABELS)


def test_overlapping_labels_are_one_mask_each() -> None:
    masks = np.zeros((2, *GRID.shape), bool)
    masks[:, 1, 1, 1] = True
    both = Segmentation(masks, GRID, LABELS)
    assert both.is_overlapping
    assert both.mask(1)[1, 1, 1]
    assert both.mask(3)[1, 1, 1]
    assert both.subset(LABELS.subset([3])).mask(3).sum() == 1
    with pytest.raises(InvalidRequest, match="overlap"):
        _ = both.label_map


def test_a_subset_turns_the_rest_to_background() -> None:
    data = np.zeros(GRID.shape, np.uint8)
    data[0], data[1] = 1, 3
    only = Segmentation(data, GRID, LABELS, {"bundle": "x"}).subset(LABELS.subset(["three"]))
    assert set(np.unique(only.label_map)) == {0, 3}
    assert only.provenance["bundle"] == "x"
    np.testing.assert_array_equal(only.mask(3), data == 3)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(129, 97, 90), (65, 8, 2100)])
def test_large_arrays_of_any_order_hold_the_same_voxels(
    shape: tuple[int, int, int], order: Literal["C", "F"]
) -> None:
    data = np.random.default_rng(3).integers(0, 250, shape).astype(np.uint8)
    grid = Geometry(shape, np.diag([1.0, 2.0, 3.0, 1.0]))
    laid = np.asarray(data, order=order)
    volume = Volume(laid[None].astype(np.float32, order="K"), grid)
    labels = Segmentation(laid, grid, LabelSet.from_names({v: f"l{v}" for v in range(1, 250)}))
    assert np.array_equal(volume.data[0], data)
    assert np.array_equal(labels.data, data)
    assert volume.data.flags.c_contiguous
    assert labels.data.flags.c_contiguous
    with pytest.raises(InvalidRequest, match=r"without a name: \[249"):
        Segmentation(laid, grid, LabelSet.from_names({v: f"l{v}" for v in range(1, 249)}))


def test_the_same_voxels_may_be_described_anew_but_never_wrongly() -> None:
    grid = Geometry((2, 2, 3), np.eye(4))
    found = Segmentation(np.full((2, 2, 3), 2, np.uint8), grid, LabelSet.from_names({2: "b"}))
    more = found.described(labels=LabelSet.from_names({1: "a", 2: "c"}), provenance={"bundle": "x"})
    assert more.labels.names == ("a", "c")
    assert more.provenance == {"bundle": "x"}
    assert more.data is found.data
    with pytest.raises(InvalidRequest, match="without a name"):
        found.described(labels=LabelSet.from_names({1: "a"}))
    with pytest.raises(UnsafeGeometry):
        found.described(geometry=Geometry((2, 3, 2), np.eye(4)))
