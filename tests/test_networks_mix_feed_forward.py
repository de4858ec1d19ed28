from __future__ import annotations

import torch
from torch.nn import functional

from unetr_app.networks.mix_feed_forward import MixFeedForward


def test_it_is_a_plain_feed_forward_where_the_convolution_reads_its_own_voxel() -> None:
    torch.manual_seed(0)
    mix = MixFeedForward(6, 10, 3)
    torch.nn.init.dirac_(mix.mix.weight, groups=10)
    torch.nn.init.zeros_(mix.mix.bias)
    tokens = torch.randn(2, 24, 6)
    expected = mix.contract(functional.gelu(mix.expand(tokens)))
    torch.testing.assert_close(mix(tokens, [2, 3, 4]), expected, atol=1e-6, rtol=1e-5)


def test_neighbours_on_the_grid_meet_and_others_do_not() -> None:
    torch.manual_seed(0)
    mix = MixFeedForward(6, 10, 2).double()
    grid = [4, 5]
    tokens = torch.randn(1, 20, 6, dtype=torch.float64)
    moved = tokens.clone()
    moved[:, 7] += 1.0  # row 1, column 2
    changed = (mix(moved, grid) - mix(tokens, grid)).abs().sum(-1).reshape(grid) > 1e-9
    expected = torch.zeros(4, 5, dtype=torch.bool)
    expected[0:3, 1:4] = True
    assert torch.equal(changed, expected)


def test_the_linear_variant_clips_before_it_mixes() -> None:
    torch.manual_seed(0)
    mix = MixFeedForward(4, 8, 2, rectify=True)
    torch.nn.init.constant_(mix.expand.bias, -100.0)
    outputs = mix(torch.randn(1, 9, 4), [3, 3])
    nothing = mix.contract(functional.gelu(mix.mix.bias))
    torch.testing.assert_close(outputs, nothing.expand_as(outputs))
