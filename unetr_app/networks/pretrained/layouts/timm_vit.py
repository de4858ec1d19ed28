"""timm's vision transformer, whose key names the authors' DINO, DINOv2, DeiT and MAE files share.

Token variants: none, class token, class and distillation token, with and without registers. The
positions of prefix tokens, where there are any, are added to the tokens themselves, which is the
same sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.layers import ACTIVATIONS
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.layouts.published_vits import PublishedVit, published_vit
from unetr_app.networks.pretrained.layouts.vit_tokens import positions_as_map, with_their_positions
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Source,
    count_blocks,
    find_prefix,
    rename,
)

NAME = "timm ViT"
FILLS = ("vit", "timesformer")

_BLOCK = r"blocks\.(?:\d+\.)?(\d+)\."
_RENAMES = (
    (r"patch_embed\.proj\.(weight|bias)", r"embed.\1"),
    (_BLOCK + r"(norm[12])\.(weight|bias)", r"blocks.\1.\2.\3"),
    (_BLOCK + r"attn\.qkv\.(weight|bias)", r"blocks.\1.attention.qkv.\2"),
    (_BLOCK + r"attn\.proj\.(weight|bias)", r"blocks.\1.attention.project.\2"),
    (_BLOCK + r"ls([12])\.gamma", r"blocks.\1.scale\2.gamma"),
    (_BLOCK + r"gamma_([12])", r"blocks.\1.scale\2.gamma"),
    (_BLOCK + r"mlp\.(?:fc1|w12)\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2"),
    (_BLOCK + r"mlp\.(?:fc2|w3)\.(weight|bias)", r"blocks.\1.feed_forward.contract.\2"),
    (r"norm\.(weight|bias)", r"norm.\1"),
    (r"fc_norm\.(weight|bias)", r"pooling.norm.\1"),
    (r"attn_pool\.latent", r"pooling.probe"),
    (r"attn_pool\.q\.(weight|bias)", r"pooling.query.\1"),
    (r"attn_pool\.kv\.(weight|bias)", r"pooling.key_value.\1"),
    (r"attn_pool\.proj\.(weight|bias)", r"pooling.project.\1"),
    (r"attn_pool\.norm\.(weight|bias)", r"pooling.norm.\1"),
    (r"attn_pool\.mlp\.fc1\.(weight|bias)", r"pooling.feed_forward.expand.\1"),
    (r"attn_pool\.mlp\.fc2\.(weight|bias)", r"pooling.feed_forward.contract.\1"),
)  # fmt: skip
_SKIPS = (
    (r"head", "classification head"),
    (r"mask_token", "for training by masking"),
    (r"decoder_", "decoder of training by masking"),
)
_LANDMARKS = ("patch_embed.proj.weight", "pos_embed")
_PREFIXES = ("cls_token", "dist_token", "reg_token", "register_tokens")


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of timm's vision transformer?"""
    prefix = find_prefix(keys, *_LANDMARKS)
    bare = {key.removeprefix(prefix or "") for key in keys}
    return (
        prefix is not None
        and any(re.match(_BLOCK + r"attn\.(qkv|proj)\.weight", name) for name in bare)
        and not any(".temporal_attn." in name or ".temporal_fc." in name for name in bare)
    )


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``vit``, weights of images."""
    prefix = find_prefix(checkpoint.state, *_LANDMARKS) or ""
    state = {key.removeprefix(prefix): tensor for key, tensor in checkpoint.state.items()}
    checkpoint = replace(checkpoint, state=state)
    embed = state["patch_embed.proj.weight"]  # (E, C, p, p)
    if embed.ndim != 4:
        raise UnusableWeights(f"patch_embed.proj.weight has {embed.ndim} axes; images have 4")
    patch = tuple(int(n) for n in embed.shape[2:])
    laid_out = (*_PREFIXES, "pos_embed")
    renamed = rename({k: v for k, v in state.items() if k not in laid_out}, _RENAMES, _SKIPS)
    before, positions, size = _tokens(checkpoint, patch)
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    tensors["positions"], origins["positions"] = positions, "pos_embed"
    if before is not None:
        tensors["prefix_tokens"] = before
        origins["prefix_tokens"] = " + ".join(n for n in _PREFIXES if n in state)
    return Source(
        layout=NAME,
        encoder="vit",
        spatial_dims=2,
        in_channels=int(embed.shape[1]),
        options=_options(checkpoint, tensors, patch),
        tensors=tensors,
        origins=origins,
        skipped=renamed.skipped,
        image_size=size,
    )


def _options(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], patch: tuple[int, ...]
) -> dict[str, Any]:
    _require_plain(checkpoint)
    width = int(tensors["embed.weight"].shape[0])
    said = checkpoint.arguments
    row = published_vit(checkpoint, width)
    found = count_blocks(checkpoint.state, _BLOCK, checkpoint.path)
    expand = tensors["blocks.0.feed_forward.expand.weight"]
    contract = tensors["blocks.0.feed_forward.contract.weight"]
    registers = _count_registers(checkpoint)
    scaled = any(".scale" in name for name in tensors)
    gated = expand.shape[0] == 2 * contract.shape[1]
    return {
        "patch_size": checkpoint.per_axis(patch),
        "embed_dim": width,
        "depth": stated_depth(checkpoint, found, published=row.depth if row else None),
        "num_heads": int(checkpoint.fact("num_heads", published=row.heads if row else None)),
        "mlp_dim": int(contract.shape[1]),
        "gated": gated,
        "activation": "gelu" if gated else _activation(checkpoint, row),
        "class_token": "cls_token" in checkpoint.state,
        "register_tokens": registers,
        "qkv_bias": any(name.endswith(".qkv.bias") for name in tensors),
        "layer_scale": float(said.get("init_values") or 1e-5) if scaled else None,
        "norm_eps": float(checkpoint.fact_or(1e-6, "norm_eps")),
        "final_norm": _has_final_norm(checkpoint),
    }


def _require_plain(checkpoint: Checkpoint) -> None:
    """Refuse timm's variants whose tensors look alike and that compute something else."""
    names = checkpoint.state.keys()
    if checkpoint.arguments.get("pre_norm") or "norm_pre.weight" in names:
        raise UnusableWeights("it norms its tokens before the first block, which vit does not")
    if any(name.startswith("rope.") for name in names):
        raise UnusableWeights("it turns queries and keys by positions of its own; vit's differ")
    if not any(re.fullmatch(_BLOCK + r"norm1\.bias", name) for name in names):
        raise UnusableWeights("its norms have no bias; vit's are layer norms")
    if checkpoint.published({"_rpn_": True}):
        raise UnusableWeights("it norms after each branch (residual post-norm), vit before it")


