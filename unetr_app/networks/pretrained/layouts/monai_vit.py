"""MONAI's vision transformer, alone or as the encoder of its UNETR."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.layouts.vit_tokens import positions_as_map
from unetr_app.networks.pretrained.monai_unetr import (
    PATCH_SIZE,
    PUBLISHED_HEADS,
    TAPS,
    patches_as_convolution,
)
from unetr_app.networks.pretrained.source import Checkpoint, Source, count_blocks, rename

NAME = "MONAI ViT"
FILLS = ("vit",)

_EMBED = re.compile(r"patch_embedding\.patch_embeddings?(?:\.\d+|\.proj)?\.weight")
_POSITIONS = re.compile(r"patch_embedding\.position_embeddings?")
_BLOCK = r"blocks\.(\d+)\."
_RENAMES = (
    (r"patch_embedding\.patch_embeddings?(?:\.\d+|\.proj)?\.(weight|bias)", r"embed.\1"),
    (r"patch_embedding\.position_embeddings?", "positions"),
    (r"cls_token", "prefix_tokens"),
    (_BLOCK + r"(norm[12])\.(weight|bias)", r"blocks.\1.\2.\3"),
    (_BLOCK + r"attn\.qkv\.(weight|bias)", r"blocks.\1.attention.qkv.\2"),
    (_BLOCK + r"attn\.out_proj\.(weight|bias)", r"blocks.\1.attention.project.\2"),
    (_BLOCK + r"mlp\.linear1\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2"),
    (_BLOCK + r"mlp\.linear2\.(weight|bias)", r"blocks.\1.feed_forward.contract.\2"),
    (r"norm\.(weight|bias)", r"norm.\1"),
)
_SKIPS = (
    (r"classification_head", "classification head"),
    (_BLOCK + r"(norm_cross_attn|cross_attn)\.", "never read by the forward pass"),
    (r"(patch_embedding\.)?cls_token", "never read by the forward pass"),
    (r"(encoder\d|decoder\d|out)\.", "decoder of UNETR"),
)


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of MONAI's vision transformer, perhaps inside its UNETR?"""
    bare = [_bare(key) for key in keys]
    return any(_POSITIONS.fullmatch(key) for key in bare) and any(
        re.match(_BLOCK + r"mlp\.linear1\.", key) for key in bare
    )


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``vit``, weights of volumes or of images."""
    state = {_bare(key): tensor for key, tensor in checkpoint.state.items()}
    no_token = _is_unetr(checkpoint)  # its forward pass reads none, whatever the file holds
    renames = [rule for rule in _RENAMES if not (no_token and rule[1] == "prefix_tokens")]
    renamed = rename(state, renames, _SKIPS)
    tensors = dict(renamed.tensors)
    embed, patch = _embedding(checkpoint, tensors["embed.weight"])
    tensors["embed.weight"] = embed
    positions = tensors["positions"]  # (1, N, E)
    grid = checkpoint.grid(int(positions.shape[1]), patch)
    tensors["positions"] = positions_as_map(positions, grid)
    options = _options(checkpoint, tensors, patch)
    if _is_unetr(checkpoint) and options["depth"] == TAPS[-1]:
        options["taps"] = list(TAPS)
    return Source(
        layout=NAME,
        encoder="vit",
        spatial_dims=len(patch),
        in_channels=int(embed.shape[1]),
        options=options,
        tensors=tensors,
        origins=renamed.origins,
        skipped=renamed.skipped,
        image_size=tuple(n * p for n, p in zip(grid, patch, strict=True)),
    )


def _is_unetr(checkpoint: Checkpoint) -> bool:
    return any(re.match(r".*decoder5\.", key) for key in checkpoint.state)


def _bare(key: str) -> str:
    return re.sub(r"^(?:(?:model|network|net)\.)?(?:vit\.)?", "", key)


def _options(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], patch: tuple[int, ...]
) -> dict[str, Any]:
    width = int(tensors["embed.weight"].shape[0])
    found = count_blocks(tensors, _BLOCK, checkpoint.path)
    tokens = int("prefix_tokens" in tensors)
    checkpoint.require_stated("class tokens", tokens, "class_token", "classification")
    usual = TAPS[-1] if _is_unetr(checkpoint) else None
    return {
        "patch_size": checkpoint.per_axis(patch),
        "embed_dim": width,
        "depth": stated_depth(checkpoint, found, "num_layers", published=usual),
        "num_heads": int(checkpoint.fact("num_heads", published=PUBLISHED_HEADS.get(width))),
        "mlp_dim": int(tensors["blocks.0.feed_forward.expand.weight"].shape[0]),
        "class_token": bool(tokens),
        "balance_depth": len(patch) == 2,  # a class token that learned from volumes knows depth
        "qkv_bias": any(name.endswith(".qkv.bias") for name in tensors),
        "norm_eps": 1e-5,
    }


def _embedding(checkpoint: Checkpoint, weight: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """The embedding as a convolution (E, C, patch...), and the patch."""
    if weight.ndim > 2:
        return weight, tuple(int(n) for n in weight.shape[2:])
    said = checkpoint.arguments.get("patch_size")  # what the caller gives is that of the encoder
    if said is None:
        said = PATCH_SIZE if _is_unetr(checkpoint) else checkpoint.fact("patch_size")
    axes = int(checkpoint.arguments.get("spatial_dims", checkpoint.spatial_dims))
    patch = (said,) * axes if isinstance(said, int) else tuple(int(n) for n in said)
    if weight.shape[1] % math.prod(patch):
        raise UnusableWeights(
            f"{weight.shape[1]} numbers a patch are no channels of {patch} voxels",
            cure="Pass patch_size=..., that of the checkpoint.",
        )
    return patches_as_convolution(weight, patch), patch
