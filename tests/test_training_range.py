from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import ALL_ORIENTATIONS
from unetr_app.errors import UnfitInput, UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.training_range import TrainingRange
from unetr_app.volume import Volume

VALUES: dict[str, Any] = {
    "modality": "MR",
    "extent_mm": {
        "trained": [[30, 40, 20], [44, 60, 48]],
        "accepted": [[20, 30, 15], [80, 99, 80]],
    },
    "spacing_mm": {"trained": [[1, 1, 1], [1, 1, 1]], "accepted": [[0.4, 0.4, 0.4], [2, 2, 3]]},
}
RANGE = TrainingRange.from_metadata(VALUES)


def _volume(
    shape: tuple[int, int, int] = (36, 50, 34),
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    *,
    modality: str = "MR",
    orientation: str = "RAS",
    value: float = 100.0,
) -> Volume:
    grid = Geometry.from_parts(shape, spacing, np.eye(3), (0, 0, 0)).reoriented(orientation)
    return Volume(np.full((1, *grid.shape), value, np.float32), grid, modality=modality)


@settings(max_examples=48, deadline=None)
@given(st.sampled_from(ALL_ORIENTATIONS))
def test_an_image_within_the_range_passes_in_any_orientation(orientation: str) -> None:
    assert RANGE.check(_volume(orientation=orientation)) == []


def test_outside_what_was_trained_is_a_warning_that_says_what_was() -> None:
    (warning,) = RANGE.check(_volume((36, 70, 34)))
    assert "field of view 70 mm back-front" in warning
    assert "40 to 60" in warning


def test_the_same_axis_is_named_in_any_orientation() -> None:
    (warning,) = RANGE.check(_volume((36, 70, 34), orientation="SPL"))
    assert "back-front" in warning


def test_far_outside_is_refused_with_the_reason() -> None:
    with pytest.raises(UnfitInput, match="field of view 180 mm left-right") as caught:
        RANGE.check(_volume((180, 50, 34)))
    assert "--force" in caught.value.cure


def test_force_turns_a_refusal_into_a_warning() -> None:
    head = _volume((180, 216, 180))
    assert len(RANGE.check(head, force=True)) == 3


@pytest.mark.parametrize(
    ("spacing", "outcome"),
    [((1.0, 1.0, 1.005), "fine"), ((1.0, 1.0, 1.3), "warned"), ((1.0, 1.0, 4.0), "refused")],
)
def test_spacing_is_compared_as_extent_is(
    spacing: tuple[float, float, float], outcome: str
) -> None:
    volume = _volume((36, 50, 12 if spacing[2] > 2 else 34), spacing)
    if outcome == "refused":
        with pytest.raises(UnfitInput, match="spacing 4 mm foot-head"):
            RANGE.check(volume)
    else:
        assert bool(RANGE.check(volume)) == (outcome == "warned")


def test_another_modality_is_refused() -> None:
    with pytest.raises(UnfitInput, match="modality CT"):
        RANGE.check(_volume(modality="CT"))


def test_a_ct_without_modality_is_known_by_its_air() -> None:
    volume = _volume(modality="")
    data = volume.data.copy()
    data[:, :6] = -1000.0
    ct = Volume(data, volume.geometry)
    with pytest.raises(UnfitInput, match="as in CT"):
        RANGE.check(ct)
    assert RANGE.check(volume) == []


def test_an_mr_given_to_a_ct_bundle_is_refused() -> None:
    ct_range = TrainingRange.from_metadata(VALUES | {"modality": "CT"})
    with pytest.raises(UnfitInput, match="Hounsfield"):
        ct_range.check(_volume(modality=""))


def test_no_modality_takes_any() -> None:
    anything = TrainingRange.from_metadata(VALUES | {"modality": ""})
    assert anything.check(_volume(modality="PT", value=-500)) == []


@pytest.mark.parametrize("missing", ["modality", "extent_mm", "spacing_mm"])
def test_incomplete_metadata_is_refused(missing: str) -> None:
    values = {key: value for key, value in VALUES.items() if key != missing}
    with pytest.raises(UnusableBundle, match="training_range"):
        TrainingRange.from_metadata(values)


def test_a_bound_with_two_axes_is_refused() -> None:
    values = copy.deepcopy(VALUES)
    values["spacing_mm"]["trained"] = [[1, 1], [1, 1]]
    with pytest.raises(UnusableBundle, match="training_range"):
        TrainingRange.from_metadata(values)
