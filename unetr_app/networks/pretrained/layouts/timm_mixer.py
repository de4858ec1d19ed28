"""The key layout of timm's MLP-Mixer, and of its gMixer, whose perceptrons are gated."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Source,
    count_blocks,
    rename,
    strip_prefix,
)

NAME = "timm Mixer"
FILLS = ("mixer",)

_PREFIXES = ("model.", "backbone.", "encoder.")
_BLOCK = r"blocks\.(\d+)\."
_RENAMES = (
    (r"stem\.proj\.(weight|bias)", r"embed.\1"),
    (r"stem\.norm\.(weight|bias)", r"embed_norm.\1"),
    (_BLOCK + r"(norm[12])\.(weight|bias)", r"blocks.\1.\2.\3"),
    (_BLOCK + r"mlp_tokens\.fc1\.(weight|bias)", r"blocks.\1.token_mixing.expand.\2"),
    (_BLOCK + r"mlp_tokens\.fc2\.(weight|bias)", r"blocks.\1.token_mixing.contract.\2"),
    (_BLOCK + r"mlp_channels\.fc1\.(weight|bias)", r"blocks.\1.channel_mixing.expand.\2"),
    (_BLOCK + r"mlp_channels\.fc2\.(weight|bias)", r"blocks.\1.channel_mixing.contract.\2"),
    (r"norm\.(weight|bias)", r"norm.\1"),
)
_SKIPS = ((r"head\.", "classification head"),)

_DEPTHS = {  # blocks of the published sizes
    "mixer_s32": 8, "mixer_s16": 8, "mixer_b32": 12, "mixer_b16": 12, "mixer_l32": 24,
    "mixer_l16": 24, "gmixer_12": 12, "gmixer_24": 24,
}  # fmt: skip


def recognises(keys: Collection[str]) -> bool:
    """Do the keys belong to timm's Mixer?"""
    return any(".mlp_tokens.fc" in key for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint told as our ``mixer``.

    Raises:
        UnusableWeights: If blocks are missing, nothing says how the tokens lie, or its activation
            is another.
    """
    state = strip_prefix(checkpoint.state, *_PREFIXES)
    stem = state["stem.proj.weight"]  # (E, C, ph, pw)
    patch = tuple(stem.shape[2:])
    expand = state["blocks.0.mlp_tokens.fc1.weight"]  # (hidden, N), or gates and hidden
    contract = state["blocks.0.mlp_tokens.fc2.weight"]  # (N, hidden)
    gated = expand.shape[0] == 2 * contract.shape[1]
    usual = "silu" if gated else "gelu"
    if (said := checkpoint.arguments.get("act_layer") or usual) != usual:
        raise UnusableWeights(f"its activation is {said!r}; mixer has {usual!r} here")
    grid = checkpoint.grid(int(contract.shape[0]), patch)
    found = count_blocks(state, _BLOCK, checkpoint.path)
    renamed = rename(state, _RENAMES, _SKIPS)
    return Source(
        layout=NAME,
        encoder="mixer",
        spatial_dims=2,
        in_channels=int(stem.shape[1]),
        options={
            "patch_size": checkpoint.per_axis(patch),
            "embed_dim": int(stem.shape[0]),
            "depth": stated_depth(
                checkpoint, found, "num_blocks", published=checkpoint.published(_DEPTHS)
            ),
            "token_dim": int(contract.shape[1]),
            "mlp_dim": int(state["blocks.0.mlp_channels.fc2.weight"].shape[1]),
            "gated": gated,
            "stem_norm": "stem.norm.weight" in state,
            "norm_eps": 1e-6,
        },
        tensors={
            name: _laid_out(name, _gates_first(name, tensor) if gated else tensor, grid)
            for name, tensor in renamed.tensors.items()
        },
        origins=renamed.origins,
        skipped=renamed.skipped,
        image_size=tuple(n * p for n, p in zip(grid, patch, strict=True)),
    )


def _gates_first(name: str, tensor: Tensor) -> Tensor:
    """The gates, second half of the first layer's rows at timm, before what they let through."""
    if ".expand." not in name:
        return tensor
    through, gates = tensor.chunk(2)
    return torch.cat([gates, through])


def _laid_out(name: str, tensor: Tensor, grid: tuple[int, ...]) -> Tensor:
    """N tokens as a grid, in the layers across tokens: the last axis of one, the first of one."""
    if name.endswith(".token_mixing.expand.weight"):
        axis = 1  # (hidden, N)
    elif ".token_mixing.contract." in name:
        axis = 0  # (N, hidden) or (N)
    else:
        return tensor
    if tensor.ndim <= axis or tensor.shape[axis] != math.prod(grid):
        raise UnusableWeights(
            f"{name} is {' x '.join(map(str, tensor.shape))}, not of {math.prod(grid)} tokens as "
            "in the first block"
        )
    return tensor.unflatten(axis, grid)
