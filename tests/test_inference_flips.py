from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers.inferer import SlidingWindowInferer
from torch import Tensor

from unetr_app.inference import FlipInferer

LAW = settings(max_examples=40, deadline=None)
SHAPES = st.tuples(*[st.integers(1, 14)] * 3)
ROIS = st.tuples(*[st.integers(2, 8)] * 3)
OVERLAPS = st.floats(0.0, 0.9)
AXES = st.sampled_from([c for n in range(4) for c in combinations(range(3), n)])
MODES = st.sampled_from(["constant", "gaussian"])


def _inferer(**options: Any) -> FlipInferer:
    return FlipInferer(sw_batch_size=2, **options)


@LAW
@given(SHAPES, ROIS, OVERLAPS, AXES, MODES)
def test_an_identity_network_gives_back_its_input(
    shape: Any, roi: Any, overlap: float, axes: Any, mode: str
) -> None:
    image = torch.randn(1, 2, *shape)
    inferer = _inferer(roi_size=roi, overlap=overlap, flip_axes=axes, mode=mode)
    torch.testing.assert_close(inferer(image, lambda x: x), image, atol=1e-5, rtol=1e-5)


@LAW
@given(SHAPES, ROIS, OVERLAPS, AXES, MODES)
def test_constant_logits_stay_constant(
    shape: Any, roi: Any, overlap: float, axes: Any, mode: str
) -> None:
    inferer = _inferer(roi_size=roi, overlap=overlap, flip_axes=axes, mode=mode)
    logits = inferer(torch.randn(1, 1, *shape), lambda x: torch.full_like(x, 3.25))
    torch.testing.assert_close(logits, torch.full((1, 1, *shape), 3.25), atol=1e-5, rtol=0)


class _Mirrored(torch.nn.Module):
    """Commutes with mirroring: its kernels are the same seen from both sides."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        kernel = torch.randn(3, 1, 3, 3, 3)
        for axis in (2, 3, 4):
            kernel = kernel + kernel.flip(axis)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        return torch.nn.functional.conv3d(x, self.kernel, padding=1)


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_a_network_that_commutes_with_mirroring_sees_no_difference(axes: tuple[int, ...]) -> None:
    image = torch.randn(1, 1, 11, 9, 13)
    options: dict[str, Any] = {"roi_size": (11, 9, 13), "overlap": 0.5, "mode": "gaussian"}
    plain = SlidingWindowInferer(sw_batch_size=1, **options)(image, _Mirrored())
    flipped = _inferer(flip_axes=axes, **options)(image, _Mirrored())
    torch.testing.assert_close(flipped, plain, atol=1e-5, rtol=1e-5)


def test_without_axes_it_is_the_plain_inferer() -> None:
    image = torch.randn(1, 1, 11, 9, 13)
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    options: dict[str, Any] = {"roi_size": (8, 8, 8), "overlap": 0.5, "mode": "gaussian"}
    with torch.no_grad():
        plain = SlidingWindowInferer(sw_batch_size=2, **options)(image, network)
        assert torch.equal(_inferer(**options)(image, network), plain)  # pyright: ignore


def test_the_mean_over_mirror_images_is_itself_mirror_symmetric() -> None:
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    image = torch.randn(1, 1, 8, 8, 8)
    inferer = _inferer(roi_size=(8, 8, 8), overlap=0.5, flip_axes=[0, 2])
    with torch.no_grad():
        there, mirrored = inferer(image, network), inferer(image.flip(2), network)
    torch.testing.assert_close(mirrored.flip(2), there)
