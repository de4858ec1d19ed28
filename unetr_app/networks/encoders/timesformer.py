"""TimeSformer as an encoder of volumes: depth takes the place of time.

Bertasius et al. 2021 (arXiv:2102.05095, section 3): a vision transformer for slices whose tokens
also look at the tokens of the same place in other slices. Three ways of attention (its figure 2):

* ``divided``: in each block first over depth, then within the slice.
* ``joint``: over all tokens of the volume at once.
* ``space``: within the slice alone, so that slices never meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.choices import require_choice
from unetr_app.networks.inflation import resize_positions
from unetr_app.networks.layers import SelfAttention, head_width, initialise_linear
from unetr_app.networks.patches import require_input, token_grid
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.taps import checked_taps
from unetr_app.networks.transformer_block import BlockLayers
from unetr_app.networks.tuples import as_tuple

ATTENTIONS = ("divided", "joint", "space")


class SpaceBlock(BlockLayers):
    """Attention within each slice and a feed-forward, with residual branches."""

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, D, P + N, C) to the same: D slices of P prefix tokens and N patches."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._branches, tokens)
        return self._branches(tokens)

    def _branches(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path(self.scale1(self._within_slices(tokens)))
        return tokens + self.drop_path(self.scale2(self.feed_forward(self.norm2(tokens))))

    def _within_slices(self, tokens: Tensor) -> Tensor:
        mixed = self.attention(self.norm1(tokens).flatten(0, 1))  # (B D, P + N, C)
        return mixed.reshape(tokens.shape)


class SpaceTimeBlock(SpaceBlock):
    """Divided attention: over depth, then within each slice (arXiv:2102.05095, section 3).

    The branch over depth ends in a linear projection of its own and has no layer scale. The
    projection starts at zero, so that slices meet only as training finds a use for it. Prefix
    tokens take no part in it. In the slices each has a copy of them, and what attention adds to
    the copies is averaged over the slices, so that they stay one.

    Args:
        width: Channels C of a token.
        num_heads: Attention heads, of both attentions.
        hidden: Channels inside the feed-forward.
        prefixes: Prefix tokens P.
        shared_prefix: Average the prefix tokens over the slices? Otherwise each keeps its own.
        options: The further arguments of `BlockLayers`.
    """

    def __init__(
        self, width: int, num_heads: int, hidden: int, *, prefixes: int, shared_prefix: bool,
        **options: Any,
    ):  # fmt: skip
        super().__init__(width, num_heads, hidden, **options)
        self.prefixes = prefixes
        self.average = shared_prefix and prefixes > 0
        self.temporal_norm = nn.LayerNorm(width, eps=options["norm_eps"])
        self.temporal_attention = SelfAttention(width, num_heads, qkv_bias=options["qkv_bias"])
        self.temporal_project = nn.Linear(width, width)

    def _branches(self, tokens: Tensor) -> Tensor:
        prefix, patches = tokens[:, :, : self.prefixes], tokens[:, :, self.prefixes :]
        patches = patches + self.drop_path(self._over_depth(patches))
        tokens = torch.cat((prefix, patches), dim=2)
        spatial = self._within_slices(tokens)
        if self.average:
            mean = spatial[:, :, : self.prefixes].mean(1, keepdim=True)  # (B, 1, P, C)
            spatial = torch.cat((mean.expand_as(prefix), spatial[:, :, self.prefixes :]), dim=2)
        tokens = tokens + self.drop_path(self.scale1(spatial))
        return tokens + self.drop_path(self.scale2(self.feed_forward(self.norm2(tokens))))

    def _over_depth(self, patches: Tensor) -> Tensor:
        lines = self.temporal_norm(patches).transpose(1, 2)  # (B, N, D, C)
        mixed = self.temporal_attention(lines.flatten(0, 1)).reshape(lines.shape)
        return self.temporal_project(mixed).transpose(1, 2)


class TimeSformer(nn.Module):
    """TimeSformer encoder: every map has the stride of the patch.

    Positions are learned in plane and over depth and added to each other. In ``space`` attention
    there are none over depth: each slice passes as if it were alone, with prefix tokens of its own,
    and the maps keep all slices (the reference averages them for its classifier). In ``joint``
    attention both kinds of positions are used and all tokens share one set of prefix tokens. An
    image, ``spatial_dims=2``, is a volume of one slice.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the learned positions are laid out for; other inputs
            are taken too, their positions interpolated, bicubically in plane and linearly over
            depth.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token: a number for a square in one slice, or one an axis, which in
            volumes makes tokens of several slices.
        embed_dim: Channels of a token.
        depth: Transformer blocks.
        num_heads: Attention heads; divides ``embed_dim``.
        mlp_dim: Channels inside the feed-forward; 4 x ``embed_dim`` where absent.
        gated: A feed-forward with a gate (SwiGLU) instead of GELU?
        attention: ``"divided"``, ``"joint"`` or ``"space"``; see above.
        class_token: Is there a class token? No map shows it; tokens read it.
        register_tokens: Further tokens of that kind.
        shared_prefix: In divided attention, are class and register tokens averaged over the slices
            after each attention, as in the reference? Otherwise each slice keeps its own, so that
            without attention over depth it is exactly what a network for images makes of it.
        taps: After how many blocks a map is taken, ascending; the last is ``depth`` and comes
            after the final norm. Four at even distances where absent (fewer if depth is less).
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        layer_scale: Starting factor of the branches within slices; None for no factor.
        norm_eps: Epsilon of the layer norms.
        final_norm: Is the last map normed?
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide, taps do not fit the depth, or there is no such
            attention.
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
        attention: str = "divided",
        class_token: bool = True,
        register_tokens: int = 0,
        shared_prefix: bool = True,
        taps: Sequence[int] | None = None,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        final_norm: bool = True,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        require_choice(attention, ATTENTIONS, "attention")
        head_width(embed_dim, num_heads)  # refuses what does not divide
        if isinstance(patch_size, int):
            patch_size = (1, patch_size, patch_size)[-spatial_dims:]
        self.in_channels = in_channels
        self.patch_size = list(as_tuple(patch_size, spatial_dims, "patch_size"))
        self.taps = checked_taps(taps, depth)
        self.joint = attention == "joint"
        self.prefix = int(class_token) + register_tokens
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (tuple(self.patch_size),) * len(self.taps)

        grid = token_grid(as_tuple(roi_size, spatial_dims, "roi_size"), self.patch_size)
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.embed = convolution(in_channels, embed_dim, self.strides[0], stride=self.strides[0])
        self.positions = nn.Parameter(torch.empty(1, embed_dim, *grid[-2:]))
        slices = grid[0] if spatial_dims == 3 else 1
        self.depth_positions = (
            None if attention == "space" else nn.Parameter(torch.zeros(1, embed_dim, slices))
        )
        self.prefix_tokens = (
            nn.Parameter(torch.empty(1, self.prefix, embed_dim)) if self.prefix else None
        )
        kind: Any = SpaceBlock
        options: dict[str, Any] = {
            "qkv_bias": qkv_bias, "layer_scale": layer_scale, "norm_eps": norm_eps,
            "gated": gated, "recompute": gradient_checkpointing,
        }  # fmt: skip
        if attention == "divided":
            kind = SpaceTimeBlock
            options |= {"prefixes": self.prefix, "shared_prefix": shared_prefix}
        self.blocks = nn.ModuleList(
            kind(
                embed_dim, num_heads, mlp_dim or 4 * embed_dim,
                drop_path=drop_path * n / max(depth - 1, 1), **options,
            )
            for n in range(depth)
        )  # fmt: skip
        self.norm = nn.LayerNorm(embed_dim, eps=norm_eps) if final_norm else nn.Identity()
        self._initialise()

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        embedded = self._embed_with_positions(x)  # (B, E, D, h, w)
        tokens = embedded.flatten(3).permute(0, 2, 3, 1)  # (B, D, h w, E)
        if self.joint:
            tokens = tokens.flatten(1, 2).unsqueeze(1)  # (B, 1, D h w, E): all in one slice
        prefix = self.prefix_tokens
        if prefix is not None:
            copies = prefix.unsqueeze(1).expand(tokens.shape[0], tokens.shape[1], -1, -1)
            tokens = torch.cat((copies, tokens), dim=2)  # (B, D, P + h w, E)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens = block(tokens)
            if n + 1 == len(self.blocks):
                tokens = self.norm(tokens)
            if n + 1 in self.taps:
                patches = tokens[:, :, self.prefix :].flatten(1, 2)  # (B, D h w, E)
                feature = patches.transpose(1, 2).reshape(embedded.shape)
                maps.append(feature.squeeze(2) if x.ndim == 4 else feature)
        return maps

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A checkpoint's positions for this network's grid; its other tensors as they are.

        Args:
            name: Of the parameter.
            tensor: ``positions`` (1, C, h, w) or ``depth_positions`` (1, C, d) for any grid.
        """
        if name == "positions" and tensor.ndim == 4:
            return resize_positions(tensor, list(self.positions.shape[2:]))
        if name == "depth_positions" and tensor.ndim == 3 and self.depth_positions is not None:
            return _resize_depth(tensor, self.depth_positions.shape[2])
        return tensor

    def _embed_with_positions(self, x: Tensor) -> Tensor:
        require_input(x, self.in_channels, self.patch_size)
        embedded = self.embed(x)
        if x.ndim == 4:
            embedded = embedded.unsqueeze(2)  # (B, E, 1, h, w)
        plane = [embedded.shape[3], embedded.shape[4]]
        embedded = embedded + resize_positions(self.positions, plane).unsqueeze(2)
        over_depth = self.depth_positions
        if over_depth is not None:
            lines = _resize_depth(over_depth, embedded.shape[2])
            embedded = embedded + lines.unsqueeze(3).unsqueeze(4)
        return embedded

    def _initialise(self) -> None:
        """As the reference: attention over depth begins as nothing."""
        self.apply(initialise_linear)
        nn.init.trunc_normal_(self.positions, std=0.02)
        if self.prefix_tokens is not None:
            nn.init.trunc_normal_(self.prefix_tokens, std=0.02)
        for block in self.blocks:
            if isinstance(block, SpaceTimeBlock):
                nn.init.zeros_(block.temporal_project.weight)


def _resize_depth(positions: Tensor, slices: int) -> Tensor:
    """(1, C, d) to (1, C, slices), linearly."""
    if positions.shape[2] == slices:
        return positions
    return functional.interpolate(positions, [slices], mode="linear", align_corners=False)
