"""PyramidEncoder: the network that MiT (SegFormer) and PVT v2 have in common.

Each stage embeds the map before it in overlapping patches, which makes it coarser, and runs blocks
of reduced attention and Mix-FFN; every stage's map is normed and given out. Xie et al. 2021
(arXiv:2105.15203, section 3.1) and Wang et al. 2021 (arXiv:2106.13797, section 3).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import DropPath, branch_scale
from unetr_app.networks.mix_feed_forward import MixFeedForward
from unetr_app.networks.patches import require_input
from unetr_app.networks.pyramid_sizes import PerAxis, StageSizes, smallest_input, stage_sizes
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.reduced_attention import (
    KeepTokens,
    PooledReduction,
    ReducedAttention,
    StridedReduction,
)
from unetr_app.networks.tokens import to_map, to_tokens
from unetr_app.networks.tuples import as_tuple


class PyramidBlock(nn.Module):
    """Pre-norm reduced attention and Mix-FFN with residual branches.

    Args:
        sizes: Of the stage.
        linear: Pool keys and values to a fixed grid instead of reducing them by a ratio?
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop a branch in training.
        layer_scale: Starting factor of each branch; None for no factor.
        norm_eps: Epsilon of the two norms.
        conv_norm_eps: Epsilon of the norm of the reduction.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, sizes: StageSizes, *, linear: bool, qkv_bias: bool, drop_path: float,
        layer_scale: float | None, norm_eps: float, conv_norm_eps: float, recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        width, dims = sizes.width, len(sizes.ratio)
        reduction: nn.Module = KeepTokens()
        if linear:
            reduction = PooledReduction(width, dims, norm_eps=conv_norm_eps)
        elif max(sizes.ratio) > 1:
            reduction = StridedReduction(width, sizes.ratio, norm_eps=conv_norm_eps)
        self.norm1 = nn.LayerNorm(width, eps=norm_eps)
        self.attention = ReducedAttention(width, sizes.num_heads, reduction, qkv_bias=qkv_bias)
        self.scale1 = branch_scale(width, layer_scale)
        self.norm2 = nn.LayerNorm(width, eps=norm_eps)
        self.feed_forward = MixFeedForward(width, sizes.hidden, dims, rectify=linear)
        self.scale2 = branch_scale(width, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) on a grid to (B, N, C)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._branches, tokens, grid)
        return self._branches(tokens, grid)

    def _branches(self, tokens: Tensor, grid: list[int]) -> Tensor:
        mixed = self.attention(self.norm1(tokens), grid)
        tokens = tokens + self.drop_path(self.scale1(mixed))
        fed = self.feed_forward(self.norm2(tokens), grid)
        return tokens + self.drop_path(self.scale2(fed))


