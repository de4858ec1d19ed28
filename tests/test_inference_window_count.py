from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers.inferer import SliceInferer, SlidingWindowInferer

from tests.counting_network import CountingNetwork
from unetr_app.inference import FlipInferer
from unetr_app.inference.window_count import window_count


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 15)] * 3),
    st.tuples(*[st.integers(2, 8)] * 3),
    st.floats(0.0, 0.95) | st.tuples(*[st.floats(0.0, 0.95)] * 3),
    st.sampled_from([(), (0,), (1, 2)]),
    st.integers(1, 3),
)
def test_as_many_windows_are_promised_as_come(
    shape: Any, roi: Any, overlap: Any, axes: Any, batch: int
) -> None:
    inferer = FlipInferer(roi_size=roi, overlap=overlap, sw_batch_size=batch, flip_axes=axes)
    network = CountingNetwork()
    inferer(torch.zeros(1, 1, *shape), network)
    assert window_count(tuple(shape), inferer) == network.seen


@pytest.mark.parametrize("roi", [6, (6, -1, 0)])
def test_one_number_and_whole_axes(roi: Any) -> None:
    inferer = FlipInferer(roi_size=roi, overlap=0.5)
    network = CountingNetwork()
    inferer(torch.zeros(1, 1, 10, 7, 9), network)
    assert window_count((10, 7, 9), inferer) == network.seen


def test_slices_are_not_counted() -> None:
    assert window_count((9, 8, 7), SliceInferer(roi_size=(4, 4))) == 0
    assert window_count((9, 8, 4), SlidingWindowInferer(roi_size=(4, 4, None), overlap=0)) == 6


def test_an_inferer_that_does_not_say_promises_nothing() -> None:
    assert window_count((4, 4, 4), object()) == 0
