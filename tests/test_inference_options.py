"""What a user may decide about inference."""

from __future__ import annotations

from typing import Any

import pytest

from unetr_app.errors import InvalidRequest
from unetr_app.inference.options import InferenceOptions, parse_axes, parse_bytes


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "tpu"}, "there is no backend 'tpu'"),
        ({"restore": "guess"}, "no way 'guess'"),
        ({"overlap": 1.0}, "overlap 1.0"),
        ({"overlap": -0.1}, "overlap -0.1"),
        ({"overlap": float("nan")}, "overlap nan"),
        ({"flips": (3,)}, "axes 0, 1 and 2"),
        ({"memory_limit": 0}, "above 0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        InferenceOptions(**options)


def test_what_changes_results_is_told_from_what_does_not() -> None:
    assert InferenceOptions(backend="auto", skip=False, memory_limit=5).parameters == {}
    assert InferenceOptions(overlap=0.0, flips=()).parameters == {"overlap": 0.0, "flips": ()}
    assert InferenceOptions(restore="logits").parameters == {"restore": "logits"}
    assert InferenceOptions(localise=True).parameters == {"localise": True}


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GiB", 2**32),
        ("4g", 2**32),
        ("4 GB", 2**32),
        ("0.5T", 2**39),
        ("100", 100),
        ("2KiB", 2048),
    ],
)
def test_sizes_in_words(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "4 apples", "-1G", "0", "GiB", "1e3", "nan"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is no size"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["x", "ij", "i;j", ","])
def test_what_are_no_axes_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="are no axes"):
        parse_axes(text)
