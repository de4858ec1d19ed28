import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation import (
    CaseComparison,
    average_surface_distance,
    compare,
    completed,
    dice,
    hd95,
    surface_dice,
    surface_distances,
)
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation

law = settings(deadline=None, max_examples=60)  # the machine may be busy

SHAPE = (7, 6, 5)
AFFINE = np.array([[0.0, -1.2, 0.0, 40], [0.8, 0.0, 0.0, -3], [0.0, 0.0, 3.0, 900], [0, 0, 0, 1]])
GRID = Geometry(SHAPE, AFFINE)
LABELS = LabelSet.from_names({1: "one", 2: "two", 5: "five"})
DIAGONAL = np.sqrt((7 * 0.8) ** 2 + (6 * 1.2) ** 2 + (5 * 3.0) ** 2)
label_maps = hnp.arrays(np.uint8, SHAPE, elements=st.sampled_from([0, 0, 0, 1, 2]))


def segmentation(label_map, grid=GRID, labels=LABELS):
    return Segmentation(label_map, grid, labels)


def block(value, start, stop):
    label_map = np.zeros(SHAPE, dtype=np.uint8)
    label_map[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = value
    return label_map


@law
@given(label_maps, label_maps)
def test_cropping_to_the_label_changes_no_number(first, second):
    rows = compare(segmentation(first), segmentation(second), tolerance_mm=1.3)
    for row in rows:
        masks = first == row.value, second == row.value
        if row.status != "compared":
            continue
        distances = surface_distances(*masks, GRID)
        assert row.dice == dice(*masks)
        assert row.hd95_mm == pytest.approx(hd95(distances))
        assert row.assd_mm == pytest.approx(average_surface_distance(distances))
        assert row.surface_dice == pytest.approx(surface_dice(distances, 1.3))
        assert row.prediction_ml - row.reference_ml == pytest.approx(row.volume_difference_ml)


@law
@given(label_maps, label_maps)
def test_status_says_where_the_label_is(first, second):
    for row in compare(segmentation(first), segmentation(second)):
        there = bool((first == row.value).any()), bool((second == row.value).any())
        expected = {(True, True): "compared", (True, False): "spurious",
                    (False, True): "missed", (False, False): "absent"}  # fmt: skip
        assert row.status == expected[there]


@law
@given(label_maps, label_maps, st.sampled_from(["RAS", "LPS", "SAL"]))
def test_order_of_stored_axes_does_not_matter(first, second, codes):
    here = compare(segmentation(first), segmentation(second))
    there = compare(segmentation(first).reorient(codes), segmentation(second))
    assert here == there


@law
@given(label_maps, label_maps)
def test_overlapping_masks_compare_as_label_maps(first, second):
    masks = np.stack([first == value for value in LABELS.values])
    expected = compare(segmentation(first), segmentation(second))
    assert compare(Segmentation(masks, GRID, LABELS), segmentation(second)) == expected


@pytest.mark.parametrize("status", ["missed", "spurious"])
def test_a_failure_costs_the_diagonal_of_the_grid(status):
    there, nothing = block(2, (1, 1, 1), (3, 3, 3)), np.zeros(SHAPE, dtype=np.uint8)
    pair = (nothing, there) if status == "missed" else (there, nothing)
    row = compare(*map(segmentation, pair))[1]
    assert (row.value, row.status, row.dice, row.surface_dice) == (2, status, 0.0, 0.0)
    assert row.hd95_mm == row.assd_mm == pytest.approx(DIAGONAL)
    assert row.volume_difference_percent == (-100.0 if status == "missed" else None)


def test_absent_labels_have_no_numbers():
    row = compare(segmentation(block(1, (0,) * 3, (2,) * 3)),
                  segmentation(block(1, (0,) * 3, (2,) * 3)))[2]  # fmt: skip
    assert (row.value, row.status) == (5, "absent")
    assert {row.dice, row.hd95_mm, row.assd_mm, row.surface_dice, row.volume_difference_ml} == {
        None
    }


def test_labels_are_those_of_both_and_the_reference_names_them():
    ours = segmentation(block(3, (0,) * 3, (2,) * 3), labels=LabelSet.from_names({3: "label_3"}))
    names = {1: "Anterior", 3: "Posterior", 4: "Head"}
    theirs = segmentation(block(1, (0,) * 3, (2,) * 3), labels=LabelSet.from_names(names))
    assert [(r.value, r.name, r.status) for r in compare(ours, theirs)] == [
        (1, "Anterior", "missed"), (3, "Posterior", "spurious"), (4, "Head", "absent"),
    ]  # fmt: skip


@pytest.mark.parametrize("moved_mm", [0.0009, 0.0011])
def test_grids_agree_to_a_thousandth_of_a_millimetre(moved_mm):
    affine = AFFINE.copy()
    affine[0, 3] += moved_mm
    label_map = block(1, (1, 1, 1), (4, 4, 4))
    pair = segmentation(label_map, Geometry(SHAPE, affine)), segmentation(label_map)
    if moved_mm < 1e-3:
        assert compare(*pair)[0].dice == 1.0
    else:
        with pytest.raises(UnsafeGeometry, match="different grids"):
            compare(*pair)


def test_a_mirrored_grid_is_another_grid():
    affine = AFFINE.copy()
    affine[:, 0] *= -1
    label_map = block(1, (1, 1, 1), (4, 4, 4))
    with pytest.raises(UnsafeGeometry, match=r"7 x 6 x 5 voxels of 0\.8 x 1\.2 x 3 mm"):
        compare(segmentation(label_map, Geometry(SHAPE, affine)), segmentation(label_map))


def test_a_bad_tolerance_is_refused():
    empty = segmentation(np.zeros(SHAPE, dtype=np.uint8))
    with pytest.raises(InvalidRequest, match="tolerance"):
        compare(empty, empty, tolerance_mm=-1)


def test_completed_cases_have_the_same_labels():
    def case(case_id, value, name):
        labels = LabelSet.from_names({value: name})
        both = segmentation(block(value, (1,) * 3, (3,) * 3), labels=labels)
        return CaseComparison(case_id, compare(both, both))

    first, second = completed([case("a", 1, "one"), case("b", 2, "two")])
    assert [(r.value, r.name, r.status) for r in first.labels] == [
        (1, "one", "compared"), (2, "two", "absent"),
    ]  # fmt: skip
    assert [r.status for r in second.labels] == ["absent", "compared"]


def test_worst_sorts_the_worst_first():
    reference = segmentation(block(1, (1, 1, 1), (4, 4, 4)))
    predictions = {
        "good": block(1, (1, 1, 1), (4, 4, 4)),
        "shifted": block(1, (2, 1, 1), (5, 4, 4)),
        "missed": np.zeros(SHAPE, dtype=np.uint8),
    }
    cases = [
        CaseComparison(name, compare(segmentation(map_), reference))
        for name, map_ in predictions.items()
    ]
    assert [c.case_id for c in sorted(cases, key=lambda c: c.worst)] == [
        "missed",
        "shifted",
        "good",
    ]
