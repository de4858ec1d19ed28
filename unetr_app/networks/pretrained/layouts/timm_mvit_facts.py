"""What no tensor of timm's MViTv2 tells: from its configuration, or what the published sizes share.

The names are those of timm's ``MultiScaleVitCfg``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.layouts.mvit_shapes import BlockShapes
from unetr_app.networks.pretrained.layouts.mvit_source import (
    MvitFacts,
    open_facts,
    own_axes,
)
from unetr_app.networks.pretrained.layouts.mvit_strides import (
    Strides,
    adaptive_strides,
    strides_that_fit,
)
from unetr_app.networks.pretrained.source import Checkpoint

Sizes = tuple[int, ...]
Said = Mapping[str, Any]

_DEPTHS = {  # of the published sizes, stage by stage
    "mvitv2_tiny": (1, 2, 5, 2), "mvitv2_small": (1, 2, 11, 2), "mvitv2_base": (2, 3, 16, 3),
    "mvitv2_large": (2, 6, 36, 4), "mvitv2_huge": (4, 8, 60, 8),
}  # fmt: skip
_WIDTHS = {  # of the first stage
    "mvitv2_tiny": 96, "mvitv2_small": 96, "mvitv2_base": 96, "mvitv2_large": 144,
    "mvitv2_huge": 192,
}  # fmt: skip
_IMAGES: Said = {  # what they have in common
    "stride_q": ((1, 1), (2, 2), (2, 2), (2, 2)), "stride_kv": None, "stride_kv_adaptive": (4, 4),
    "patch_stride": (4, 4), "patch_padding": (3, 3), "residual_pooling": True, "mode": "conv",
    "kernel_qkv": (3, 3), "norm_eps": 1e-6, "num_heads": 1, "qkv_bias": True,
    "rel_pos_type": "spatial", "use_cls_token": False, "use_abs_pos": False,
}  # fmt: skip
_VIDEOS: Said = {
    **_IMAGES, "stride_q": ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2)),
    "stride_kv_adaptive": (1, 8, 8), "patch_stride": (2, 4, 4), "patch_padding": (1, 3, 3),
    "kernel_qkv": (3, 3, 3),
}  # fmt: skip
_POOLS = {"conv": "conv", "conv_unshared": "conv", "max": "max", "avg": "average"}


def read_facts(
    checkpoint: Checkpoint,
    tensors: Mapping[str, Tensor],
    blocks: Sequence[BlockShapes],
    starts: Sequence[int],
) -> MvitFacts:
    """What the caller, the configuration or the published sizes say, in this order.

    Args:
        checkpoint: As it was read.
        tensors: Under our names.
        blocks: The sizes of its blocks.
        starts: The blocks that begin a stage.

    Raises:
        UnusableWeights: If something stays open (the message names the arguments), or contradicts
            the tensors.
    """
    axes = tensors["embed.weight"].ndim - 2
    said = dict(_configuration(checkpoint, blocks, starts, axes) or {})
    said.update({name: value for name, value in checkpoint.given.items() if value is not None})
    size = said.get("image_size", checkpoint.arguments.get("img_size"))
    size = None if size is None else own_axes(size, axes)
    patch = None if "patch_stride" not in said else own_axes(said["patch_stride"], axes)
    queries, keys = _strides(said, axes)
    if lengths := _table_lengths(tensors, [*starts, len(blocks)]):
        grid = None if size is None or patch is None else size[-1] // patch[-1]
        known = Strides(grid, _last_axis(queries), _last_axis(keys))
        fits = _fits(lengths, known, checkpoint)
        if queries is None and axes == 2 and len({fit.queries for fit in fits}) == 1:
            queries = [(step,) * axes for step in fits[0].queries or ()]
        if patch is not None and size is None:
            size = _laid_out(tensors, fits, patch)
    pooling = _pooling(said, tensors, axes)
    if patch is None or queries is None or keys is None or None in pooling.values():
        raise open_facts(
            checkpoint, patch_stride=patch, stride_q=queries, stride_kv=keys, **pooling
        )
    padding = said.get("patch_padding")
    return MvitFacts(
        stride_q=queries,
        stride_kv=keys,
        patch_stride=patch,
        patch_padding=None if padding is None else own_axes(padding, axes),
        residual_pooling=_residual(said.get("residual_pooling", True), axes),
        norm_eps=float(said.get("norm_eps", 1e-6)),
        image_size=size,
        num_heads=_heads(said.get("num_heads"), len(starts)),
        pool=pooling["pool"],
        kernel=own_axes(pooling["kernel_kv"], axes),
        parts={
            "relative_positions": said.get("rel_pos_type") == "spatial",
            "absolute_positions": bool(said.get("use_abs_pos")),
            "class_token": bool(said.get("use_cls_token")),
            "qkv_bias": bool(said.get("qkv_bias")),
        },
    )


def stated_size(checkpoint: Checkpoint, axes: int) -> Sizes | None:
    """The image size of timm's ``pretrained_cfg``, where no tensor is laid out for one."""
    size = checkpoint.arguments.get("input_size")
    return None if size is None or axes != 2 else own_axes(size, axes)


