from __future__ import annotations

import pytest

from unetr_app.review.sides import side_of, sided_pairs


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Left kidney", "Right kidney"), ("kidney_left", "kidney_right"), ("kidney L", "kidney R"),
        ("kidney_l", "kidney_r"), ("KidneyLeft", "KidneyRight"), ("LKidney", "RKidney"),
        ("ctx-lh-insula", "ctx-rh-insula"), ("Lt lung", "rt lung"), ("leftkidney", "rightkidney"),
        ("kidney (left)", "Kidney (RIGHT)"), ("lung_upper_lobe_left", "lung_upper_lobe_right"),
        ("LEFT_KIDNEY", "RIGHT_KIDNEY"), ("rib_left_4", "rib_right_4"),
    ],
)  # fmt: skip
def test_pairs_are_found_however_they_are_written(left, right):
    assert sided_pairs([right, "liver", left]) == ((left, right),)


@pytest.mark.parametrize(
    "name", ["liver", "left", "vertebra", "left to right shunt", "L", "brightness", "cleft"]
)
def test_names_without_one_side_are_no_half_of_a_pair(name):
    assert side_of(name) is None


@pytest.mark.parametrize(
    "names",
    [
        ["Left kidney"], ["Left kidney", "Right lung"], ["rib_left_4", "rib_right_5"],
        ["Left kidney", "kidney L", "Right kidney"],  # which of the two?
        ["vertebrae_L1", "vertebrae_L2"], ["vertebrae L1", "vertebrae R"],
    ],
)  # fmt: skip
def test_what_is_no_pair_is_left_out(names):
    assert sided_pairs(names) == ()
