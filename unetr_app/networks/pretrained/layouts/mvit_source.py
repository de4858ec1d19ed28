"""From an MViT's tensors under our names, and what no tensor tells, to a `Source`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.layouts.mvit_shapes import (
    BlockShapes,
    pool_kernel,
    shape_options,
)
from unetr_app.networks.pretrained.source import Checkpoint, Renamed, Source

Sizes = tuple[int, ...]

_POOLED_QUERY = re.compile(r"blocks\.(\d+)\.attention\.pool_query\.pool\.weight$")


@dataclass(frozen=True)
class MvitFacts:
    """What no tensor of an MViT tells, for the checkpoint's own axes.

    Args:
        stride_q: Steps of the pooled queries of each stage.
        stride_kv: Steps of the pooled keys and values of each stage.
        patch_stride: Voxels from one token to the next.
        patch_padding: Zeros around the image; None for as many as keep one token a step.
        residual_pooling: ``all``, ``grid`` or ``none``; see `PoolingAttention`.
        norm_eps: Epsilon of the layer norms.
        image_size: Input shape that positions are laid out for; None where nothing says it.
        num_heads: Attention heads of each stage, where no tensor has the size of a head.
        pool: How kernels without weights pool; ``conv`` for those that have them.
        kernel: Kernel of those without weights.
        parts: Options for what the network has and the file should, such as ``class_token``.
    """

    stride_q: Sequence[Sizes]
    stride_kv: Sequence[Sizes]
    patch_stride: Sizes
    patch_padding: Sizes | None
    residual_pooling: str
    norm_eps: float
    image_size: Sizes | None
    num_heads: Sequence[int] | None = None
    pool: str = "conv"
    kernel: Sizes | None = None
    parts: Mapping[str, bool] = field(default_factory=dict)


def own_axes(value: int | Sequence[int], axes: int) -> Sizes:
    """A size for the checkpoint's axes, of a number or of a size for its axes or more."""
    sizes = (value,) * axes if isinstance(value, int) else tuple(int(n) for n in value)
    return sizes[-axes:]


def open_facts(checkpoint: Checkpoint, **found: Any) -> UnusableWeights:
    """The error that asks for every fact that was not found.

    Args:
        checkpoint: Whose they are.
        found: By the names of the arguments that a caller passes; None for those not found.
    """
    names = [name for name, value in found.items() if value is None]
    each = " (stride_q and stride_kv one a stage)" if {"stride_q", "stride_kv"} & {*names} else ""
    return UnusableWeights(
        f"nothing says what {', '.join(names)} should be: the tensors leave it open",
        cure=f"Pass {', '.join(f'{name}=...' for name in names)}{each}, or put the config.json of "
        "the checkpoint beside it.",
        path=checkpoint.path,
    )


def axis_table(name: str, axis: int, checkpoint: Checkpoint, axes: int) -> str:
    """Our name of a block's table of relative positions, after the block's name.

    Args:
        name: The block, with its dot.
        axis: Of the checkpoint's, from 0.
        checkpoint: Asks for as many axes as it does.
        axes: How many the checkpoint has.
    """
    return f"{name}attention.positions.{axis + max(checkpoint.spatial_dims - axes, 0)}.table"


def mvit_source(
    checkpoint: Checkpoint,
    layout: str,
    renamed: Renamed,
    blocks: Sequence[BlockShapes],
    starts: Sequence[int],
    facts: MvitFacts,
) -> Source:
    """The checkpoint told as our ``mvit``.

    Weights of images get relative positions along depth that add nothing, and a class token that
    weighs as much against D slices as against one. Along depth all strides are as in plane.

    Args:
        checkpoint: As it was read.
        layout: Whose names it has.
        renamed: Its tensors under our names.
        blocks: The sizes of its blocks.
        starts: The blocks that begin a stage.
        facts: What no tensor tells.

    Raises:
        UnusableWeights: If its blocks make no MViT.
    """
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    embed = tensors["embed.weight"]  # (E, C, k...)
    axes = embed.ndim - 2
    options = shape_options(tensors, blocks, starts)
    options |= {name: True for name, said in facts.parts.items() if said}
    options |= {
        "num_heads": _heads(blocks, starts, facts.num_heads),
        "balance_depth": axes == 2,
        **_strides(checkpoint, embed, facts),
        **_pooling(checkpoint, tensors, starts, facts),
        "residual_pooling": facts.residual_pooling,
        "norm_eps": facts.norm_eps,
    }
    if axes < checkpoint.spatial_dims and options["relative_positions"]:
        for n, block in enumerate(blocks):
            depth = f"blocks.{n}.attention.positions.0.table"
            tensors[depth], origins[depth] = embed.new_zeros(1, block.head or 1), ""
    return Source(
        layout=layout,
        encoder="mvit",
        spatial_dims=axes,
        in_channels=int(embed.shape[1]),
        options=options,
        tensors=tensors,
        origins=origins,
        skipped=renamed.skipped,
        image_size=facts.image_size,
        multiple=checkpoint.per_axis(
            [math.prod(steps) for steps in zip(facts.patch_stride, *facts.stride_q, strict=True)]
        ),
    )


def _heads(
    blocks: Sequence[BlockShapes], starts: Sequence[int], told: Sequence[int] | None
) -> list[int]:
    heads: list[int] = []
    for stage, start in enumerate(starts):
        block = blocks[start]
        if block.head is not None:
            heads.append(block.width // block.head)
        elif told is not None and stage < len(told):
            heads.append(int(told[stage]))
        else:
            raise UnusableWeights(
                "no tensor tells how many attention heads there are",
                cure="Pass num_heads=[one a stage], or put the checkpoint's config.json beside it.",
            )
    return heads


def _strides(checkpoint: Checkpoint, embed: Tensor, facts: MvitFacts) -> dict[str, Any]:
    kernel = tuple(int(n) for n in embed.shape[2:])
    told: dict[str, Any] = {
        "patch_kernel": checkpoint.per_axis(kernel),
        "patch_stride": checkpoint.per_axis(facts.patch_stride),
        "stride_q": [checkpoint.per_axis(stride) for stride in facts.stride_q],
        "stride_kv": [checkpoint.per_axis(stride) for stride in facts.stride_kv],
    }
    usual = [0 if k == s else (k - 1) // 2 for k, s in zip(kernel, facts.patch_stride, strict=True)]
    if facts.patch_padding is not None and list(facts.patch_padding) != usual:
        told["patch_padding"] = checkpoint.per_axis(facts.patch_padding)
    return told


def _pooling(
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    starts: Sequence[int],
    facts: MvitFacts,
) -> dict[str, Any]:
    """How kernels pool. An average over depth would count the zeros around it: of one slice."""
    if facts.pool == "conv":
        kernels = [pool_kernel(tensors, what) or (1,) for what in ("query", "key")]
        pooled = {int(m[1]) for m in map(_POOLED_QUERY.match, tensors) if m}
        coarser = {n for n, step in zip(starts, facts.stride_q, strict=False) if max(step) > 1}
        every_query = bool(pooled - coarser)
    else:
        kernel = facts.kernel or (1,)
        deeper = checkpoint.spatial_dims - len(facts.patch_stride)
        if facts.pool == "average" and deeper > 0:
            kernel = (1,) * deeper + kernel
        kernels, every_query = [kernel, kernel], True
    kernel_q, kernel_kv = (checkpoint.per_axis(kernel) for kernel in kernels)
    return {
        "pool": facts.pool,
        "kernel_q": kernel_q,
        "kernel_kv": kernel_kv,
        "pool_every_query": every_query,
    }
