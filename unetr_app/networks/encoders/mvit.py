"""MViTv2, the multiscale vision transformer, as an encoder of volumes.

Li et al. 2022 (arXiv:2112.01526, sections 3 and 4, table 1) and its first version, Fan et al. 2021
(arXiv:2104.11227): attention itself changes the grid, by pooling its queries, and is made cheap by
pooling its keys and values more.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.inflation import resize_positions
from unetr_app.networks.layers import initialise_linear
from unetr_app.networks.multiscale_block import (
    AttentionOptions,
    BlockPlan,
    MultiscaleBlock,
    pooled_grid,
)
from unetr_app.networks.patches import require_input
from unetr_app.networks.pooling_attention import PoolMode, Residual, shortcut_pooling
from unetr_app.networks.tokens import to_map, to_tokens
from unetr_app.networks.tuples import as_tuple

Sizes = tuple[int, ...]
PerStage = Sequence[int | Sequence[int]]


@dataclass(frozen=True)
class Stage:
    """One scale of the encoder.

    Args:
        width: Channels of its attention.
        depth: Blocks.
        num_heads: Attention heads.
        stride_q: Steps of the pooled queries of its first block along each axis.
        stride_kv: Steps of the pooled keys and values of all its blocks along each axis.
    """

    width: int
    depth: int
    num_heads: int
    stride_q: Sizes
    stride_kv: Sizes


class MultiscaleVisionTransformer(nn.Module):
    """MViTv2 encoder: one map a stage, each on a coarser grid and wider than the last.

    A stage begins with a block that pools its queries by ``stride_q``. A class token, where there
    is one, sees all tokens and is seen by them; maps leave it out. With ``balance_depth`` its key
    gains ln(D) for D slices of pooled keys, which makes it weigh as much against D equal slices as
    against one: so weights of an image network give the same in every slice of a volume that is
    constant along depth.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that positions are laid out for; other inputs are taken
            too, their positions interpolated.
        spatial_dims: 2 or 3.
        embed_dims: Channels of each stage.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage.
        mlp_ratio: Channels inside the feed-forward, as multiples of those before it.
        patch_kernel: Kernel of the embedding, which overlaps where it is wider than the stride; a
            number, or one an axis (as all sizes below).
        patch_stride: Voxels from one token to the next.
        patch_padding: Zeros around the image; half the kernel where absent, none for a kernel as
            wide as the stride.
        stride_q: Steps of the pooled queries in the first block of each stage; for each stage a
            number or one an axis.
        stride_kv: Steps of the pooled keys and values in all blocks of each stage.
        kernel_q: Kernel that pools queries, odd.
        kernel_kv: Kernel that pools keys and values, odd.
        pool: How kernels pool: ``conv`` (depth-wise convolution, then norm), ``max``, ``average``.
        pool_every_query: Are queries pooled in blocks that keep the grid, too?
        expand_in_attention: Does attention in the first block of a stage widen the tokens to it,
            or the feed-forward in the last block of the stage before? With the latter a map has
            the channels of the next stage.
        residual_pooling: Whose pooled queries are added to what attention gives: of ``all``
            tokens, of those on the ``grid`` (not the class token), or of ``none``.
        relative_positions: Does attention know displacements along each axis?
        absolute_positions: Are learned positions added to the embedding?
        class_token: Is there a class token?
        balance_depth: Does its key gain ln(D)?
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        layer_scale: Starting factor of residual branches; None for no factor.
        norm_eps: Epsilon of the layer norms.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide, or there are not as many of one as of another.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        embed_dims: Sequence[int] = (96, 192, 384, 768),
        depths: Sequence[int] = (1, 2, 11, 2),
        num_heads: Sequence[int] = (1, 2, 4, 8),
        mlp_ratio: float = 4.0,
        patch_kernel: int | Sequence[int] = 7,
        patch_stride: int | Sequence[int] = 4,
        patch_padding: int | Sequence[int] | None = None,
        stride_q: PerStage = (1, 2, 2, 2),
        stride_kv: PerStage = (4, 2, 1, 1),
        kernel_q: int | Sequence[int] = 3,
        kernel_kv: int | Sequence[int] = 3,
        pool: PoolMode = "conv",
        pool_every_query: bool = True,
        expand_in_attention: bool = True,
        residual_pooling: Residual = "all",
        relative_positions: bool = True,
        absolute_positions: bool = False,
        class_token: bool = False,
        balance_depth: bool = True,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        _require_one_a_stage(
            embed_dims=embed_dims, depths=depths, num_heads=num_heads, stride_q=stride_q,
            stride_kv=stride_kv,
        )  # fmt: skip
        steps = [as_tuple(step, spatial_dims, "stride_q") for step in stride_q]
        steps_kv = [as_tuple(step, spatial_dims, "stride_kv") for step in stride_kv]
        kernel = as_tuple(patch_kernel, spatial_dims, "patch_kernel")
        stride = as_tuple(patch_stride, spatial_dims, "patch_stride")
        self.strides = tuple(itertools.accumulate([stride, *steps], _times))[1:]
        self.stride = list(self.strides[-1])
        self.ends = list(itertools.accumulate(depths))  # after these blocks maps are taken
        self.prefix = int(class_token)
        grid = _token_grid(as_tuple(roi_size, spatial_dims, "roi_size"), stride, self.strides[-1])
        options = AttentionOptions(
            kernel_q=as_tuple(kernel_q, spatial_dims, "kernel_q"),
            kernel_kv=as_tuple(kernel_kv, spatial_dims, "kernel_kv"),
            pool=pool, pool_every_query=pool_every_query, residual=residual_pooling,
            relative_positions=relative_positions, class_token=class_token,
            balance_depth=balance_depth and spatial_dims == 3, qkv_bias=qkv_bias,
            norm_eps=norm_eps,
        )  # fmt: skip
        rows = zip(embed_dims, depths, num_heads, steps, steps_kv, strict=True)
        stages = [Stage(*row) for row in rows]
        plans = list(_plan_blocks(stages, grid, expand_in_attention=expand_in_attention))
        self.in_channels = in_channels
        self.channels = tuple(plans[end - 1].channels_out for end in self.ends)

        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        padding = _padding(kernel, stride, patch_padding)
        self.embed = convolution(in_channels, embed_dims[0], kernel, stride, padding)
        self.class_token = _parameter(1, 1, embed_dims[0]) if class_token else None
        self.positions = _parameter(1, embed_dims[0], *grid) if absolute_positions else None
        self.blocks = nn.ModuleList(
            MultiscaleBlock(
                plan, options.build(plan), shortcut_pooling(plan.stride_q, class_token=class_token),
                mlp_ratio=mlp_ratio, drop_path=drop_path * n / max(len(plans) - 1, 1),
                layer_scale=layer_scale, norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n, plan in enumerate(plans)
        )  # fmt: skip
        self.norm = nn.LayerNorm(self.channels[-1], eps=norm_eps)
        self.apply(initialise_linear)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, channels, grid...) map a stage."""
        require_input(x, self.in_channels, self.stride)
        embedded = self.embed(x)  # (B, E, grid)
        grid = list(embedded.shape[2:])
        if self.positions is not None:
            embedded = embedded + resize_positions(self.positions, grid)
        tokens = to_tokens(embedded)  # (B, N, E)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            tokens, grid = block(tokens, grid)
            if n + 1 == len(self.blocks):
                tokens = self.norm(tokens)
            if n + 1 in self.ends:
                maps.append(to_map(tokens[:, self.prefix :], grid))
        return maps

    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A checkpoint's tensor, perhaps of an image or for another grid, in the shape of ours."""
        if name == "positions" and self.positions is not None:
            return resize_positions(tensor, list(self.positions.shape[2:]))
        return tensor


