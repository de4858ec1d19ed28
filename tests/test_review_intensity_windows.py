from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr_app.geometry import Geometry
from unetr_app.io.dicom.window import StatedWindow
from unetr_app.planes import intensity_window
from unetr_app.review.intensity_windows import (
    CT_PRESETS,
    drag,
    intensity_range,
    window_limits,
    window_of,
    windows_for,
)
from unetr_app.volume import Volume

law = settings(deadline=None, max_examples=60)
levels, widths = st.floats(-3000, 3000), st.floats(1.5, 5000)
functions = st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"])


def shown(x, level, width, function):
    """PS3.3 C.11.2.1.2 and C.11.2.1.3 as they are written, from 0 to 1."""
    if function == "LINEAR":
        if x <= level - 0.5 - (width - 1) / 2:
            return 0.0
        if x > level - 0.5 + (width - 1) / 2:
            return 1.0
        return (x - (level - 0.5)) / (width - 1) + 0.5
    if function == "LINEAR_EXACT":
        return float(np.clip((x - level) / width + 0.5, 0, 1))
    return 1 / (1 + np.exp(-4 * (x - level) / width))


@law
@given(levels, widths, functions, st.floats(0, 1))
def test_black_and_white_are_those_of_the_standard(level, width, function, share):
    low, high = window_limits(level, width, function)
    assert low < high
    if function == "SIGMOID":  # the straight line that touches it in the middle
        step = width * 1e-4
        rise = shown(level + step, level, width, function) - shown(level, level, width, function)
        assert rise / step == pytest.approx(1 / (high - low), rel=1e-3)
        assert (low + high) / 2 == pytest.approx(level)
        return
    x = low + share * (high - low)
    assert shown(x, level, width, function) == pytest.approx(share, abs=1e-6)


@law
@given(levels, widths, functions)
def test_limits_and_back_are_the_same(level, width, function):
    found = window_of(*window_limits(level, width, function), function)
    assert found == pytest.approx((level, width), abs=1e-6)


@pytest.mark.parametrize("level", [0.0, 40.0, -30000.0])
def test_a_threshold_has_white_just_above_black(level):
    low, high = window_limits(level, 1, "LINEAR")
    assert np.float32(low) < np.float32(high)
    assert low < level - 0.5 < high < low + 0.1


def volume_of(modality, low, high, shape=(12, 11, 10)):
    data = np.linspace(low, high, int(np.prod(shape)), dtype=np.float32).reshape((1, *shape))
    return Volume(data, Geometry(shape, np.eye(4)), modality=modality)


def names(volume, stated=()):
    return [window.name for window in windows_for(volume, stated)]


def test_presets_are_offered_for_ct_alone():
    presets = [preset.name for preset in CT_PRESETS]
    assert presets == ["Abdomen", "Lung", "Bone", "Brain", "Mediastinum", "Liver"]
    assert names(volume_of("CT", -1000, 2000)) == presets
    assert names(volume_of("MR", 0, 900)) == ["Automatic"]
    assert names(volume_of("CT", 900, 2000)) == ["Automatic", *presets]  # nothing soft in it


def test_the_first_without_any_of_its_own_is_what_pictures_show():
    for volume in (volume_of("CT", -1000, 2000), volume_of("MR", 3, 9)):
        assert windows_for(volume)[0].limits == pytest.approx(intensity_window(volume))


def test_the_images_own_windows_come_first_unless_they_show_nothing():
    volume = volume_of("MR", 0, 900)
    one = StatedWindow(400, 800)
    assert windows_for(volume, [one])[0].limits == window_limits(400, 800, "LINEAR")
    assert names(volume, [one]) == ["DICOM", "Automatic"]
    assert names(volume, [one, StatedWindow(1, 2, name="BRAIN")]) == [
        "DICOM 1", "DICOM: BRAIN", "Automatic",
    ]  # fmt: skip
    assert names(volume, [StatedWindow(9000, 200)]) == ["Automatic"]


@law
@given(levels, widths, st.floats(-400, 400), st.floats(-400, 400))
def test_a_drag_that_ends_where_it_began_changes_nothing(level, width, dx, dy):
    bounds = (-1000.0, 3000.0)
    assert drag(level, width, 0, 0, image_range=bounds) == (level, width)
    new_level, new_width = drag(level, width, dx, dy, image_range=bounds)
    assert new_width > 0
    assert (new_level - level) * dy >= 0 <= (new_width - width) * dx + 1e-9
    steps = [abs(new_level - level) / abs(dy)] if abs(dy) > 1 else []
    assert all(4000 / 20_000 * 0.99 <= step <= 4000 / 1000 * 1.01 for step in steps)


@law
@given(st.floats(1e-3, 1e6), st.floats(-200, 200), st.floats(-200, 200), st.floats(0.02, 2))
def test_a_drag_does_the_same_to_an_image_in_other_units(scale, dx, dy, width):
    small = drag(0.5, width, dx, dy, image_range=(0.0, 1.0))
    large = drag(0.5 * scale, width * scale, dx, dy, image_range=(0.0, scale))
    assert large == pytest.approx((small[0] * scale, small[1] * scale), rel=1e-6)


def test_the_range_of_an_image_has_two_ends():
    low, high = intensity_range(volume_of("MR", 0, 1000))
    assert (low, high) == pytest.approx((1, 999), abs=1.5)
    low, high = intensity_range(volume_of("MR", 7, 7))
    assert low < 7 < high
