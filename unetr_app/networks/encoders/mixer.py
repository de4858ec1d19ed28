"""MLP-Mixer as an encoder of volumes.

Tolstikhin et al. 2021 (arXiv:2105.01601, section 2): perceptrons across tokens and across channels
by turns, and nothing else. What mixes tokens has a weight for each of them, so that the input's
shape is fixed for ever: larger volumes are for sliding windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.inflation import resize_positions
from unetr_app.networks.layers import DropPath, FeedForward, SwiGlu, branch_scale
from unetr_app.networks.patches import require_input, token_grid
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.taps import checked_taps
from unetr_app.networks.tuples import as_tuple


class TokensToHidden(nn.Module):
    """Linear layer from all tokens of a channel to hidden values.

    Args:
        grid: Tokens along each axis.
        hidden: Values out.
    """

    def __init__(self, grid: Sequence[int], hidden: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(hidden, *grid))
        self.bias = nn.Parameter(torch.zeros(hidden))
        nn.init.trunc_normal_(self.weight, std=math.prod(grid) ** -0.5)

    def forward(self, channels: Tensor) -> Tensor:
        """(B, C, N) to (B, C, hidden)."""
        return functional.linear(channels, self.weight.flatten(1), self.bias)

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A weight (hidden, grid...) of another grid, flat or not, for this one.

        It is scaled by the ratio of tokens: hidden values are sums over tokens, and stay as large
        as they were.
        """
        grid = list(self.weight.shape[1:])
        if name != "weight" or not _is_of_another_grid(tensor, grid):
            return tensor
        share = tensor[0].numel() / math.prod(grid)
        return resize_positions(tensor.unsqueeze(0), grid)[0] * share


class HiddenToTokens(nn.Module):
    """Linear layer from hidden values back to all tokens of a channel.

    Args:
        hidden: Values in.
        grid: Tokens along each axis.
    """

    def __init__(self, hidden: int, grid: Sequence[int]):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(*grid, hidden))
        self.bias = nn.Parameter(torch.zeros(*grid))
        nn.init.trunc_normal_(self.weight, std=hidden**-0.5)

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, C, hidden) to (B, C, N)."""
        return functional.linear(hidden, self.weight.flatten(0, -2), self.bias.flatten())

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A weight (grid..., hidden) or bias (grid...) of another grid, flat or not, for this."""
        grid = list(self.bias.shape)
        vectors = tensor.unsqueeze(0) if name == "bias" else tensor.movedim(-1, 0)  # (..., grid)
        if not _is_of_another_grid(vectors, grid):
            return tensor
        resized = resize_positions(vectors.unsqueeze(0), grid)[0]
        return resized[0] if name == "bias" else resized.movedim(0, -1)


def _is_of_another_grid(vectors: Tensor, grid: list[int]) -> bool:
    """Is it (values, grid...) of a plane, or of as many axes as the grid but other sizes?"""
    return vectors.ndim in (3, 1 + len(grid)) and list(vectors.shape[1:]) != grid


class TokenMixing(nn.Module):
    """The perceptron across tokens, the same for every channel (arXiv:2105.01601, equation 1).

    Args:
        grid: Tokens along each axis.
        hidden: Values between the two layers.
        gated: Gates (SwiGLU, gates first) instead of GELU?
    """

    def __init__(self, grid: Sequence[int], hidden: int, *, gated: bool = False):
        super().__init__()
        self.gated = gated
        self.expand = TokensToHidden(grid, 2 * hidden if gated else hidden)
        self.contract = HiddenToTokens(hidden, grid)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        hidden = self.expand(tokens.transpose(1, 2))  # (B, C, hidden), or twice as many
        if self.gated:
            gate, through = hidden.chunk(2, dim=-1)
            hidden = functional.silu(gate) * through
        else:
            hidden = functional.gelu(hidden)
        return self.contract(hidden).transpose(1, 2)


class MixerBlock(nn.Module):
    """Token mixing, then channel mixing, pre-norm and residual (arXiv:2105.01601, equation 1).

    Args:
        grid: Tokens along each axis.
        width: Channels C of a token.
        token_dim: Values inside the token mixing.
        hidden: Channels inside the channel mixing.
        gated: Gates (SwiGLU) instead of GELU?
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the layer norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, grid: Sequence[int], width: int, token_dim: int, hidden: int, *, gated: bool,
        drop_path: float, layer_scale: float | None, norm_eps: float, recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.token_mixing = TokenMixing(grid, token_dim, gated=gated)
        self.scale1 = branch_scale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.channel_mixing = (SwiGlu if gated else FeedForward)(width, hidden)
        self.scale2 = branch_scale(width, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._branches, tokens)
        return self._branches(tokens)

    def _branches(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.scale1(self.token_mixing(self.norm1(tokens))))
        return tokens + self.drop_path(self.scale2(self.channel_mixing(self.norm2(tokens))))


class MlpMixer(nn.Module):
    """MLP-Mixer encoder: every map has the stride of the patch, every token reaches every other.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels, the only one that is taken.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token along each axis; a number, or one an axis.
        embed_dim: Channels of a token.
        depth: Mixer blocks.
        token_dim: Values inside the token mixing; half of ``embed_dim`` where absent.
        mlp_dim: Channels inside the channel mixing; 4 x ``embed_dim`` where absent.
        gated: Gates (SwiGLU) in both mixings instead of GELU, as in gMixer?
        stem_norm: Is there a layer norm after the patch embedding?
        taps: After how many blocks a map is taken, ascending; the last is ``depth`` and comes
            after the final norm. Four at even distances where absent (fewer if depth is less).
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        layer_scale: Starting factor of residual branches; None for no factor.
        norm_eps: Epsilon of the layer norms.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide or taps do not fit the depth.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        patch_size: int | Sequence[int] = 16,
        embed_dim: int = 768,
        depth: int = 12,
        token_dim: int | None = None,
        mlp_dim: int | None = None,
        gated: bool = False,
        stem_norm: bool = False,
        taps: Sequence[int] | None = None,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        patch = as_tuple(patch_size, spatial_dims, "patch_size")
        self.roi_size = list(as_tuple(roi_size, spatial_dims, "roi_size"))
        self.in_channels = in_channels
        self.taps = checked_taps(taps, depth)
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (patch,) * len(self.taps)

        grid = token_grid(self.roi_size, patch)
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.embed = convolution(in_channels, embed_dim, patch, stride=patch)
        self.embed_norm = nn.LayerNorm(embed_dim, eps=norm_eps) if stem_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            MixerBlock(
                grid, embed_dim, token_dim or max(embed_dim // 2, 1), mlp_dim or 4 * embed_dim,
                gated=gated, drop_path=drop_path * n / max(depth - 1, 1), layer_scale=layer_scale,
                norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        require_input(x, self.in_channels, [1] * len(self.roi_size))
        if list(x.shape[2:]) != self.roi_size:
            raise ValueError(
                f"input of {list(x.shape[2:])} voxels: this Mixer is laid out for roi_size "
                f"{self.roi_size} alone; give it windows of that shape"
            )
        embedded = self.embed(x)  # (B, E, grid)
        tokens = self.embed_norm(embedded.flatten(2).transpose(1, 2))  # (B, N, E)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            if n + 1 == len(self.blocks):
                tokens = self.norm(tokens)
            if n + 1 in self.taps:
                maps.append(tokens.transpose(1, 2).reshape(embedded.shape))
        return maps


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