def _configuration(
    checkpoint: Checkpoint, blocks: Sequence[BlockShapes], starts: Sequence[int], axes: int
) -> Said | None:
    """The reference's arguments, as stated or as the published sizes have them; None for neither.

    Raises:
        UnusableWeights: If blocks are missing, or it is a variant that computes something else.
    """
    depths = tuple(b - a for a, b in zip(starts, [*starts[1:], len(blocks)], strict=True))
    usual = _IMAGES if axes == 2 else _VIDEOS
    said = checkpoint.arguments.get("cfg")
    if isinstance(said, Mapping):
        _require_depths(depths, said.get("depths"), checkpoint)
        norm = str(said.get("norm_layer") or "layernorm").lower()
        if norm != "layernorm":
            raise UnusableWeights(f"its norms are {norm}; those of mvit are layer norms")
        return {**usual, **said}
    if axes == 2 and (named := checkpoint.published(_DEPTHS)) is not None:
        _require_depths(depths, named, checkpoint)
        return usual
    width = blocks[0].channels_in
    known = any(_DEPTHS[name] == depths and _WIDTHS[name] == width for name in _DEPTHS)
    return usual if known else None


def _require_depths(found: Sizes, said: Sequence[int] | None, checkpoint: Checkpoint) -> None:
    if said is not None and tuple(said) != found:
        raise UnusableWeights(
            f"the file holds {list(found)} blocks in its stages, and {list(said)} belong to this "
            "network",
            cure="The file is not whole: get it again from its source.",
            path=checkpoint.path,
        )


def _strides(said: Said, axes: int) -> tuple[list[Sizes] | None, list[Sizes] | None]:
    """Of queries and of keys, stage by stage; None where nothing says them."""
    queries = said.get("stride_q")
    queries = None if queries is None else [own_axes(step, axes) for step in queries]
    if said.get("stride_kv") is not None:
        return queries, [own_axes(step, axes) for step in said["stride_kv"]]
    first = said.get("stride_kv_adaptive")
    if queries is None or first is None:
        return queries, None
    by_axis = [
        adaptive_strides(start, [step[axis] for step in queries])
        for axis, start in enumerate(own_axes(first, axes))
    ]
    return queries, list(zip(*by_axis, strict=True))


def _table_lengths(tensors: Mapping[str, Tensor], borders: Sequence[int]) -> list[list[int]]:
    """The L of every block's table along the last axis, stage by stage; none without tables."""
    suffix = ".attention.positions."
    axis = max((n for n in range(3) if f"blocks.0{suffix}{n}.table" in tensors), default=None)
    if axis is None:
        return []
    lengths = [
        (len(tensors[f"blocks.{n}{suffix}{axis}.table"]) + 1) // 2 for n in range(borders[-1])
    ]
    return [lengths[a:b] for a, b in itertools.pairwise(borders)]


def _last_axis(strides: Sequence[Sizes] | None) -> Sizes | None:
    return None if strides is None else tuple(stride[-1] for stride in strides)


def _fits(
    lengths: Sequence[Sequence[int]], known: Strides, checkpoint: Checkpoint
) -> list[Strides]:
    fits = strides_that_fit(lengths, known)
    if not fits:
        raise UnusableWeights(
            "the tables of relative positions are for grids of "
            f"{', '.join(str(max(stage)) for stage in lengths)} tokens a side in its stages, which "
            f"strides {known.queries} of queries and {known.keys} of keys do not give",
            cure="Compare the configuration and the arguments with those of the checkpoint.",
            path=checkpoint.path,
        )
    return fits


def _laid_out(tensors: Mapping[str, Tensor], fits: Sequence[Strides], patch: Sizes) -> Sizes | None:
    """The input shape that the tables are laid out for, where the strides leave one grid."""
    whole = {f.grid for f in fits if f.grid and f.grid % math.prod(f.queries or (1,)) == 0}
    if len(whole) != 1:
        return None
    grid = whole.pop() or 0
    plane = (grid * patch[-2], grid * patch[-1])
    if len(patch) == 2:
        return plane
    frames = len(tensors["blocks.0.attention.positions.0.table"]) // 2 + 1
    return (frames * patch[0], *plane)


def _residual(said: bool | str, axes: int) -> str:
    """``residual_pooling`` in our word: that of videos leaves the class token out."""
    if isinstance(said, str):
        return said
    if not said:
        return "none"
    return "all" if axes == 2 else "grid"


def _pooling(said: Said, tensors: Mapping[str, Tensor], axes: int) -> dict[str, Any]:
    """How kernels pool, by our names; None for what nothing says and no tensor tells."""
    if any(".pool_key.pool." in name or ".pool_query.pool." in name for name in tensors):
        return {"pool": "conv", "kernel_q": (1,) * axes, "kernel_kv": (1,) * axes}  # tensors tell
    kernel = said.get("kernel_qkv")
    return {
        "pool": said.get("pool", _POOLS.get(str(said.get("mode")))),
        "kernel_q": said.get("kernel_q", kernel),
        "kernel_kv": said.get("kernel_kv", kernel),
    }


def _heads(said: int | Sequence[int] | None, stages: int) -> list[int] | None:
    """One number a stage; a number alone doubles from stage to stage."""
    if isinstance(said, int):
        return [said * 2**stage for stage in range(stages)]
    return None if said is None else list(said)
