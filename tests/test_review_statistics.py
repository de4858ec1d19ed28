from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.phantom import oblique_geometry, phantom
from tests.strategies import geometries
from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation import measure
from unetr_app.labels import Label, LabelSet
from unetr_app.review.statistics import jump_to, label_statistics, updated
from unetr_app.volume import Segmentation

law = settings(deadline=None, max_examples=40)
LABELS = LabelSet((Label(1, "one"), Label(2, "two", (9, 8, 7)), Label(5, "five")))


@dataclass(frozen=True, eq=False)
class Step:
    where: np.ndarray
    before: np.ndarray
    after: np.ndarray


@st.composite
def cases(draw):
    geometry = draw(geometries(max_side=6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.1, 0.6]))
    if draw(st.booleans()):
        data = rng.random((3, *geometry.shape)) < share
    else:
        there = rng.random(geometry.shape) < share
        data = np.where(there, rng.choice([1, 2, 5], geometry.shape), 0).astype(np.uint8)
    image = rng.normal(100, 30, geometry.shape).astype(np.float32)
    return data, geometry, image, rng


def edited(data, rng):
    """Data after a random edit, and what the edit says of itself."""
    count = int(rng.integers(0, data.size + 1))
    where = np.sort(rng.choice(data.size, count, replace=False))
    wanted = rng.choice([False, True] if data.dtype == bool else [0, 1, 2, 5], count)
    wanted = wanted.astype(data.dtype)
    differs = data.ravel()[where] != wanted
    where, wanted = where[differs], wanted[differs]
    after = data.copy()
    after.ravel()[where] = wanted
    return after, Step(where, data.ravel()[where], wanted)


def flood(mask):
    """How many parts a mask has, counted by hand."""
    left, parts = {tuple(v) for v in np.argwhere(mask)}, 0
    while left:
        parts += 1
        edge = [left.pop()]
        while edge:
            voxel = edge.pop()
            for axis in range(3):
                for step in (-1, 1):
                    beside = tuple(v + step * (n == axis) for n, v in enumerate(voxel))
                    if beside in left:
                        left.remove(beside)
                        edge.append(beside)
    return parts


@law
@given(cases())
def test_every_number_is_what_counting_by_hand_gives(case):
    data, geometry, image, _ = case
    rows = label_statistics(data, geometry, LABELS, image)
    assert [(r.value, r.name, r.colour) for r in rows] == [
        (label.value, label.name, label.colour) for label in LABELS
    ]
    for n, row in enumerate(rows):
        mask = data[n] if data.ndim == 4 else data == row.value
        where = np.argwhere(mask)
        assert row.voxels == len(where)
        assert row.components == flood(mask)
        assert row.millilitres == pytest.approx(len(where) * geometry.voxel_ml)
        if not len(where):
            assert (row.mean, row.standard_deviation, row.centroid, row.box) == (None,) * 4
            continue
        assert row.mean == pytest.approx(image[mask].astype(float).mean())
        assert row.standard_deviation == pytest.approx(image[mask].astype(float).std(), abs=1e-9)
        np.testing.assert_allclose(row.centroid, where.mean(axis=0))
        np.testing.assert_allclose(
            row.centroid_mm, geometry.index_to_world(where).mean(axis=0), atol=1e-7
        )
        assert [s.start for s in row.box] == where.min(axis=0).tolist()
        assert [s.stop - 1 for s in row.box] == where.max(axis=0).tolist()


@law
@given(cases())
def test_what_is_brought_up_to_date_is_what_is_counted_anew(case):
    data, geometry, image, rng = case
    before = label_statistics(data, geometry, LABELS, image)
    after, step = edited(data, rng)
    new = updated(before, after, step, geometry=geometry, image=image)
    assert new == label_statistics(after, geometry, LABELS, image)
    undone = updated(new, data, step, geometry=geometry, image=image)  # the step as it was made
    assert undone == before


