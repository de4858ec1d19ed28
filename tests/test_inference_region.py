"""A rough look finds where the fine one is worth it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from unetr_app.inference.region import find_region
from unetr_app.inference.window_logits import WindowLogits
from unetr_app.inference.window_plan import Shape, WindowPlan

CPU = torch.device("cpu")


def _network(x: Tensor) -> Tensor:
    return torch.cat([0.5 - x, x - 0.5], dim=1)


def _is_found(logits: Tensor) -> Tensor:
    return logits.argmax(dim=0) > 0


def _find(image: Tensor, roi: int = 8) -> tuple[Shape, Shape]:
    i, j, k = image.shape[1:]
    windows = WindowLogits(lambda *_: _network, CPU)
    region = find_region(WindowPlan((i, j, k), (roi,) * 3), image, windows.of, _is_found)
    assert torch.equal(region.of(image), region.of(image.clone()))
    return region.start, region.shape


corners = st.tuples(st.integers(0, 36), st.integers(0, 20), st.integers(0, 26))


@given(corners, st.integers(3, 6))
@settings(max_examples=40, deadline=None)
def test_what_is_there_lies_in_the_region_with_half_a_window_around(
    corner: Shape, size: int
) -> None:
    image = torch.zeros(1, 44, 28, 34)
    i, j, k = corner
    image[:, i : i + size, j : j + size, k : k + size] = 2.0
    start, shape = _find(image)
    for first, at, count, whole in zip(corner, start, shape, image.shape[1:], strict=True):
        assert at <= max(first - 3, 0)
        assert at + count >= min(first + size + 3, whole)
        assert count <= size + 2 * (4 + 2)


def test_where_nothing_is_found_it_is_the_whole_image() -> None:
    assert _find(torch.zeros(1, 40, 20, 30)) == ((0, 0, 0), (40, 20, 30))


@pytest.mark.parametrize("roi", [20, 40])
def test_an_image_hardly_larger_than_a_window_is_taken_whole(roi: int) -> None:
    image = torch.zeros(1, 40, 20, 30)
    image[:, 3, 3, 3] = 9.0
    assert _find(image, roi) == ((0, 0, 0), (40, 20, 30))
