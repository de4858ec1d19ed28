"""The vision transformer as an encoder of volumes.

Dosovitskiy et al. 2020 (arXiv:2010.11929, equations 1 to 4) in two or three dimensions, with maps
taken after several blocks as UNETR does (Hatamizadeh et al. 2021, arXiv:2103.10504, section 3.1).
Register tokens are those of Darcet et al. 2023 (arXiv:2309.16588), pooling by attention that of
Zhai et al. 2021 (arXiv:2106.04560, section 3.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.choices import require_choice
from unetr_app.networks.inflation import resize_positions
from unetr_app.networks.layers import head_width, initialise_linear
from unetr_app.networks.patches import require_input, token_grid
from unetr_app.networks.pooling import AttentionPool, AveragePool
from unetr_app.networks.positions import axial_rotation, sinusoidal_positions
from unetr_app.networks.taps import checked_taps
from unetr_app.networks.transformer_block import TransformerBlock
from unetr_app.networks.tuples import as_tuple

Positions = Literal["learned", "sinusoidal", "rotary", "none"]
Pool = Literal["average", "attention", "token"]

_POSITIONS = ("learned", "sinusoidal", "rotary", "none")
_POOLS = ("average", "attention", "token")


class VisionTransformer(nn.Module):
    """ViT encoder: every map has the stride of the patch, all tokens see each other.

    Class and register tokens stand before the image's tokens and see them all; maps leave them
    out. In a volume of D slices of tokens their keys gain ln(D), which makes them weigh as much
    against D equal slices as against one: so weights of an image network give the same in every
    slice of a volume that is constant along depth.

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
        gated: A feed-forward with a gate (SwiGLU) instead of GELU?
        activation: Of a feed-forward without a gate, ``gelu`` or ``gelu_tanh``.
        taps: After how many blocks a map is taken, ascending; the last is ``depth`` and comes
            after the final norm. Four at even distances where absent (fewer if depth is less).
        positions: ``learned`` (added, interpolated for other inputs), ``sinusoidal`` (added, 3D
            sines and cosines), ``rotary`` (axial, turns queries and keys) or ``none``.
        class_token: Is there a class token?
        register_tokens: How many register tokens follow it.
        balance_depth: Do the keys of class and register tokens gain ln(D)?
        pool: What `pooled` does: ``average``, ``attention`` or ``token`` (the class token); None
            leaves the weights for it out.
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        layer_scale: Starting factor of residual branches; None for no factor.
        norm_eps: Epsilon of the layer norms.
        final_norm: Is the last map normed? Without, ``average`` and ``token`` norm after pooling.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide, taps do not fit the depth, or a name is unknown.
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
        gated: bool = False,
        activation: str = "gelu",
        taps: Sequence[int] | None = None,
        positions: Positions = "learned",
        class_token: bool = False,
        register_tokens: int = 0,
        balance_depth: bool = True,
        pool: Pool | None = None,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        final_norm: bool = True,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.patch_size = list(as_tuple(patch_size, spatial_dims, "patch_size"))
        self.taps = checked_taps(taps, depth)
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (tuple(self.patch_size),) * len(self.taps)
        self.kind: str = require_choice(positions, _POSITIONS, "positions")
        self.head_width = _head_width(embed_dim, num_heads, spatial_dims, self.kind)
        self.prefix = int(class_token) + register_tokens
        self.balance_depth = balance_depth and spatial_dims == 3 and self.prefix > 0
        hidden = mlp_dim or 4 * embed_dim

        grid = token_grid(as_tuple(roi_size, spatial_dims, "roi_size"), self.patch_size)
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.embed = convolution(in_channels, embed_dim, self.strides[0], stride=self.strides[0])
        learned = self.kind == "learned"
        self.positions = _parameter(1, embed_dim, *grid) if learned else None
        self.prefix_tokens = _parameter(1, self.prefix, embed_dim) if self.prefix else None
        self.blocks = nn.ModuleList(
            TransformerBlock(
                embed_dim, num_heads, hidden, qkv_bias=qkv_bias, gated=gated, activation=activation,
                drop_path=drop_path * n / max(depth - 1, 1), layer_scale=layer_scale,
                norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps) if final_norm else nn.Identity()
        self.apply(initialise_linear)
        self.pool = None if pool is None else require_choice(pool, _POOLS, "pool")
        if pool == "token" and not class_token:
            raise InvalidRequest("pool 'token' needs class_token=True")
        if pool == "attention":
            self.pooling = AttentionPool(
                embed_dim, num_heads, hidden, norm_eps=norm_eps, activation=activation
            )
        elif pool is not None:
            self.pooling = AveragePool(embed_dim, norm=not final_norm, norm_eps=norm_eps)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        embedded = self._embed(x)  # (B, E, grid)
        maps: list[Tensor] = []
        for tokens in self._tokens(embedded):
            tokens = tokens[:, self.prefix :]  # (B, N, E)
            maps.append(tokens.transpose(1, 2).reshape(embedded.shape))
        return maps

    @torch.jit.unused
    def pooled(self, x: Tensor) -> Tensor:
        """One feature of the whole input, by the way of ``pool``: (B, C, spatial...) to (B, E).

        Raises:
            InvalidRequest: If the encoder was built without ``pool``.
        """
        if self.pool is None:
            raise InvalidRequest(
                "this encoder has no pooling", cure=f"Build it with pool= one of {_POOLS}."
            )
        tokens = self._tokens(self._embed(x))[-1]  # (B, prefix + N, E)
        return self.pooling(tokens[:, :1] if self.pool == "token" else tokens[:, self.prefix :])

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A checkpoint's tensor, perhaps of an image or for another grid, in the shape of ours."""
        if name == "positions" and self.positions is not None:
            return resize_positions(tensor, list(self.positions.shape[2:]))
        return tensor

    def _embed(self, x: Tensor) -> Tensor:
        """(B, C, spatial...) to (B, E, grid...), learned positions added."""
        require_input(x, self.in_channels, self.patch_size)
        embedded = self.embed(x)
        positions = self.positions
        if positions is not None:
            embedded = embedded + resize_positions(positions, list(embedded.shape[2:]))
        return embedded

    def _tokens(self, embedded: Tensor) -> list[Tensor]:
        """(B, E, grid...) to the tokens of every tap, prefix tokens first: (B, P + N, E)."""
        grid = list(embedded.shape[2:])
        tokens = embedded.flatten(2).transpose(1, 2)  # (B, N, E)
        if self.kind == "sinusoidal":
            tokens = tokens + sinusoidal_positions(tokens.shape[2], grid, tokens)
        prefix = self.prefix_tokens
        if prefix is not None:
            tokens = torch.cat([prefix.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        bias: Tensor | None = None
        if self.balance_depth:
            bias = torch.zeros([1, 1, 1, tokens.shape[1]], dtype=tokens.dtype, device=tokens.device)
            bias[..., : self.prefix] = math.log(grid[0])
        rotation: Tensor | None = None
        if self.kind == "rotary":
            rotation = axial_rotation(self.head_width, grid, self.prefix, tokens)
        taken: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens, bias, rotation)
            if n + 1 == len(self.blocks):
                tokens = self.norm(tokens)
            if n + 1 in self.taps:
                taken.append(tokens)
        return taken


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))


def _head_width(embed_dim: int, num_heads: int, spatial_dims: int, positions: str) -> int:
    width = head_width(embed_dim, num_heads)
    if positions == "rotary" and (width % 2 or width < 2 * spatial_dims):
        raise InvalidRequest(
            f"rotary positions need an even head width of at least {2 * spatial_dims}, not {width}",
            cure="Choose fewer num_heads or a larger embed_dim.",
        )
    return width
