from __future__ import annotations

import numpy as np
import pytest

from data.phantom import oblique_geometry
from tests.strategies import ALL_ORIENTATIONS
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.review.expected import ExpectedRanges
from unetr_app.review.flags import quality_flags
from unetr_app.review.statistics import label_statistics
from unetr_app.volume import reoriented_array

RAS = Geometry((9, 11, 13), np.diag([1.0, 2.0, 3.0, 1.0]))
PAIR = LabelSet.from_names({1: "Left kidney", 2: "Right kidney"})


def flags_of(data, geometry, labels, expected=None, image=None):
    rows = label_statistics(data, geometry, labels, image)
    return quality_flags(rows, geometry, expected=expected)


def kidneys(left_i, right_i):
    data = np.zeros(RAS.shape, np.uint8)
    data[left_i, 4:6, 4:6], data[right_i, 5:7, 5:7] = 1, 2
    return data


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_swapped_sides_are_found_in_any_order_of_the_array(codes):
    for geometry in (RAS, oblique_geometry(RAS.shape).reoriented("RAS")):
        turned = geometry.reoriented(codes)
        good, bad = kidneys(2, 6), kidneys(6, 2)  # i grows to the patient's right
        assert flags_of(reoriented_array(good, geometry, codes), turned, PAIR) == ()
        (flag,) = flags_of(reoriented_array(bad, geometry, codes), turned, PAIR)
        assert (flag.word, flag.value) == ("sides", 1)
        assert "Left kidney lies to the right of Right kidney" in flag.sentence


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
@pytest.mark.parametrize(
    ("where", "side"),
    [
        ((0, 5, 6), "left"), ((8, 5, 6), "right"), ((4, 0, 6), "back"), ((4, 10, 6), "front"),
        ((4, 5, 0), "lower"), ((4, 5, 12), "upper"),
    ],
)  # fmt: skip
def test_a_border_is_named_as_the_patient_has_it(codes, where, side):
    data = np.zeros(RAS.shape, np.uint8)
    data[where] = 1
    (flag,) = flags_of(
        reoriented_array(data, RAS, codes), RAS.reoriented(codes), LabelSet.from_names({1: "tip"})
    )
    assert (flag.word, flag.sentence) == ("border", f"tip touches the {side} edge of the image")


def test_several_borders_are_one_flag_and_a_lone_slice_has_none():
    data = np.zeros(RAS.shape, np.uint8)
    data[0, 0, 4:] = 1
    (flag,) = flags_of(data, RAS, LabelSet.from_names({1: "bar"}))
    assert flag.sentence == "bar touches the left, back and upper edges of the image"
    alone = np.zeros((9, 11, 1), np.uint8)
    alone[4, 5, 0] = 1
    assert flags_of(alone, Geometry(alone.shape, RAS.affine), LabelSet.from_names({1: "bar"})) == ()


def test_parts_beyond_what_is_expected():
    data = np.zeros(RAS.shape, np.uint8)
    data[2, 2, 2] = data[4, 4, 4] = data[6, 6, 6] = 1
    labels = LabelSet.from_names({1: "Node"})
    (flag,) = flags_of(data, RAS, labels)
    assert (flag.word, flag.sentence) == ("parts", "Node has 3 parts; 1 expected")
    seen = ExpectedRanges.from_metadata({"node": {"components": 3}})
    assert flags_of(data, RAS, labels, seen) == ()


def test_a_label_without_voxels_is_said_to_be_empty_and_nothing_else():
    seen = ExpectedRanges.from_metadata({"Node": {"millilitres": [1, 2], "mean": [1, 2]}})
    found = flags_of(np.zeros(RAS.shape, np.uint8), RAS, LabelSet.from_names({3: "Node"}), seen)
    assert [(f.word, f.sentence, f.value) for f in found] == [("empty", "Node has no voxels", 3)]


def test_volume_and_intensity_outside_the_training_range():
    data = np.zeros(RAS.shape, np.uint8)
    data[3:6, 3:6, 3:6] = 1  # 27 voxels of 6 mm3
    labels, image = LabelSet.from_names({1: "Node"}), np.full(RAS.shape, 70, np.float32)

    def words(**ranges):
        seen = ExpectedRanges.from_metadata({"Node": ranges})
        return [flag.word for flag in flags_of(data, RAS, labels, seen, image)]

    assert words(millilitres=[0.162, 0.2], mean=[70, 80]) == []  # the ends belong to it
    assert words(millilitres=[0.17, 0.2], mean=[71, 80]) == ["volume", "intensity"]
    assert words(millilitres=[0.1, 0.16], mean=[60, 69]) == ["volume", "intensity"]
    seen = ExpectedRanges.from_metadata({"Node": {"millilitres": [0.17, 1500]}})
    (flag,) = flags_of(data, RAS, labels, seen)
    assert flag.sentence == ("Node is outside the training range: 0.162 ml; 0.17 to 1500 expected")
