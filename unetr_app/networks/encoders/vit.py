"""The vision transformer as an encoder of volumes.

Dosovitskiy et al. 2020 (arXiv:2010.11929, equations 1 to 4) in two or three dimensions, with maps
taken after several blocks as UNETR does (Hatamizadeh et al. 2021, arXiv:2103.10504, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import DropPath, FeedForward, LayerScale, SelfAttention
from unetr_app.networks.tuples import as_tuple


class TransformerBlock(nn.Module):
    """Pre-norm attention and feed-forward with residual branches (arXiv:2010.11929, eq. 2, 3).

    Args:
        width: Channels C of a token.
        num_heads: Attention heads.
        hidden: Channels inside the feed-forward.
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the layer norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, qkv_bias: bool, drop_path: float,
        layer_scale: float | None, norm_eps: float, recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        scale = nn.Identity if layer_scale is None else lambda: LayerScale(width, layer_scale)
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = SelfAttention(width, num_heads, qkv_bias=qkv_bias)
        self.scale1 = scale()
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = FeedForward(width, hidden)
        self.scale2 = scale()
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) to (B, N, C)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return checkpoint(self._branches, tokens, use_reentrant=False)  # pyright: ignore[reportReturnType]
        return self._branches(tokens)

    def _branches(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.scale1(self.attention(self.norm1(tokens))))
        return tokens + self.drop_path(self.scale2(self.feed_forward(self.norm2(tokens))))


class VisionTransformer(nn.Module):
    """ViT encoder: every map has the stride of the patch, all tokens see each other.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the learned positions are laid out for; other inputs
            are taken too, their positions interpolated.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token along each axis; a number, or one an axis.
        embed_dim: Channels of a token.
        depth: Transformer blocks.
        num_heads: Attention heads; divides ``embed_dim``.
        mlp_dim: Channels inside the feed-forward; 4 x ``embed_dim`` where absent.
        taps: After how many blocks a map is taken, ascending; the last is ``depth`` and comes
            after the final norm. Four at even distances where absent (fewer if depth is less).
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
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_dim: int | None = None,
        taps: Sequence[int] | None = None,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        self.patch_size = list(as_tuple(patch_size, spatial_dims, "patch_size"))
        self.taps = _checked_taps(taps, depth)
        if num_heads < 1 or embed_dim % num_heads:
            raise InvalidRequest(f"embed_dim {embed_dim} is no multiple of num_heads {num_heads}")
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (tuple(self.patch_size),) * len(self.taps)

        grid = self._token_grid(as_tuple(roi_size, spatial_dims, "roi_size"))
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.embed = convolution(in_channels, embed_dim, self.strides[0], stride=self.strides[0])
        self.positions = nn.Parameter(torch.empty(1, embed_dim, *grid))
        self.blocks = nn.ModuleList(
            TransformerBlock(
                embed_dim, num_heads, mlp_dim or 4 * embed_dim, qkv_bias=qkv_bias,
                drop_path=drop_path * n / max(depth - 1, 1), layer_scale=layer_scale,
                norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps)
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        embedded = self._embed_with_positions(x)  # (B, E, grid)
        tokens = embedded.flatten(2).transpose(1, 2)  # (B, N, E)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            if n + 1 == len(self.blocks):
                tokens = self.norm(tokens)
            if n + 1 in self.taps:
                maps.append(tokens.transpose(1, 2).reshape(embedded.shape))
        return maps

    def _embed_with_positions(self, x: Tensor) -> Tensor:
        for n, patch in enumerate(self.patch_size):
            if x.shape[2 + n] % patch != 0:
                raise ValueError(
                    f"input of {x.shape[2:]} voxels is no multiple of the patch "
                    f"{self.patch_size}: crop or pad it"
                )
        embedded = self.embed(x)
        positions = self.positions
        if embedded.shape[2:] != positions.shape[2:]:
            mode = "trilinear" if x.ndim == 5 else "bicubic"
            positions = functional.interpolate(positions, embedded.shape[2:], mode=mode)
        return embedded + positions

    def _token_grid(self, roi_size: tuple[int, ...]) -> tuple[int, ...]:
        if any(n % p or n < p for n, p in zip(roi_size, self.patch_size, strict=True)):
            raise InvalidRequest(
                f"roi_size {roi_size} is no multiple of patch_size {self.patch_size}",
                cure="Choose a roi_size that each patch axis divides.",
            )
        return tuple(n // p for n, p in zip(roi_size, self.patch_size, strict=True))


def _checked_taps(taps: Sequence[int] | None, depth: int) -> list[int]:
    if taps is None:
        count = min(4, depth)
        taps = [round(depth * (n + 1) / count) for n in range(count)]
    ascending = sorted(set(taps)) == list(taps)
    if not taps or not ascending or taps[0] < 1 or taps[-1] != depth:
        raise InvalidRequest(
            f"taps {list(taps)} do not fit {depth} blocks",
            cure=f"Give ascending block counts from 1, the last one {depth}.",
        )
    return list(taps)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