def test_labels_that_an_edit_does_not_touch_are_not_looked_at():
    volume, segmentation = phantom(oblique_geometry((24, 28, 16)))
    before = label_statistics(
        segmentation.label_map, volume.geometry, segmentation.labels, volume.data[0]
    )
    data = segmentation.label_map.copy()
    first, *others = before
    where = np.flatnonzero(data == first.value)[:3]
    step = Step(where, data.ravel()[where].copy(), np.zeros(3, data.dtype))
    data.ravel()[where] = 0
    new = updated(before, data, step, geometry=volume.geometry, image=volume.data[0])
    assert new[0].voxels == first.voxels - 3
    assert all(now is then for now, then in zip(new[1:], others, strict=True))


def test_it_measures_what_the_report_of_a_batch_measures():
    volume, segmentation = phantom(oblique_geometry((24, 28, 16)))
    rows = label_statistics(
        segmentation.label_map, volume.geometry, segmentation.labels, volume.data[0]
    )
    for row, other in zip(rows, measure(segmentation, volume), strict=True):
        assert row.voxels == other.voxels > 0
        assert row.mean == pytest.approx(other.mean)
        assert row.standard_deviation == pytest.approx(other.standard_deviation)
        assert row.centroid_mm == pytest.approx(other.centroid_mm)


@law
@given(cases())
def test_without_an_image_the_rest_is_the_same(case):
    data, geometry, image, _ = case
    for bare, row in zip(
        label_statistics(data, geometry, LABELS),
        label_statistics(data, geometry, LABELS, image),
        strict=True,
    ):
        assert bare.mean is bare.standard_deviation is None
        assert (bare.voxels, bare.components, bare.centroid_mm, bare.box) == (
            row.voxels, row.components, row.centroid_mm, row.box,
        )  # fmt: skip


@law
@given(cases())
def test_a_jump_lands_on_the_label(case):
    data, geometry, _, _ = case
    rows = label_statistics(data, geometry, LABELS)
    for n, row in enumerate(rows):
        mask = data[n] if data.ndim == 4 else data == row.value
        index = jump_to(data, rows, row.value)
        if not mask.any():
            assert index is None
            continue
        assert mask[index]
        counts = [np.count_nonzero(np.moveaxis(mask, a, 0), axis=(1, 2)) for a in range(3)]
        shares = {
            tuple(v): sum(c[x] / c.max() for c, x in zip(counts, v, strict=True))
            for v in np.argwhere(mask)
        }
        assert shares[index] == pytest.approx(max(shares.values()), abs=1e-5)


def test_a_jump_goes_to_the_fullest_slices_where_the_label_is_there():
    data = np.zeros((9, 8, 7), np.uint8)
    data[2:5, 2:7, 3] = 4
    data[3, 4, 1:6] = 4
    labels = LabelSet.from_names({4: "cross"})
    grid = oblique_geometry((9, 8, 7))
    assert jump_to(data, label_statistics(data, grid, labels), 4) == (3, 4, 3)


def test_what_does_not_fit_is_refused():
    grid = oblique_geometry((4, 5, 6))
    data = np.zeros((4, 5, 6), np.uint8)
    with pytest.raises(UnsafeGeometry, match="labels of shape"):
        label_statistics(data[:3], grid, LABELS)
    with pytest.raises(UnsafeGeometry, match="labels of shape"):
        label_statistics(np.zeros((2, 4, 5, 6), bool), grid, LABELS)
    with pytest.raises(UnsafeGeometry, match="an image of shape"):
        label_statistics(data, grid, LABELS, np.zeros((4, 5, 5), np.float32))
    with pytest.raises(InvalidRequest, match="no label 7"):
        jump_to(data, label_statistics(data, grid, LABELS), 7)


def test_a_segmentation_gives_its_data_as_they_are():
    grid = oblique_geometry((4, 5, 6))
    masks = np.zeros((3, 4, 5, 6), bool)
    masks[1:, 1, 2, 3] = True  # two labels share a voxel
    segmentation = Segmentation(masks, grid, LABELS)
    rows = label_statistics(segmentation.data, grid, LABELS)
    assert [row.voxels for row in rows] == [0, 1, 1]
