import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr_app.errors import UnsafeGeometry
from unetr_app.evaluation import measure
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation, Volume

law = settings(deadline=None, max_examples=60)  # the machine may be busy

SHAPE = (5, 4, 3)
AFFINE = np.array([[0.0, -1.2, 0.1, 40], [0.8, 0.0, 0.0, -3], [0.0, 0.2, 3.0, 900], [0, 0, 0, 1]])
GRID = Geometry(SHAPE, AFFINE)
LABELS = LabelSet.from_names({1: "one", 2: "two", 7: "seven", 300: "many"})
label_maps = hnp.arrays(np.uint16, SHAPE, elements=st.sampled_from([0, 1, 2, 300]))
images = hnp.arrays(np.float32, (1, *SHAPE), elements=st.floats(-1024, 3000, width=32))


@law
@given(label_maps, images)
def test_every_number_equals_the_plain_way_of_computing_it(label_map, image):
    rows = measure(Segmentation(label_map, GRID, LABELS), Volume(image, GRID))
    assert [row.value for row in rows] == [1, 2, 7, 300]
    for row in rows:
        mask = label_map == row.value
        assert row.voxels == mask.sum()
        assert row.millilitres == pytest.approx(mask.sum() * abs(np.linalg.det(AFFINE)) / 1000)
        if not mask.any():
            assert (row.mean, row.standard_deviation, row.centroid_mm) == (None, None, None)
            continue
        inside = image[0][mask].astype(np.float64)
        assert row.mean == pytest.approx(inside.mean(), abs=1e-6)
        assert row.standard_deviation == pytest.approx(inside.std(), abs=1e-6)
        points = np.argwhere(mask) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
        np.testing.assert_allclose(row.centroid_mm, points.mean(axis=0), atol=1e-9)


@law
@given(label_maps, images, st.sampled_from(["RAS", "LPS", "SAL", "IPR"]))
def test_reorienting_changes_no_measurement(label_map, image, codes):
    segmentation, volume = Segmentation(label_map, GRID, LABELS), Volume(image, GRID)
    turned = measure(segmentation.reorient(codes), volume.reorient(codes))
    for here, there in zip(measure(segmentation, volume), turned, strict=True):
        assert here.voxels == there.voxels
        if here.centroid_mm is not None:
            np.testing.assert_allclose(here.centroid_mm, there.centroid_mm, atol=1e-9)
            np.testing.assert_allclose(
                (here.mean, here.standard_deviation),
                (there.mean, there.standard_deviation), rtol=1e-9, atol=1e-6,
            )  # fmt: skip


@law
@given(label_maps, images)
def test_overlapping_labels_measure_as_exclusive_ones(label_map, image):
    volume = Volume(image, GRID)
    masks = np.stack([label_map == value for value in LABELS.values])
    overlapping = Segmentation(masks, GRID, LABELS)
    assert measure(overlapping, volume) == measure(Segmentation(label_map, GRID, LABELS), volume)


def test_a_small_spread_on_a_large_intensity_is_not_lost():
    image = np.full((1, *SHAPE), 1e6, dtype=np.float32)
    image[0, ::2] += 1.0
    ones = Segmentation(np.ones(SHAPE, dtype=np.uint8), GRID, LABELS)
    expected = image[0].astype(np.float64).std()
    assert measure(ones, Volume(image, GRID))[0].standard_deviation == pytest.approx(expected)


def test_first_channel_is_measured():
    image = np.stack([np.full(SHAPE, 5.0), np.full(SHAPE, 9.0)])
    ones = Segmentation(np.ones(SHAPE, dtype=np.uint8), GRID, LABELS)
    assert measure(ones, Volume(image, GRID))[0].mean == 5.0


def test_rows_go_through_json():
    half = np.zeros(SHAPE, dtype=np.uint8)
    half[:2] = 2
    rows = measure(Segmentation(half, GRID, LABELS), Volume(np.ones((1, *SHAPE)), GRID))
    told = json.loads(json.dumps([row.to_dict() for row in rows], allow_nan=False))
    assert told[0] == {
        "value": 1, "name": "one", "voxels": 0, "millilitres": 0.0,
        "mean": None, "standard_deviation": None, "centroid_mm": None,
    }  # fmt: skip
    assert told[1]["voxels"] == 24
    assert len(told[1]["centroid_mm"]) == 3


def test_another_grid_is_refused():
    ones = Segmentation(np.ones(SHAPE, dtype=np.uint8), GRID, LABELS)
    moved = AFFINE.copy()
    moved[0, 3] += 1.0
    with pytest.raises(UnsafeGeometry, match="different grids"):
        measure(ones, Volume(np.ones((1, *SHAPE)), Geometry(SHAPE, moved)))
