"""The block of multiscale vision transformers: pooling attention, feed-forward, and shortcuts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import DropPath, FeedForward, LayerScale
from unetr_app.networks.pooling_attention import (
    PoolingAttention,
    PoolMode,
    Residual,
    TokenPooling,
    head_pooling,
)
from unetr_app.networks.relative_positions import RelativePositions

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class BlockPlan:
    """The sizes of one block.

    Args:
        channels_in: Channels of the tokens that come in.
        width: Channels after attention.
        channels_out: Channels after the feed-forward.
        num_heads: Attention heads; divides ``width``.
        grid: Tokens along each axis that come in.
        stride_q: Steps of its pooled queries along each axis.
        stride_kv: Steps of its pooled keys and values along each axis.
    """

    channels_in: int
    width: int
    channels_out: int
    num_heads: int
    grid: Sizes
    stride_q: Sizes
    stride_kv: Sizes


@dataclass(frozen=True)
class AttentionOptions:
    """What the attention of all blocks has in common.

    Args:
        kernel_q: Kernel that pools queries, one odd number an axis.
        kernel_kv: The same for keys and values.
        pool: How a kernel pools; see `head_pooling`.
        pool_every_query: Are queries pooled where their stride is 1, too?
        residual: Whose pooled queries are added after attention; see `PoolingAttention`.
        relative_positions: Does attention know displacements?
        class_token: Is there a class token?
        balance_depth: Does its key gain ln(D)?
        qkv_bias: Do queries, keys and values have a bias?
        norm_eps: Epsilon of the layer norms.
    """

    kernel_q: Sizes
    kernel_kv: Sizes
    pool: PoolMode
    pool_every_query: bool
    residual: Residual
    relative_positions: bool
    class_token: bool
    balance_depth: bool
    qkv_bias: bool
    norm_eps: float

    def build(self, plan: BlockPlan) -> PoolingAttention:
        """The attention of one block.

        Raises:
            InvalidRequest: If its heads do not divide its channels, or a kernel is even.
        """
        if plan.num_heads < 1 or plan.width % plan.num_heads:
            raise InvalidRequest(
                f"embed_dims {plan.width} is no multiple of num_heads {plan.num_heads}"
            )
        head = plan.width // plan.num_heads
        pooled = self.pool_every_query or max(plan.stride_q) > 1
        kernel_q = self.kernel_q if pooled else (1,) * len(plan.grid)
        positions = RelativePositions(
            pooled_grid(plan.grid, plan.stride_q), pooled_grid(plan.grid, plan.stride_kv), head
        )
        return PoolingAttention(
            plan.channels_in,
            plan.width,
            pools=[
                self._pooling(head, kernel_q, plan.stride_q),
                self._pooling(head, self.kernel_kv, plan.stride_kv),
                self._pooling(head, self.kernel_kv, plan.stride_kv),
            ],
            positions=positions if self.relative_positions else None,
            num_heads=plan.num_heads,
            qkv_bias=self.qkv_bias,
            residual=self.residual,
            class_token=self.class_token,
            balance_depth=self.balance_depth,
        )

    def _pooling(self, head: int, kernel: Sizes, stride: Sizes) -> TokenPooling:
        return head_pooling(
            head, kernel, stride, mode=self.pool, class_token=self.class_token,
            norm_eps=self.norm_eps,
        )  # fmt: skip


def pooled_grid(grid: Sizes, stride: Sizes) -> Sizes:
    """Tokens along each axis after pooling; what a stride does not divide is rounded up."""
    return tuple(-(-n // s) for n, s in zip(grid, stride, strict=True))


class MultiscaleBlock(nn.Module):
    """Pre-norm pooling attention and feed-forward (arXiv:2112.01526, section 4.1, figure 2).

    Where the block widens its tokens, the shortcut past attention (or past the feed-forward) is a
    linear layer over the normed tokens; the shortcut past attention is max-pooled as queries are.

    Args:
        plan: Its sizes.
        attention: From ``channels_in`` to ``width`` channels.
        shortcut: Pools the tokens that go past attention.
        mlp_ratio: Channels inside the feed-forward, as multiples of ``width``.
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the layer norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, plan: BlockPlan, attention: PoolingAttention, shortcut: TokenPooling, *,
        mlp_ratio: float, drop_path: float, layer_scale: float | None, norm_eps: float,
        recompute: bool,
    ):  # fmt: skip
        super().__init__()
        enter, width, leave = plan.channels_in, plan.width, plan.channels_out
        self.recompute = recompute
        self.norm1 = nn.LayerNorm(enter, eps=norm_eps)
        self.attention = attention
        self.widen1 = None if enter == width else nn.Linear(enter, width)
        self.shortcut = shortcut
        self.scale1 = nn.Identity() if layer_scale is None else LayerScale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        hidden = int(mlp_ratio * width + 1e-6)  # 1e-6: a ratio is not exact in binary
        self.feed_forward = FeedForward(width, hidden, leave)
        self.widen2 = None if width == leave else nn.Linear(width, leave)
        self.scale2 = nn.Identity() if layer_scale is None else LayerScale(leave, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, grid: list[int]) -> tuple[Tensor, list[int]]:
        """(B, N, channels_in) on a grid to (B, N', channels_out) and the grid of the queries."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return checkpoint(self._branches, tokens, grid, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._branches(tokens, grid)

    def _branches(self, tokens: Tensor, grid: list[int]) -> tuple[Tensor, list[int]]:
        normed = self.norm1(tokens)
        branch, coarse = self.attention(normed, grid)
        past = tokens if self.widen1 is None else self.widen1(normed)
        past = self.shortcut(past.unsqueeze(1), grid)[0].squeeze(1)  # as if of one head
        tokens = past + self.drop_path(self.scale1(branch))
        normed = self.norm2(tokens)
        past = tokens if self.widen2 is None else self.widen2(normed)
        return past + self.drop_path(self.scale2(self.feed_forward(normed))), coarse
