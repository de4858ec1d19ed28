"""Layers that several encoders share: attention, feed-forward, stochastic depth.

Tokens are (B, N, C) throughout: batch, number of tokens, channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """Multi-head self-attention (Vaswani et al. 2017, arXiv:1706.03762, section 3.2), fused.

    Args:
        width: Channels C of a token; a multiple of ``num_heads``.
        num_heads: Attention heads.
        qkv_bias: Do queries, keys and values have a bias?
    """

    def __init__(self, width: int, num_heads: int, *, qkv_bias: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, C / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    """Two linear layers with GELU between (arXiv:1706.03762, section 3.3).

    Args:
        width: Channels in and out.
        hidden: Channels between.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return self.contract(functional.gelu(self.expand(tokens)))


class DropPath(nn.Module):
    """Drop a residual branch for whole samples in training (Huang et al. 2016, arXiv:1603.09382).

    Args:
        rate: Chance that a sample's branch is dropped, 0 <= rate < 1; the rest is scaled up.
    """

    def __init__(self, rate: float = 0.0):
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Any shape with the batch first, unchanged in evaluation."""
        if not self.training or self.rate == 0.0:
            return branch
        keep = 1.0 - self.rate
        shape = [branch.shape[0]] + [1] * (branch.ndim - 1)
        return branch * torch.empty(shape, device=branch.device).bernoulli_(keep).div_(keep)


class LayerScale(nn.Module):
    """A learned factor a channel on a residual branch (Touvron et al. 2021, arXiv:2103.17239).

    Args:
        width: Channels C.
        initial: Starting value of every factor.
    """

    def __init__(self, width: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), initial))

    def forward(self, branch: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        return branch * self.gamma
