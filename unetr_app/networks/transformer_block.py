"""TransformerBlock: pre-norm attention and feed-forward, as vision transformers have them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetr_app.networks.layers import DropPath, FeedForward, SelfAttention, SwiGlu, branch_scale
from unetr_app.networks.recomputing import recompute


class BlockLayers(nn.Module):
    """The layers of a pre-norm transformer block; what they attend to is said by its subclasses.

    Args:
        width: Channels C of a token.
        num_heads: Attention heads.
        hidden: Channels inside the feed-forward.
        qkv_bias: Do queries, keys and values have a bias?
        gated: A feed-forward with a gate (SwiGLU) instead of GELU?
        activation: Of a feed-forward without a gate; see `FeedForward`.
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the layer norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, qkv_bias: bool, drop_path: float,
        layer_scale: float | None, norm_eps: float, gated: bool = False, activation: str = "gelu",
        recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = SelfAttention(width, num_heads, qkv_bias=qkv_bias)
        self.scale1 = branch_scale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = (
            SwiGlu(width, hidden) if gated else FeedForward(width, hidden, activation=activation)
        )
        self.scale2 = branch_scale(width, layer_scale)
        self.drop_path = DropPath(drop_path)


class TransformerBlock(BlockLayers):
    """Attention among all tokens and a feed-forward (arXiv:2010.11929, equations 2 and 3)."""

    def forward(
        self, tokens: Tensor, bias: Tensor | None = None, rotation: Tensor | None = None
    ) -> Tensor:
        """(B, N, C) to (B, N, C); ``bias`` and ``rotation`` as in `SelfAttention`."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._branches, tokens, bias, rotation)
        return self._branches(tokens, bias, rotation)

    def _branches(self, tokens: Tensor, bias: Tensor | None, rotation: Tensor | None) -> Tensor:
        mixed = self.attention(self.norm1(tokens), bias, rotation)
        tokens = tokens + self.drop_path(self.scale1(mixed))
        return tokens + self.drop_path(self.scale2(self.feed_forward(self.norm2(tokens))))