def _has_final_norm(checkpoint: Checkpoint) -> bool:
    """Is the last map normed? Not where timm norms after pooling, or was told to norm nothing."""
    if {"norm.weight", "norm.bias"} & checkpoint.state.keys():
        return True
    if {"fc_norm.weight", "fc_norm.bias"} & checkpoint.state.keys():
        return False
    usual = True if "model_args" in checkpoint.config else None
    return bool(checkpoint.fact("final_norm", published=usual))


def _count_registers(checkpoint: Checkpoint) -> int:
    """Register tokens, the distillation token among them; all prefix tokens must be there."""
    counts = {n: int(checkpoint.state[n].shape[1]) for n in _PREFIXES if n in checkpoint.state}
    registers = counts.get("reg_token", 0) + counts.get("register_tokens", 0)
    checkpoint.require_stated("register tokens", registers, "register_tokens", "reg_tokens")
    usual = 1 if "model_args" in checkpoint.config else None
    tokens = counts.get("cls_token", 0)
    checkpoint.require_stated("class tokens", tokens, "class_token", "class_token", usual=usual)
    return registers + counts.get("dist_token", 0)


def _activation(checkpoint: Checkpoint, row: PublishedVit | None) -> str:
    said = checkpoint.fact_or(
        "gelu", "activation", "act_layer", published=row.activation if row else None
    )
    if said not in ACTIVATIONS:
        raise UnusableWeights(f"its activation is {said!r}; vit has {', '.join(ACTIVATIONS)}")
    return said


def _tokens(
    checkpoint: Checkpoint, patch: tuple[int, ...]
) -> tuple[Tensor | None, Tensor, tuple[int, ...]]:
    """Prefix tokens (1, P, E), positions (1, E, h, w), and the image size they are laid out for."""
    state = checkpoint.state
    prefixes = [state[name] for name in _PREFIXES if name in state]  # each (1, k, E)
    positions = state["pos_embed"]  # (1, L, E)
    before, grid = _split_positions(checkpoint, int(positions.shape[1]), prefixes, patch)
    prefix = with_their_positions(prefixes, positions, before) if prefixes else None
    laid_out = positions_as_map(positions, grid, before)
    return prefix, laid_out, tuple(n * p for n, p in zip(grid, patch, strict=True))


def _split_positions(
    checkpoint: Checkpoint, length: int, prefixes: list[Tensor], patch: tuple[int, ...]
) -> tuple[int, tuple[int, ...]]:
    """How many positions belong to prefix tokens, and the grid of the others.

    Either all prefix tokens have one, or none (timm's ``no_embed_class``), or the first alone
    (DINOv2 with registers).
    """
    total = sum(int(token.shape[1]) for token in prefixes)
    first = int(prefixes[0].shape[1]) if prefixes else 0
    said = checkpoint.arguments.get("no_embed_class")
    if said is not None:
        candidates = [0 if said else total]
    elif "reg_token" in checkpoint.state:  # timm's own name; its published ones have none
        candidates = [0, total, first]
    else:
        candidates = [total, first, 0]
    stated = checkpoint.stated_grid(patch)
    fits = [before for before in candidates if stated and math.prod(stated) == length - before]
    refused: list[UnusableWeights] = []
    for before in fits or candidates:
        try:
            return before, checkpoint.grid(length - before, patch)
        except UnusableWeights as error:
            refused.append(error)
    raise refused[0]
