from __future__ import annotations

from typing import Any

import pytest
import torch

from unetr_app.networks.decoders.unetr import UnetrDecoder, level_strides

Strides = list[tuple[int, ...]]


def test_unetr_of_the_paper_has_its_levels() -> None:
    assert level_strides([(16,) * 3] * 4) == [(2,) * 3, (4,) * 3, (8,) * 3, (16,) * 3]


@pytest.mark.parametrize(
    ("channels", "strides"),
    [
        ((6, 6, 6, 6), [(16, 16, 16)] * 4),
        ((6, 6, 6), [(8, 8, 4)] * 3),
        ((6,), [(4, 4, 4)]),
        ((5, 6), [(2, 2, 2)] * 2),
        ((4, 6, 8, 10), [(2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)]),  # a pyramid
        ((4, 6, 8), [(4, 4, 1), (8, 8, 2), (16, 16, 4)]),
        ((4, 6), [(3, 3), (6, 6)]),
    ],
)
@pytest.mark.parametrize("blocks", [{}, {"res_block": False, "conv_block": False}])
def test_any_channels_and_strides_lead_to_full_size(
    channels: tuple[int, ...], strides: Strides, blocks: dict[str, Any]
) -> None:
    dims = len(strides[0])
    shape = (48, 32, 16)[:dims] if dims == 3 else (36, 24)
    decoder = UnetrDecoder(dims, 2, channels, strides, feature_size=4, **blocks).eval()
    maps = [
        torch.randn(1, c, *(n // s for n, s in zip(shape, stride, strict=True)))
        for c, stride in zip(channels, strides, strict=True)
    ]
    features = decoder(torch.randn(1, 2, *shape), maps)
    assert len(features) == len(decoder.channels) == len(decoder.strides)
    for feature, width, stride in zip(features, decoder.channels, decoder.strides, strict=True):
        assert feature.shape == (1, width, *(n // s for n, s in zip(shape, stride, strict=True)))
    assert features[0].shape[2:] == shape


@pytest.mark.parametrize("norm", ["instance", "batch", ("group", {"num_groups": 2})])
def test_any_norm_of_monai(norm: Any) -> None:
    decoder = UnetrDecoder(3, 1, (6,), [(4, 4, 4)], feature_size=4, norm=norm)
    decoder(torch.randn(2, 1, 8, 8, 8), [torch.randn(2, 6, 2, 2, 2)])[0].sum().backward()
    assert all(p.grad is not None for p in decoder.parameters())
