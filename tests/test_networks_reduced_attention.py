from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from unetr_app.networks.reduced_attention import (
    KeepTokens,
    PooledReduction,
    ReducedAttention,
    StridedReduction,
    averaging_bins,
)


def _plain(attention: ReducedAttention, tokens: Tensor, others: Tensor) -> Tensor:
    """torch's own attention of the tokens to the others."""
    width = tokens.shape[2]
    theirs = torch.nn.MultiheadAttention(width, attention.num_heads, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([attention.query.weight, attention.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([attention.query.bias, attention.key_value.bias]))
        theirs.out_proj.weight.copy_(attention.project.weight)
        theirs.out_proj.bias.copy_(attention.project.bias)
        return theirs(tokens, others, others, need_weights=False)[0]


def test_without_reduction_it_is_torchs_attention() -> None:
    torch.manual_seed(0)
    attention = ReducedAttention(12, 3, KeepTokens())
    tokens = torch.randn(2, 8, 12)
    with torch.no_grad():
        ours = attention(tokens, [2, 2, 2])
    torch.testing.assert_close(ours, _plain(attention, tokens, tokens), atol=1e-6, rtol=1e-5)


def test_blocks_of_tokens_become_one_key() -> None:
    torch.manual_seed(0)
    reduction = StridedReduction(12, (1, 2, 3), norm_eps=1e-5)
    attention = ReducedAttention(12, 3, reduction)
    features = torch.randn(2, 12, 2, 4, 6)  # (B, C, D, H, W)
    keys: list[Tensor] = []
    for d in range(2):
        for h in (0, 2):
            for w in (0, 3):
                block = features[:, :, d, h : h + 2, w : w + 3]
                keys.append(
                    torch.einsum("bchw,ochw->bo", block, reduction.convolution.weight[:, :, 0])
                    + reduction.convolution.bias
                )
    others = functional.layer_norm(torch.stack(keys, dim=1), (12,))
    tokens = features.flatten(2).mT
    with torch.no_grad():
        ours = attention(tokens, [2, 4, 6])
        torch.testing.assert_close(ours, _plain(attention, tokens, others), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("grid", [[14, 3, 8], [5, 9]])
def test_pooling_is_torchs_to_seven_an_axis(grid: list[int]) -> None:
    torch.manual_seed(0)
    reduction = PooledReduction(6, len(grid), norm_eps=1e-5)
    features = torch.randn(2, 6, *grid)
    pool = functional.adaptive_avg_pool3d if len(grid) == 3 else functional.adaptive_avg_pool2d
    with torch.no_grad():
        ours = reduction(features.flatten(2).mT, grid)
        pooled = reduction.convolution(pool(features, 7)).flatten(2).mT
        expected = functional.gelu(functional.layer_norm(pooled, (6,)))
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 6, 7, 8, 13, 14, 40])
def test_bins_are_those_of_adaptive_pooling(count: int) -> None:
    line = torch.randn(3, 1, count, dtype=torch.float64)
    ours = line @ averaging_bins(count, 7, line).T
    torch.testing.assert_close(ours, functional.adaptive_avg_pool1d(line, 7))
