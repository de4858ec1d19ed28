"""The key layout of torchvision's MViT: networks for videos, ``mvit_v2_s`` and ``mvit_v1_b``.

Depth is time. The first version has no relative positions: learned ones of place and of time are
added to the embedding, and it pools its queries only where the grid changes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.layouts.mvit_shapes import (
    BlockShapes,
    read_blocks,
    stage_starts,
    widening_renames,
)
from unetr_app.networks.pretrained.layouts.mvit_source import (
    MvitFacts,
    mvit_source,
    open_facts,
    own_axes,
)
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Renamed,
    Source,
    count_blocks,
    rename,
    strip_prefix,
)

NAME = "torchvision MViT"
FILLS = ("mvit",)

State = Mapping[str, Tensor]
Sizes = tuple[int, ...]

_PREFIXES = ("model.", "backbone.", "encoder.")
_BLOCK = r"blocks\.(\d+)\."
_AFFINE = r"(weight|bias)"
_RENAMES = (
    (r"conv_proj\." + _AFFINE, r"embed.\1"),
    (_BLOCK + r"(norm[12])\." + _AFFINE, r"blocks.\1.\2.\3"),
    (_BLOCK + r"attn\.qkv\." + _AFFINE, r"blocks.\1.attention.qkv.\2"),
    (_BLOCK + r"attn\.project\.0\." + _AFFINE, r"blocks.\1.attention.project.\2"),
    *(
        (
            _BLOCK + rf"attn\.pool_{letter}\.{theirs}\." + _AFFINE,
            rf"blocks.\1.attention.pool_{word}.{ours}.\2",
        )
        for theirs, ours in (("pool", "pool"), (r"norm_act\.0", "norm"))
        for letter, word in (("q", "query"), ("k", "key"), ("v", "value"))
    ),
    *(
        (_BLOCK + rf"attn\.rel_pos_{letter}", rf"blocks.\1.attention.positions.{axis}.table")
        for axis, letter in enumerate("thw")
    ),
    (_BLOCK + r"mlp\.0\." + _AFFINE, r"blocks.\1.feed_forward.expand.\2"),
    (_BLOCK + r"mlp\.3\." + _AFFINE, r"blocks.\1.feed_forward.contract.\2"),
    (r"norm\." + _AFFINE, r"norm.\1"),
)
_SKIPS = ((r"head\.", "classification head"),)
_TOKENS = "pos_encoding."

_STRIDES_Q = ((1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 2, 2))  # of both published networks
_STRIDES_KV = ((1, 8, 8), (1, 4, 4), (1, 2, 2), (1, 1, 1))
_DEPTHS = (1, 2, 11, 2)
_WIDTH = 96  # of their first stage
_PUBLISHED = {"mvit_v2_s": 16, "mvit_v1_b": 16}  # blocks
_PATCH_KERNEL, _PATCH_STRIDE, _PATCH_PADDING = (3, 7, 7), (2, 4, 4), (1, 3, 3)


def recognises(keys: Collection[str]) -> bool:
    """Do the keys belong to torchvision's MViT?"""
    return any(re.search(r"(^|\.)pos_encoding\.class_token$", key) for key in keys) and any(
        re.search(r"(^|\.)conv_proj\.weight$", key) for key in keys
    )


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint told as our ``mvit``.

    Strides come from the configuration (``block_setting``) or, for the published sizes, from what
    they have in common. The class token's own position is added to the token itself, and those of
    place and of time to each other, which are the same sums.

    Raises:
        UnusableWeights: If blocks are missing or strides are open; the message names arguments.
    """
    state = strip_prefix(checkpoint.state, *_PREFIXES)
    others = {name: tensor for name, tensor in state.items() if not name.startswith(_TOKENS)}
    renames = (*_RENAMES, *widening_renames(state, "project"))
    renamed = _with_tokens(rename(others, renames, _SKIPS), state)
    blocks = read_blocks(renamed.tensors, count_blocks(state, _BLOCK, checkpoint.path))
    settings = _settings(checkpoint, len(blocks))
    starts = _starts(blocks, settings)
    facts = _facts(checkpoint, state, blocks, starts, settings)
    if facts.image_size is not None:
        renamed = _with_positions(renamed, state, facts.image_size, facts.patch_stride)
    return mvit_source(checkpoint, NAME, renamed, blocks, starts, facts)


def _with_tokens(renamed: Renamed, state: State) -> Renamed:
    """Class token and learned positions added, each (1, C, ...) as an encoder holds them."""
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    token = state[_TOKENS + "class_token"]  # (C,)
    names = [_TOKENS + "class_token"]
    if (position := state.get(_TOKENS + "class_pos")) is not None:
        token = token + position
        names.append(_TOKENS + "class_pos")
    tensors["class_token"], origins["class_token"] = token.reshape(1, 1, -1), " + ".join(names)
    return replace(renamed, tensors=tensors, origins=origins)


def _with_positions(renamed: Renamed, state: State, image_size: Sizes, patch: Sizes) -> Renamed:
    """The learned positions of place and of time as one map, where the file has them."""
    if (place := state.get(_TOKENS + "spatial_pos")) is None:  # (H W, C)
        return renamed
    time = state[_TOKENS + "temporal_pos"]  # (D, C)
    grid = [n // p for n, p in zip(image_size, patch, strict=True)]
    both = (time.unsqueeze(1) + place.unsqueeze(0)).reshape(*grid, -1)  # (D, H, W, C)
    origin = f"{_TOKENS}spatial_pos + {_TOKENS}temporal_pos"
    return replace(
        renamed,
        tensors={**renamed.tensors, "positions": both.movedim(-1, 0).unsqueeze(0)},
        origins={**renamed.origins, "positions": origin},
    )


def _settings(checkpoint: Checkpoint, count: int) -> list[Mapping[str, Any]] | None:
    """``block_setting`` of the configuration, one a block.

    Raises:
        UnusableWeights: If the file has another number of blocks than belong to the network.
    """
    said = checkpoint.arguments.get("block_setting")
    wanted = len(said) if said else checkpoint.published(_PUBLISHED)
    if wanted is not None and wanted != count:
        raise UnusableWeights(
            f"the file holds {count} blocks, and {wanted} belong to this network",
            cure="The file is not whole: get it again from its source.",
            path=checkpoint.path,
        )
    return list(said) if said else None


def _starts(
    blocks: Sequence[BlockShapes], settings: Sequence[Mapping[str, Any]] | None
) -> list[int]:
    """The blocks that begin a stage: where widths, heads or strides change."""
    starts = set(stage_starts(blocks))
    for n, (before, setting) in enumerate(itertools.pairwise(settings or ()), start=1):
        coarser = max(_stride(setting, "stride_q")) > 1
        if coarser or _stride(setting, "stride_kv") != _stride(before, "stride_kv"):
            starts.add(n)
    return sorted(starts)


def _stride(setting: Mapping[str, Any], name: str) -> Sizes:
    """Of one block; torchvision writes an empty list where nothing is pooled."""
    return tuple(setting[name]) or (1, 1, 1)


def _facts(
    checkpoint: Checkpoint,
    state: State,
    blocks: Sequence[BlockShapes],
    starts: Sequence[int],
    settings: Sequence[Mapping[str, Any]] | None,
) -> MvitFacts:
    """What the caller, the configuration or the published sizes say, in this order."""
    depths = tuple(b - a for a, b in itertools.pairwise([*starts, len(blocks)]))
    published = settings is None and depths == _DEPTHS and blocks[0].channels_in == _WIDTH
    usual_patch = tuple(state["conv_proj.weight"].shape[2:]) == _PATCH_KERNEL
    relative = "blocks.0.attn.rel_pos_h" in state
    if settings is not None:
        queries = [_stride(settings[start], "stride_q") for start in starts]
        keys = [_stride(settings[start], "stride_kv") for start in starts]
        heads = [int(settings[start]["num_heads"]) for start in starts]
    else:
        queries = list(_STRIDES_Q) if published else None
        keys = list(_STRIDES_KV) if published else None
        heads = None
    given = checkpoint.given
    found = {
        "patch_stride": checkpoint.fact_or(
            _PATCH_STRIDE if usual_patch else None, "patch_stride", "patch_embed_stride"
        ),
        "stride_q": given.get("stride_q", queries),
        "stride_kv": given.get("stride_kv", keys),
        "residual_pooling": _residual(checkpoint, "grid" if relative else "none", known=published),
    }
    if None in found.values():
        raise open_facts(checkpoint, **found)
    patch = own_axes(found["patch_stride"], 3)
    queries = [own_axes(step, 3) for step in found["stride_q"]]
    keys = [own_axes(step, 3) for step in found["stride_kv"]]
    padding = checkpoint.fact_or(
        _PATCH_PADDING if usual_patch else None, "patch_padding", "patch_embed_padding"
    )
    return MvitFacts(
        stride_q=queries,
        stride_kv=keys,
        patch_stride=patch,
        patch_padding=None if padding is None else own_axes(padding, 3),
        residual_pooling=found["residual_pooling"],
        norm_eps=float(checkpoint.fact_or(1e-6, "norm_eps")),
        image_size=_image_size(checkpoint, state, patch, (queries[0], keys[0])),
        num_heads=given.get("num_heads", heads),
        parts={"relative_positions": bool(checkpoint.arguments.get("rel_pos_embed"))},
    )


def _residual(checkpoint: Checkpoint, usual: str, *, known: bool) -> str | None:
    """``residual_pooling`` in our word; None where nothing says it."""
    if (given := checkpoint.given.get("residual_pooling")) is not None:
        return str(given)
    said = checkpoint.arguments.get("residual_pool")
    if said is None:
        return usual if known else None
    with_class = checkpoint.arguments.get("residual_with_cls_embed", True)
    return ("all" if with_class else "grid") if said else "none"


def _image_size(
    checkpoint: Checkpoint, state: State, patch: Sizes, first: tuple[Sizes, Sizes]
) -> Sizes | None:
    """The input shape (frames, height, width) that positions are laid out for.

    Args:
        checkpoint: As it was read.
        state: By torchvision's names.
        patch: Voxels from one token to the next.
        first: Strides of the first stage's queries and of its keys.
    """
    if (given := checkpoint.given.get("image_size")) is not None:
        return own_axes(given, 3)
    plane, frames = (checkpoint.arguments.get(f"{n}_size") for n in ("spatial", "temporal"))
    if plane is not None and frames is not None:
        return (int(frames), *own_axes(plane, 2))
    if (place := state.get(_TOKENS + "spatial_pos")) is not None:  # (H W, C)
        grid = (len(state[_TOKENS + "temporal_pos"]), *checkpoint.grid(len(place), patch[1:]))
    elif (table := state.get("blocks.0.attn.rel_pos_h")) is not None:  # (2 L - 1, C)
        side = (len(table) + 1) // 2 * min(stride[1] for stride in first)
        grid = ((len(state["blocks.0.attn.rel_pos_t"]) + 1) // 2, side, side)
    else:
        return None
    return tuple(n * p for n, p in zip(grid, patch, strict=True))
