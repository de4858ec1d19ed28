"""Layers that several encoders share: attention, feed-forward, stochastic depth.

Tokens are (B, N, C) throughout: batch, number of tokens, channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.errors import InvalidRequest
from unetr_app.networks.choices import require_choice
from unetr_app.networks.positions import rotate

ACTIVATIONS = ("gelu", "gelu_tanh")


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

    def forward(
        self, tokens: Tensor, bias: Tensor | None = None, rotation: Tensor | None = None
    ) -> Tensor:
        """(B, N, C) to (B, N, C).

        Args:
            tokens: (B, N, C).
            bias: Added to the logits of attention; broadcasts to (B, heads, N, N).
            rotation: Cosines and sines that turn queries and keys, (2, N, C / heads); see
                `unetr_app.networks.positions.axial_rotation`.
        """
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, N, C / heads)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.project(mixed.transpose(1, 2).reshape(batch, count, width))


class FeedForward(nn.Module):
    """Two linear layers with GELU between (arXiv:1706.03762, section 3.3).

    Args:
        width: Channels in.
        hidden: Channels between.
        out: Channels out; ``width`` where absent.
        activation: ``gelu``, or ``gelu_tanh``, its approximation (Hendrycks & Gimpel 2016,
            arXiv:1606.08415, section 2).
    """

    def __init__(
        self, width: int, hidden: int, out: int | None = None, *, activation: str = "gelu"
    ):
        super().__init__()
        self.activation = require_choice(activation, ACTIVATIONS, "activation")
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, out or width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, out)."""
        kind = "tanh" if self.activation == "gelu_tanh" else "none"
        return self.contract(functional.gelu(self.expand(tokens), approximate=kind))


class SwiGlu(nn.Module):
    """A feed-forward with a gate: (silu(x V) * x W) U (Shazeer 2020, arXiv:2002.05202, eq. 6).

    Args:
        width: Channels in and out.
        hidden: Channels between.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.expand = nn.Linear(width, 2 * hidden)  # the gate first, then what it lets through
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        gate, through = self.expand(tokens).chunk(2, dim=-1)
        return self.contract(functional.silu(gate) * through)


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


def branch_scale(width: int, initial: float | None) -> nn.Module:
    """What scales a residual branch: a `LayerScale`, or nothing where ``initial`` is None.

    Args:
        width: Channels C.
        initial: Starting value of every factor.
    """
    return nn.Identity() if initial is None else LayerScale(width, initial)


def head_width(embed_dim: int, num_heads: int) -> int:
    """Channels of an attention head.

    Raises:
        InvalidRequest: If the heads do not share the channels evenly.
    """
    if num_heads < 1 or embed_dim % num_heads:
        raise InvalidRequest(f"embed_dim {embed_dim} is no multiple of num_heads {num_heads}")
    return embed_dim // num_heads


def initialise_linear(module: nn.Module) -> None:
    """Linear layers as vision transformers begin: small weights, no bias; for `Module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
