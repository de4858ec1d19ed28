"""Pooling: all tokens of an encoder's last map to one feature of the whole image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.layers import FeedForward


class AveragePool(nn.Module):
    """The mean of all tokens, with a norm of its own where the encoder's last map has none.

    Args:
        width: Channels C.
        norm: Is the mean normed?
        norm_eps: Epsilon of that norm.
    """

    def __init__(self, width: int, *, norm: bool, norm_eps: float = 1e-6):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=norm_eps) if norm else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, C)."""
        return self.norm(tokens.mean(dim=1))


class AttentionPool(nn.Module):
    """Multi-head attention pooling: a learned query asks all tokens.

    Zhai et al. 2021 (Scaling Vision Transformers, arXiv:2106.04560, section 3.2), after Lee et al.
    2018 (Set Transformer, arXiv:1810.00825, section 3.2).

    Args:
        width: Channels C; a multiple of ``num_heads``.
        num_heads: Attention heads.
        hidden: Channels inside the feed-forward.
        norm_eps: Epsilon of the norm before it.
        activation: Of the feed-forward; see `FeedForward`.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, norm_eps: float = 1e-6,
        activation: str = "gelu",
    ):  # fmt: skip
        super().__init__()
        self.num_heads = num_heads
        self.probe = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.probe, std=width**-0.5)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = FeedForward(width, hidden, activation=activation)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, C)."""
        batch, count, width = tokens.shape
        split = (self.num_heads, width // self.num_heads)
        probe = self.probe.expand(batch, -1, -1)  # (B, 1, C)
        query = self.query(probe).reshape(batch, 1, *split).transpose(1, 2)
        key_value = self.key_value(tokens).reshape(batch, count, 2, *split)
        key, value = key_value.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, C / heads)
        mixed = functional.scaled_dot_product_attention(query, key, value)  # (B, heads, 1, C/heads)
        pooled = self.project(mixed.transpose(1, 2).reshape(batch, width))
        return pooled + self.feed_forward(self.norm(pooled))
