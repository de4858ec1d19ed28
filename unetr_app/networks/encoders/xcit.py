"""XCiT, the cross-covariance image transformer, as an encoder of volumes.

El-Nouby et al. 2021 (arXiv:2106.09681): attention between channels instead of tokens, so that its
cost grows with the number of tokens and not with its square, and depth-wise convolutions through
which neighbours see each other. The paper's class-attention layers serve a class token alone: a
dense encoder has none.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import (
    DropPath,
    FeedForward,
    branch_scale,
    head_width,
    initialise_linear,
)
from unetr_app.networks.patches import require_input, token_grid
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.taps import checked_taps
from unetr_app.networks.tuples import as_tuple

_WAVES = 32  # sines and cosines of each axis


class FourierPositions(nn.Module):
    """Sines and cosines of each token's place, projected to its channels (arXiv:2106.09681, 3.3).

    A place is the token's number over the number of tokens, so that any grid is taken. The columns
    of the weight are those of the axes H and W, then of D.

    Args:
        width: Channels C of a token.
        spatial_dims: Axes, 2 or 3.
    """

    def __init__(self, width: int, spatial_dims: int):
        super().__init__()
        self.waves = _WAVES  # TorchScript knows attributes, not constants of a module
        columns = _WAVES * spatial_dims
        self.weight = nn.Parameter(torch.empty(width, columns, *(1,) * spatial_dims))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.weight, std=columns**-0.5)

    def forward(self, grid: list[int]) -> Tensor:
        """Tokens along each axis to (C, grid...)."""
        columns = self.weight.flatten(1).chunk(len(grid), dim=1)  # each (C, waves)
        shape = [1] * (1 + len(grid))
        shape[0] = -1
        positions = self.bias.reshape(shape)
        for axis, count in enumerate(grid):
            line = columns[(axis + 2) % len(grid)] @ self._waves(count)  # (C, count)
            shape[1 + axis] = count
            positions = positions + line.reshape(shape)
            shape[1 + axis] = 1
        return positions

    def _waves(self, count: int) -> Tensor:
        """(waves, count): sine and cosine by turns, of growing periods."""
        device = self.weight.device
        places = torch.arange(1, count + 1, device=device).to(torch.float32)
        places = places / (count + 1e-6) * (2 * math.pi)
        steps = torch.arange(0, 1, 2 / self.waves, device=device, dtype=torch.float32)
        angles = places / (10000.0**steps).unsqueeze(1)  # (waves / 2, count)
        return torch.stack([angles.sin(), angles.cos()], dim=1).flatten(0, 1).to(self.weight.dtype)

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A weight (C, 64, 1, 1) for images, with zeros for the waves along depth."""
        if name != "weight" or tensor.shape[1:] != (2 * _WAVES, 1, 1) or self.weight.ndim != 5:
            return tensor
        return functional.pad(tensor.unsqueeze(2), [0, 0, 0, 0, 0, 0, 0, _WAVES])


class CrossCovarianceAttention(nn.Module):
    """Attention between the channels of each head (arXiv:2106.09681, section 3.2, equation 2).

    Queries and keys have unit length over the tokens; a learned temperature a head sharpens their
    products.

    Args:
        width: Channels C of a token; a multiple of ``num_heads``.
        num_heads: Attention heads.
        qkv_bias: Do queries, keys and values have a bias?
    """

    def __init__(self, width: int, num_heads: int, *, qkv_bias: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        batch, count, width = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 4, 1).unbind(0)  # each (B, heads, C / heads, N)
        query = functional.normalize(query, dim=-1) * self.temperature
        key = functional.normalize(key, dim=-1)
        mixed = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.project(mixed.permute(0, 3, 1, 2).reshape(batch, count, width))


class LocalPatchInteraction(nn.Module):
    """Two depth-wise convolutions of 3 taps, GELU and a batch norm between (section 3.3).

    Args:
        width: Channels C.
        spatial_dims: 2 or 3.
    """

    def __init__(self, width: int, spatial_dims: int):
        super().__init__()
        convolution, norm = _layers(spatial_dims)
        self.convolution1 = convolution(width, width, 3, padding=1, groups=width)
        self.norm = norm(width)
        self.convolution2 = convolution(width, width, 3, padding=1, groups=width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, grid...) to (B, C, grid...)."""
        return self.convolution2(self.norm(functional.gelu(self.convolution1(features))))


class ConvolutionalStem(nn.Module):
    """Patch embedding by convolutions of 3 taps, each with a batch norm, GELU between.

    Their widths double up to the tokens' (arXiv:2106.09681, section 3.3). An axis with a smaller
    patch than others is halved by the last of them alone.

    Args:
        in_channels: Channels of the input.
        width: Channels C of a token.
        patch: Voxels of a token along each axis, powers of two.
        layers: Convolutions; as many as halve the longest side of the patch, or more.
    """

    def __init__(self, in_channels: int, width: int, patch: tuple[int, ...], layers: int):
        super().__init__()
        convolution, norm = _layers(len(patch))
        steps: list[nn.Module] = []
        for n in range(layers):
            before = in_channels if n == 0 else width >> (layers - n)
            after = width >> (layers - n - 1)
            stride = tuple(2 if 2 ** (layers - n) <= p else 1 for p in patch)
            steps.append(
                nn.Sequential(
                    OrderedDict(
                        convolution=convolution(before, after, 3, stride, padding=1, bias=False),
                        norm=norm(after),
                    )
                )
            )
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, spatial...) to (B, C, grid...)."""
        for n, step in enumerate(self.steps):
            x = step(x if n == 0 else functional.gelu(x))
        return x