def _plan_blocks(
    stages: Sequence[Stage], grid: Sizes, *, expand_in_attention: bool
) -> Iterator[BlockPlan]:
    """The sizes of every block, from the grid of the embedding on."""
    enter = stages[0].width
    following = [*stages[1:], stages[-1]]
    for stage, next_stage in zip(stages, following, strict=True):
        for n in range(stage.depth):
            last = n + 1 == stage.depth
            leave = next_stage.width if last and not expand_in_attention else stage.width
            stride_q = stage.stride_q if n == 0 else (1,) * len(grid)
            yield BlockPlan(
                enter, stage.width, leave, stage.num_heads, grid, stride_q, stage.stride_kv
            )
            enter, grid = leave, pooled_grid(grid, stride_q)


def _require_one_a_stage(**sizes: Sequence[Any]) -> None:
    counts = {name: len(each) for name, each in sizes.items()}
    if len(set(counts.values())) > 1 or min(counts.values()) < 1:
        raise InvalidRequest(
            f"there must be as many {', '.join(counts)} as stages, not {list(counts.values())}"
        )
    if min(sizes["depths"]) < 1:
        raise InvalidRequest(f"depths {list(sizes['depths'])} must be at least 1 each")


def _token_grid(roi_size: Sizes, stride: Sizes, coarsest: Sizes) -> Sizes:
    if any(n % s for n, s in zip(roi_size, coarsest, strict=True)):
        raise InvalidRequest(
            f"roi_size {roi_size} is no multiple of the coarsest stride {coarsest}",
            cure="Choose a roi_size that it divides, or smaller strides.",
        )
    return tuple(n // s for n, s in zip(roi_size, stride, strict=True))


def _padding(kernel: Sizes, stride: Sizes, padding: int | Sequence[int] | None) -> Sizes:
    """Zeros around the image, so many that there is a token for every step of the stride."""
    if padding is None:
        zeros = tuple(0 if k == s else (k - 1) // 2 for k, s in zip(kernel, stride, strict=True))
    else:
        zeros = (padding,) * len(kernel) if isinstance(padding, int) else tuple(padding)
    if len(zeros) != len(kernel) or any(
        not k - s <= 2 * p < k for k, s, p in zip(kernel, stride, zeros, strict=True)
    ):
        raise InvalidRequest(
            f"patch_kernel {kernel} with patch_padding {zeros} gives not one token for each step "
            f"of patch_stride {stride}",
            cure="Choose an odd patch_kernel and leave patch_padding out.",
        )
    return zeros


def _times(one: Sizes, other: Sizes) -> Sizes:
    return tuple(a * b for a, b in zip(one, other, strict=True))


def _parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