class PyramidStage(nn.Module):
    """One level of the pyramid: overlapping patches, blocks, a norm.

    The convolution pads by half its odd kernel, so that a map whose axes its stride divides becomes
    coarser by exactly that.

    Args:
        channels_in: Channels of the map before.
        sizes: Of the stage.
        blocks: Its blocks.
        norm_eps: Epsilon of the last norm.
        conv_norm_eps: Epsilon of the embedding's norm.
    """

    def __init__(
        self, channels_in: int, sizes: StageSizes, blocks: Sequence[PyramidBlock], *,
        norm_eps: float, conv_norm_eps: float,
    ):  # fmt: skip
        super().__init__()
        convolution: Any = nn.Conv3d if len(sizes.kernel) == 3 else nn.Conv2d
        self.embed = convolution(
            channels_in, sizes.width, sizes.kernel,
            stride=sizes.step, padding=tuple(k // 2 for k in sizes.kernel),
        )  # fmt: skip
        self.embed_norm = nn.LayerNorm(sizes.width, eps=conv_norm_eps)
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(sizes.width, eps=norm_eps)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C_in, fine...) to (B, C, coarse...)."""
        embedded = self.embed(features)  # (B, C, coarse...)
        grid: list[int] = list(embedded.shape[2:])
        tokens = self.embed_norm(to_tokens(embedded))  # (B, N, C)
        for block in self.blocks:
            tokens = block(tokens, grid)
        return to_map(self.norm(tokens), grid)


class PyramidEncoder(nn.Module):
    """A pyramid of transformer stages for any input that the last stride divides.

    Every argument of stages has one entry a stage, the finest first; entries of ``patch_strides``,
    ``patch_sizes`` and ``sr_ratios`` are a number or one an axis. Strides of 1 along a coarse axis
    suit anisotropic volumes, a first stride of 2 small anatomies.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the network is meant for, checked alone: other inputs
            are taken too.
        spatial_dims: 2 or 3.
        embed_dims: Channels of each stage's map.
        depths: Blocks of each stage.
        num_heads: Attention heads of each stage; divides its ``embed_dims``.
        mlp_ratios: Channels inside the feed-forward as a multiple of ``embed_dims``; the family's
            published ones where absent.
        patch_strides: How much coarser than the map before each stage is.
        patch_sizes: Kernel of each stage's embedding, odd. Where absent 2 x stride - 1, and 3 for a
            stride of 1.
        sr_ratios: Tokens along an axis that become one key and value. Where absent as many as take
            the stage to the last map's grid. A number goes no further than that along axes that
            have a smaller stride in the end.
        linear: Pool keys and values to 7 an axis instead (PVT v2's linear attention)?
        qkv_bias: Do queries, keys and values have a bias?
        drop_path: Chance to drop the last block's branches in training; rises linearly from 0.
        layer_scale: Starting factor of residual branches; None for no factor.
        norm_eps: Epsilon of the layer norms of blocks and stages.
        conv_norm_eps: Epsilon of the layer norms that follow a convolution, in embeddings and
            reductions.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If an argument has not one entry a stage or sizes do not fit.
    """

    published_mlp_ratios: ClassVar[tuple[float, ...]] = (4, 4, 4, 4)

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        embed_dims: Sequence[int] = (32, 64, 160, 256),
        depths: Sequence[int] = (2, 2, 2, 2),
        num_heads: Sequence[int] = (1, 2, 5, 8),
        mlp_ratios: Sequence[float] | None = None,
        patch_strides: Sequence[PerAxis] = (4, 2, 2, 2),
        patch_sizes: Sequence[PerAxis] | None = None,
        sr_ratios: Sequence[PerAxis] | None = None,
        linear: bool = False,
        qkv_bias: bool = True,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-6,
        conv_norm_eps: float = 1e-5,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        if mlp_ratios is None:
            mlp_ratios = self.published_mlp_ratios[: len(embed_dims)]
        sizes = stage_sizes(
            spatial_dims, embed_dims=embed_dims, depths=depths, num_heads=num_heads,
            mlp_ratios=mlp_ratios, patch_strides=patch_strides, patch_sizes=patch_sizes,
            sr_ratios=sr_ratios,
        )  # fmt: skip
        self.in_channels = in_channels
        self.channels = tuple(stage.width for stage in sizes)
        self.strides = tuple(stage.stride for stage in sizes)
        self.total_stride = list(self.strides[-1])
        self.least_input = list(smallest_input(sizes, linear=linear))
        self._require_fit(as_tuple(roi_size, spatial_dims, "roi_size"))
        self.stages = _stages(
            in_channels, sizes, drop_path, linear=linear, qkv_bias=qkv_bias,
            layer_scale=layer_scale, norm_eps=norm_eps, conv_norm_eps=conv_norm_eps,
            recompute=gradient_checkpointing,
        )  # fmt: skip
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dims[n], grid...) map a stage."""
        require_input(x, self.in_channels, self.total_stride)
        for n, least in enumerate(self.least_input):
            if x.shape[2 + n] < least:
                raise ValueError(
                    f"input of {list(x.shape[2:])} voxels is smaller than "
                    f"{self.least_input}: pad it"
                )
        maps: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def _require_fit(self, roi_size: tuple[int, ...]) -> None:
        if any(n % s for n, s in zip(roi_size, self.total_stride, strict=True)):
            raise InvalidRequest(
                f"roi_size {roi_size} is no multiple of the last stride {self.strides[-1]}",
                cure="Choose a roi_size that it divides, or smaller patch_strides.",
            )
        if any(n < least for n, least in zip(roi_size, self.least_input, strict=True)):
            raise InvalidRequest(
                f"roi_size {roi_size} is smaller than {tuple(self.least_input)}, which sr_ratios "
                "reduce to one token",
                cure="Choose smaller sr_ratios, or none: they then follow from patch_strides.",
            )


def _stages(
    in_channels: int, sizes: Sequence[StageSizes], drop_path: float, **options: Any
) -> nn.ModuleList:
    count = sum(stage.depth for stage in sizes)
    rates = iter(drop_path * n / max(count - 1, 1) for n in range(count))
    norms = {name: options[name] for name in ("norm_eps", "conv_norm_eps")}
    stages = nn.ModuleList()
    for stage in sizes:
        blocks = [PyramidBlock(stage, drop_path=next(rates), **options) for _ in range(stage.depth)]
        stages.append(PyramidStage(in_channels, stage, blocks, **norms))
        in_channels = stage.width
    return stages


def _initialise(module: nn.Module) -> None:
    """Both papers' code: linear layers small, convolutions by what they send out."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Conv2d | nn.Conv3d):
        taps = math.prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=math.sqrt(2.0 / taps))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
