"""Attention over pooled tokens: queries, keys and values on coarser grids of their own.

Fan et al. 2021 (MViT, arXiv:2104.11227, section 3.1) and Li et al. 2022 (MViTv2, arXiv:2112.01526,
section 4.1: residual pooling, equation 5).

Tokens lie on a grid, its first axis slowest; a class token, where there is one, comes before them
and is never pooled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.errors import InvalidRequest
from unetr_app.networks.choices import require_choice
from unetr_app.networks.relative_positions import RelativePositions

PoolMode = Literal["conv", "max", "average"]
Residual = Literal["all", "grid", "none"]

Stride = tuple[int, ...]


class TokenPooling(nn.Module):
    """Brings tokens to a coarser grid and norms them.

    Args:
        pool: Takes and gives (B, C, grid...); None where the grid stays as it is.
        norm: Norms all tokens afterwards, the class token too; None for no norm.
        class_token: Is the first token one of its own?
    """

    def __init__(self, pool: nn.Module | None, norm: nn.Module | None, *, class_token: bool):
        super().__init__()
        self.pool = pool
        self.norm = norm
        self.prefix = int(class_token)

    def forward(self, tokens: Tensor, grid: list[int]) -> tuple[Tensor, list[int]]:
        """(B, heads, N, C) on a grid to (B, heads, N', C) and its new grid."""
        if self.pool is not None:
            batch, heads, _, width = tokens.shape
            on_grid = tokens[:, :, self.prefix :].transpose(2, 3)  # (B, heads, C, N)
            pooled = self.pool(on_grid.reshape([batch * heads, width] + grid))  # noqa: RUF005
            grid = list(pooled.shape[2:])
            pooled = pooled.reshape(batch, heads, width, -1).transpose(2, 3)
            tokens = torch.cat([tokens[:, :, : self.prefix], pooled], dim=2)
        if self.norm is not None:
            tokens = self.norm(tokens)
        return tokens, grid


def head_pooling(
    width: int, kernel: Stride, stride: Stride, *, mode: PoolMode, class_token: bool,
    norm_eps: float,
) -> TokenPooling:  # fmt: skip
    """How the queries, keys or values of a head are pooled (arXiv:2104.11227, section 3.1).

    Args:
        width: Channels C of a head.
        kernel: One odd number an axis. A kernel and a stride of 1 pool and norm nothing.
        stride: Steps along each axis.
        mode: ``conv``, a depth-wise convolution with a norm after it; ``max``; or ``average``, to
            which the zeros around the grid count.
        class_token: Is the first token one of its own?
        norm_eps: Epsilon of the norm.

    Raises:
        InvalidRequest: If the kernel is even, or the mode unknown.
    """
    if any(k % 2 == 0 for k in kernel):
        raise InvalidRequest(f"kernel {kernel} that pools tokens must be odd along each axis")
    if max(*kernel, *stride) == 1:
        return TokenPooling(None, None, class_token=class_token)
    norm = nn.LayerNorm(width, eps=norm_eps) if mode == "conv" else None
    pool = _pool(width, kernel, stride, mode)
    return TokenPooling(pool, norm, class_token=class_token)


def _pool(width: int, kernel: Stride, stride: Stride, mode: str) -> nn.Module:
    volumetric = len(kernel) == 3
    padding = tuple(k // 2 for k in kernel)
    if mode == "conv":
        convolution: Any = nn.Conv3d if volumetric else nn.Conv2d
        return convolution(width, width, kernel, stride, padding, groups=width, bias=False)
    if mode == "max":
        largest: Any = nn.MaxPool3d if volumetric else nn.MaxPool2d
        return largest(kernel, stride, padding)
    if mode == "average":
        # Padded beforehand: torch's own padding refuses grids that are smaller than the kernel.
        border: Any = nn.ConstantPad3d if volumetric else nn.ConstantPad2d
        mean: Any = nn.AvgPool3d if volumetric else nn.AvgPool2d
        both_ends = tuple(p for p in reversed(padding) for _ in range(2))  # the last axis first
        return nn.Sequential(border(both_ends, 0.0), mean(kernel, stride))
    raise InvalidRequest(f"there is no pool {mode!r}", cure="There are: conv, max, average.")


def shortcut_pooling(stride: Stride, *, class_token: bool) -> TokenPooling:
    """The largest of a window a little wider than the stride, for the branch past attention.

    Args:
        stride: Steps of the queries along each axis, which this follows.
        class_token: Is the first token one of its own?
    """
    if max(stride) == 1:
        return TokenPooling(None, None, class_token=class_token)
    pooling: Any = nn.MaxPool3d if len(stride) == 3 else nn.MaxPool2d
    kernel = tuple(s + 1 if s > 1 else 1 for s in stride)
    padding = tuple(s // 2 for s in stride)
    return TokenPooling(pooling(kernel, stride, padding), None, class_token=class_token)


class PoolingAttention(nn.Module):
    """Multi-head attention between pooled queries and pooled keys and values.

    Args:
        channels_in: Channels of the tokens that come in.
        width: Channels C of queries, keys, values and of what goes out.
        pools: How queries, keys and values are pooled, in this order.
        positions: What attention adds for displacements; None for nothing.
        num_heads: Attention heads; divides ``width``.
        qkv_bias: Do queries, keys and values have a bias?
        residual: Is the pooled query added to what attention gives: of ``all`` tokens, of those
            on the grid alone (``grid``: not the class token), or of ``none``?
        class_token: Is the first token one of its own?
        balance_depth: Does the class token's key gain ln(D), D the slices of pooled keys?

    Raises:
        InvalidRequest: If ``residual`` is none of these.
    """

    def __init__(
        self, channels_in: int, width: int, *, pools: Sequence[TokenPooling],
        positions: RelativePositions | None, num_heads: int, qkv_bias: bool = True,
        residual: Residual = "all", class_token: bool = False, balance_depth: bool = False,
    ):  # fmt: skip
        super().__init__()
        require_choice(residual, ("all", "grid", "none"), "residual_pooling")
        self.num_heads = num_heads
        self.prefix = int(class_token)
        self.residual: str = residual
        self.balance_depth = balance_depth and class_token
        self.qkv = nn.Linear(channels_in, 3 * width, bias=qkv_bias)
        self.pool_query, self.pool_key, self.pool_value = pools
        self.positions = positions
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor, grid: list[int]) -> tuple[Tensor, list[int]]:
        """(B, N, channels_in) on a grid to (B, N', C) on the grid of the queries."""
        batch, count, _ = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, C / heads)
        query, query_grid = self.pool_query(query, grid)
        key, key_grid = self.pool_key(key, grid)
        value = self.pool_value(value, grid)[0]
        bias = self._bias(query, query_grid, key_grid)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        if self.residual == "all":
            mixed = mixed + query
        elif self.residual == "grid":
            mixed = mixed + functional.pad(query[:, :, self.prefix :], [0, 0, self.prefix, 0])
        return self.project(mixed.transpose(1, 2).flatten(2)), query_grid

    def _bias(self, query: Tensor, query_grid: list[int], key_grid: list[int]) -> Tensor | None:
        """What is added to the logits: (B, heads, N', K) or broadcasts to it, class token first."""
        bias: Tensor | None = None
        if self.positions is not None:
            on_grid = query[:, :, self.prefix :]
            displaced: Tensor = self.positions(on_grid, query_grid, key_grid)
            bias = functional.pad(displaced, [self.prefix, 0, self.prefix, 0])
        if self.balance_depth:
            keys = 1
            for length in key_grid:
                keys = keys * length
            gain = query.new_zeros([1, 1, 1, keys])
            gain = functional.pad(gain, [self.prefix, 0], value=math.log(key_grid[0]))
            bias = gain if bias is None else bias + gain
        return bias
