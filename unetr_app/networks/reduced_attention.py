"""Attention of all tokens to a reduced map: the efficient attention of pyramids.

Wang et al. 2021 (PVT, arXiv:2102.12122, section 3.3): queries come from every token, keys and
values from a coarser map, so that the cost falls by the number of tokens that become one. Three
ways to the coarser map: none, a strided convolution, or pooling to a fixed number of tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.tokens import to_map, to_tokens

POOLED = 7  # tokens an axis of PVT v2's linear attention


class KeepTokens(nn.Module):
    """No reduction: keys and values come from every token."""

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) to the same."""
        return tokens


class StridedReduction(nn.Module):
    """Blocks of tokens become one: a convolution whose windows do not overlap, then a norm.

    arXiv:2102.12122, equation 3, and SegFormer, arXiv:2105.15203, equation 2. Tokens beyond the
    last whole block are left out.

    Args:
        width: Channels C.
        ratio: Tokens of a block along each axis.
        norm_eps: Epsilon of the norm.
    """

    def __init__(self, width: int, ratio: Sequence[int], *, norm_eps: float):
        super().__init__()
        kernel = tuple(ratio)
        convolution: Any = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
        self.convolution = convolution(width, width, kernel, stride=kernel)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) on a grid to (B, M, C), M blocks."""
        return self.norm(to_tokens(self.convolution(to_map(tokens, grid))))


class PooledReduction(nn.Module):
    """The map pooled to 7 tokens an axis whatever its size: attention of linear cost.

    Wang et al. 2021 (PVT v2, arXiv:2106.13797, "linear spatial reduction attention").

    Args:
        width: Channels C.
        spatial_dims: 2 or 3.
        norm_eps: Epsilon of the norm.
    """

    def __init__(self, width: int, spatial_dims: int, *, norm_eps: float):
        super().__init__()
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.pooled = POOLED
        self.convolution = convolution(width, width, 1)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) on a grid to (B, M, C), M is 49 or 343."""
        features = to_map(tokens, grid)  # (B, C, grid...)
        for axis in range(len(grid)):
            bins = averaging_bins(grid[axis], self.pooled, features)
            features = torch.matmul(features.movedim(2 + axis, -1), bins.T).movedim(-1, 2 + axis)
        return functional.gelu(self.norm(to_tokens(self.convolution(features))))


class ReducedAttention(nn.Module):
    """Multi-head attention of every token to a reduced map, fused.

    Args:
        width: Channels C of a token; a multiple of ``num_heads``.
        num_heads: Attention heads.
        reduction: Maps tokens (B, N, C) and their grid to the tokens (B, M, C) that are attended.
        qkv_bias: Do queries, keys and values have a bias?
    """

    def __init__(self, width: int, num_heads: int, reduction: nn.Module, *, qkv_bias: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=qkv_bias)
        self.reduction = reduction
        self.key_value = nn.Linear(width, 2 * width, bias=qkv_bias)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) on a grid to (B, N, C)."""
        batch, count, width = tokens.shape
        head = width // self.num_heads
        query = self.query(tokens).reshape(batch, count, self.num_heads, head).transpose(1, 2)
        reduced = self.reduction(tokens, grid)  # (B, M, C)
        key_value = self.key_value(reduced).reshape(batch, -1, 2, self.num_heads, head)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, M, C / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).reshape(batch, count, width))


def averaging_bins(count: int, bins: int, like: Tensor) -> Tensor:
    """The matrix that pools an axis to a fixed length, (bins, count), each row a mean.

    Bin b reaches from floor(b count / bins) to ceil((b + 1) count / bins): adaptive average
    pooling, an axis at a time. As a matrix it exports, and its gradients are the same each time.

    Args:
        count: Voxels along the axis.
        bins: Length wanted, also above ``count``.
        like: Whose device and data type the matrix has.
    """
    number = torch.arange(bins, device=like.device).unsqueeze(1)  # (bins, 1)
    voxel = torch.arange(count, device=like.device)  # (count)
    start = number * count // bins
    stop = ((number + 1) * count + bins - 1) // bins
    within = ((voxel >= start) & (voxel < stop)).to(like.dtype)  # (bins, count)
    return within / within.sum(dim=1, keepdim=True)
