from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unetr_app.errors import InvalidRequest
from unetr_app.networks.tuples import as_tuple, ladder, next_finer

LAW = settings(max_examples=60, deadline=None)
STRIDES = st.tuples(*[st.integers(1, 32)] * 3)


@LAW
@given(STRIDES, st.tuples(*[st.integers(1, 6)] * 3))
def test_the_steps_of_a_ladder_multiply_to_the_way_they_climb(
    fine: tuple[int, ...], factor: tuple[int, ...]
) -> None:
    coarse = tuple(a * b for a, b in zip(fine, factor, strict=True))
    steps = ladder(coarse, fine)
    assert tuple(np.prod([[1, 1, 1], *steps], axis=0)) == factor
    assert all(max(step) > 1 for step in steps)


@LAW
@given(STRIDES)
def test_next_finer_divides_and_ends_at_one(stride: tuple[int, ...]) -> None:
    for _ in range(6):
        finer = next_finer(stride)
        assert all(a % b == 0 for a, b in zip(stride, finer, strict=True))
        assert math.prod(finer) < math.prod(stride) or max(stride) == 1
        stride = finer
    assert max(stride) == 1


def test_sixteen_to_one_is_four_steps_of_two_and_anisotropy_ends_early() -> None:
    assert ladder((16, 16, 16), (1, 1, 1)) == [(2, 2, 2)] * 4
    assert ladder((8, 8, 4), (1, 1, 1)) == [(2, 2, 2), (2, 2, 2), (2, 2, 1)]


def test_a_stride_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="does not divide"):
        ladder((6, 6, 6), (4, 4, 4))


@pytest.mark.parametrize("value", [0, (8, 8), (8, 0, 8), (1, 2, 3, 4)])
def test_sizes_that_fit_no_three_axes_are_refused(value: int | tuple[int, ...]) -> None:
    with pytest.raises(InvalidRequest, match="roi_size"):
        as_tuple(value, 3, "roi_size")
    assert as_tuple(5, 3, "roi_size") == (5, 5, 5)
