from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unetr_app.networks.decoders import MlpDecoder

PYRAMID = [(2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)]


def _maps(channels: tuple[int, ...], strides: Any, shape: tuple[int, ...]) -> list[Tensor]:
    return [
        torch.randn(2, c, *(n // s for n, s in zip(shape, stride, strict=True)))
        for c, stride in zip(channels, strides, strict=True)
    ]


def _shaken(decoder: MlpDecoder) -> MlpDecoder:
    """No tensor left at its initial value."""
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in decoder.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                buffer.normal_()
    return decoder.eval()


def _as_published(decoder: MlpDecoder, maps: list[Tensor]) -> Tensor:
    """SegFormer's head step by step: up-sample, concatenate coarsest first, fuse."""
    mode = "trilinear" if maps[0].ndim == 5 else "bilinear"
    levels: list[Tensor] = []
    for linear, feature in zip(decoder.linears, maps, strict=True):
        projected = linear(feature.movedim(1, -1)).movedim(-1, 1)
        levels.append(
            functional.interpolate(projected, maps[0].shape[2:], mode=mode, align_corners=False)
        )
    fused = decoder.fuse(torch.cat(levels[::-1], dim=1))
    return functional.relu(decoder.norm(fused))


@pytest.mark.parametrize(
    ("channels", "strides"),
    [
        ((4, 6, 8, 10), PYRAMID),
        ((6, 6, 6), [(8, 8, 4)] * 3),
        ((4, 6, 8), [(4, 4, 1), (8, 8, 2), (16, 16, 4)]),
        ((5,), [(4, 4, 4)]),
        ((4, 6), [(2, 2), (6, 6)]),
    ],
)
@pytest.mark.parametrize("norm", ["batch", "instance", ("group", {"num_groups": 3})])
def test_it_computes_what_segformers_head_does(
    channels: tuple[int, ...], strides: Any, norm: Any
) -> None:
    torch.manual_seed(0)
    shape = (48, 32, 16) if len(strides[0]) == 3 else (36, 24)
    decoder = _shaken(MlpDecoder(len(shape), 1, channels, strides, width=12, norm=norm))
    maps = _maps(channels, strides, shape)
    with torch.no_grad():
        features = decoder(torch.zeros(2, 1, *shape), maps)
        expected = _as_published(decoder, maps)
    torch.testing.assert_close(features[0], expected, atol=2e-5, rtol=1e-5)
    assert len(features) == len(decoder.channels) == len(decoder.strides)
    for feature, width, stride in zip(features, decoder.channels, decoder.strides, strict=True):
        assert feature.shape == (2, width, *(n // s for n, s in zip(shape, stride, strict=True)))


def test_levels_below_the_finest_are_the_maps_after_their_linear_layer() -> None:
    torch.manual_seed(0)
    decoder = _shaken(MlpDecoder(3, 1, (4, 6, 8, 10), PYRAMID, width=5))
    maps = _maps((4, 6, 8, 10), PYRAMID, (16, 32, 16))
    features = decoder(torch.zeros(2, 1, 16, 32, 16), maps)
    for n in (1, 2, 3):
        projected = decoder.linears[n](maps[n].movedim(1, -1)).movedim(-1, 1)
        torch.testing.assert_close(features[n], projected)


def test_dropout_is_for_training_alone() -> None:
    torch.manual_seed(0)
    decoder = MlpDecoder(2, 1, (4,), [(2, 2)], width=8, dropout=0.5)
    image, maps = torch.zeros(2, 1, 32, 32), _maps((4,), [(2, 2)], (32, 32))
    dropped = [(decoder.train(mode)(image, maps)[0] == 0).float().mean() for mode in (True, False)]
    assert dropped[0] == pytest.approx(0.75, abs=0.05)  # half of the values, and half by ReLU
    assert dropped[1] == pytest.approx(0.5, abs=0.2)


def test_every_weight_learns() -> None:
    decoder = MlpDecoder(3, 1, (4, 6, 8, 10), PYRAMID, width=6)
    maps = _maps((4, 6, 8, 10), PYRAMID, (16, 16, 32))
    decoder(torch.zeros(2, 1, 16, 16, 32), maps)[0].square().sum().backward()
    assert [name for name, p in decoder.named_parameters() if p.grad is None] == []
