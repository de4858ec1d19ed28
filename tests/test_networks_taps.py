from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr_app.errors import InvalidRequest
from unetr_app.networks.taps import checked_taps


@given(depth=st.integers(1, 60))
def test_where_none_are_given_four_at_even_distances(depth: int) -> None:
    taps = checked_taps(None, depth)
    assert len(taps) == min(4, depth)
    assert taps == sorted(set(taps))
    assert taps[-1] == depth
    steps = [after - before for before, after in zip([0, *taps], taps, strict=False)]
    assert max(steps) - min(steps) <= 1


@given(taps=st.sets(st.integers(1, 12), max_size=6))
def test_any_ascending_choice_that_ends_with_the_last_block(taps: set[int]) -> None:
    chosen = sorted(taps | {12})
    assert checked_taps(chosen, 12) == chosen
    assert checked_taps(tuple(chosen), 12) == chosen


@pytest.mark.parametrize("taps", [[], [3], [0, 4], [4, 2], [2, 2, 4], [2, 5], [-1, 4]])
def test_others_are_refused_with_what_would_do(taps: Sequence[int]) -> None:
    with pytest.raises(InvalidRequest, match="do not fit 4 blocks") as caught:
        checked_taps(taps, 4)
    assert "the last one 4" in caught.value.cure


@pytest.mark.parametrize("depth", [0, -1])
def test_an_encoder_needs_a_block(depth: int) -> None:
    with pytest.raises(InvalidRequest, match="at least 1"):
        checked_taps(None, depth)