class XCiTBlock(nn.Module):
    """Cross-covariance attention, local patch interaction, feed-forward (arXiv:2106.09681, fig. 1).

    Args:
        width: Channels C of a token.
        num_heads: Attention heads.
        hidden: Channels inside the feed-forward.
        spatial_dims: 2 or 3.
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the layer norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, spatial_dims: int, qkv_bias: bool,
        drop_path: float, layer_scale: float | None, norm_eps: float, recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = CrossCovarianceAttention(width, num_heads, qkv_bias=qkv_bias)
        self.scale1 = branch_scale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.local = LocalPatchInteraction(width, spatial_dims)
        self.scale2 = branch_scale(width, layer_scale)
        self.norm3 = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = FeedForward(width, hidden)
        self.scale3 = branch_scale(width, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, shape: list[int]) -> Tensor:
        """(B, N, C) to (B, N, C); ``shape`` is that of the map, (B, C, grid...)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._branches, tokens, shape)
        return self._branches(tokens, shape)

    def _branches(self, tokens: Tensor, shape: list[int]) -> Tensor:
        tokens = tokens + self.drop_path(self.scale1(self.attention(self.norm1(tokens))))
        features = self.norm2(tokens).transpose(1, 2).reshape(shape)  # (B, C, grid)
        local = self.local(features).flatten(2).transpose(1, 2)
        tokens = tokens + self.drop_path(self.scale2(local))
        return tokens + self.drop_path(self.scale3(self.feed_forward(self.norm3(tokens))))


class XCiT(nn.Module):
    """XCiT encoder: every map has the stride of the patch, all tokens see each other.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the patch must divide; other such inputs are taken too.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token along each axis, powers of two; a number, or one an axis.
        embed_dim: Channels of a token.
        depth: Cross-covariance blocks.
        num_heads: Attention heads; divides ``embed_dim``.
        mlp_dim: Channels inside the feed-forward; 4 x ``embed_dim`` where absent.
        stem_layers: Convolutions of the patch embedding; as many as halve the longest side of the
            patch where absent. More of them let weights for larger patches serve smaller ones.
        positions: Are Fourier positions added to the tokens?
        taps: After how many blocks a map is taken, ascending; the last is ``depth``. Four at even
            distances where absent (fewer if depth is less).
        qkv_bias: Do queries, keys and values have a bias?
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
        embed_dim: int = 384,
        depth: int = 12,
        num_heads: int = 8,
        mlp_dim: int | None = None,
        stem_layers: int | None = None,
        positions: bool = True,
        taps: Sequence[int] | None = None,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = 1.0,
        norm_eps: float = 1e-6,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        patch = as_tuple(patch_size, spatial_dims, "patch_size")
        head_width(embed_dim, num_heads)  # refuses what does not divide
        token_grid(as_tuple(roi_size, spatial_dims, "roi_size"), patch)
        self.in_channels = in_channels
        self.patch_size = list(patch)
        self.taps = checked_taps(taps, depth)
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (patch,) * len(self.taps)

        layers = _checked_stem_layers(stem_layers, patch, embed_dim)
        self.embed = ConvolutionalStem(in_channels, embed_dim, patch, layers)
        self.positions = FourierPositions(embed_dim, spatial_dims) if positions else None
        self.blocks = nn.ModuleList(
            XCiTBlock(
                embed_dim, num_heads, mlp_dim or 4 * embed_dim, spatial_dims=spatial_dims,
                qkv_bias=qkv_bias, drop_path=drop_path * n / max(depth - 1, 1),
                layer_scale=layer_scale, norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n in range(depth)
        )  # fmt: skip
        self.apply(initialise_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        require_input(x, self.in_channels, self.patch_size)
        embedded = self.embed(x)  # (B, E, grid)
        if self.positions is not None:
            embedded = embedded + self.positions(embedded.shape[2:])
        tokens = embedded.flatten(2).transpose(1, 2)  # (B, N, E)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens, embedded.shape)
            if n + 1 in self.taps:
                maps.append(tokens.transpose(1, 2).reshape(embedded.shape))
        return maps


def _checked_stem_layers(layers: int | None, patch: tuple[int, ...], width: int) -> int:
    needed = max(patch).bit_length() - 1
    layers = max(needed, 1) if layers is None else layers
    if any(p & (p - 1) for p in patch):
        raise InvalidRequest(
            f"patch_size {patch} is not made of powers of two",
            cure="Each convolution of XCiT's patch embedding halves an axis: choose 4, 8 or 16.",
        )
    if layers < max(needed, 1):
        raise InvalidRequest(
            f"stem_layers {layers} do not reach patch_size {patch}",
            cure=f"{needed} convolutions halve an axis {needed} times: give as many or more.",
        )
    if width % 2 ** (layers - 1):
        raise InvalidRequest(
            f"embed_dim {width} cannot be halved {layers - 1} times",
            cure=f"Choose a multiple of {2 ** (layers - 1)}, or fewer stem_layers.",
        )
    return layers


def _layers(spatial_dims: int) -> tuple[Any, Any]:
    """Convolution and batch norm for as many axes."""
    return (nn.Conv3d, nn.BatchNorm3d) if spatial_dims == 3 else (nn.Conv2d, nn.BatchNorm2d)
