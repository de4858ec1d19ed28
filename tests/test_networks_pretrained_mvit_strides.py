from __future__ import annotations

import pytest

from unetr_app.networks.pretrained.layouts.mvit_strides import (
    Strides,
    adaptive_strides,
    strides_that_fit,
)

LENGTHS = [[16], [8, 8], [8, 4]]  # of grids of 16 tokens a side, pooled to 8 and 4


@pytest.mark.parametrize(
    ("first", "queries", "keys"),
    [
        (4, (1, 2, 2, 2), (4, 2, 1, 1)),
        (8, (1, 2, 2, 2), (8, 4, 2, 1)),
        (4, (2, 1, 4, 2), (2, 2, 1, 1)),
    ],
)
def test_strides_of_keys_shrink_as_the_grid_does(
    first: int, queries: tuple[int, ...], keys: tuple[int, ...]
) -> None:
    assert adaptive_strides(first, queries) == keys


def test_the_true_strides_fit_and_false_ones_do_not() -> None:
    true = Strides(16, (1, 2, 2), (4, 2, 1))
    assert strides_that_fit(LENGTHS, true) == [true]
    assert strides_that_fit(LENGTHS, Strides(16, (1, 2, 1), (4, 2, 1))) == []
    assert strides_that_fit(LENGTHS, Strides(32, (1, 2, 2), (4, 2, 1))) == []
    assert strides_that_fit(LENGTHS, Strides(16, (1, 2, 2), (4, 1, 1))) == []
    assert strides_that_fit(LENGTHS, Strides(16, (1, 2), (4, 2))) == []


def test_keys_and_grid_tell_the_strides_of_queries() -> None:
    fits = strides_that_fit(LENGTHS, Strides(16, None, (4, 2, 1)))
    assert {fit.queries for fit in fits} == {(1, 2, 2)}


def test_keys_that_are_pooled_more_than_queries_stay_open() -> None:
    keys = {fit.keys for fit in strides_that_fit(LENGTHS, Strides(16, (1, 2, 2), None))}
    assert (4, 2, 1) in keys
    assert len(keys) > 1
    assert {stage[2] for stage in keys if stage is not None} == {1}
