"""The key layouts of MONAI's UNETR, today's and the older ones.

Today's names are those of `monai.networks.nets.UNETR` (MONAI 1.6.1). Older releases stored
further tensors that the forward pass never read: a class token in the patch embedding and a
shortcut convolution in residual blocks that change no width (to MONAI 0.8), a cross-attention in
each block (MONAI 1.4). Today's MONAI refuses such files; here these tensors are left out.
Patch embeddings are a convolution (``conv``) or a linear layer over flattened patches
(``perceptron``, its weight ordered height, width, depth, channel); both become a convolution.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from unetr_app.errors import UnusableWeights

StateDict = Mapping[str, Tensor]

PATCH_SIZE = 16  # fixed in MONAI's UNETR
TAPS = (4, 7, 10, 12)  # blocks after which MONAI's UNETR takes its maps, the last of all
PUBLISHED_HEADS = {768: 12}  # channels to heads: MONAI's default, UNETR's (arXiv:2103.10504, 4.1)

_NEVER_READ = re.compile(
    r"^vit\.(cls_token|patch_embedding\.cls_token|blocks\.\d+\.(norm_cross_attn|cross_attn)\.)"
)
_SHORTCUT = re.compile(r"^(.+)\.(conv3|norm3)\.")
_POSITIONS = re.compile(r"^vit\.patch_embedding\.position_embeddings?$")
_EMBED = re.compile(r"^vit\.patch_embedding\.patch_embeddings?(?:\.\d+|\.proj)?\.(weight|bias)$")
_WRAPPERS = re.compile(r"^(?:(?:module|model|network|net|_orig_mod)\.)+")
_RENAMES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(old), new)
    for old, new in (
        (r"^vit\.blocks\.(\d+)\.attn\.out_proj\.", r"encoder.blocks.\1.attention.project."),
        (r"^vit\.blocks\.(\d+)\.attn\.", r"encoder.blocks.\1.attention."),
        (r"^vit\.blocks\.(\d+)\.mlp\.linear1\.", r"encoder.blocks.\1.feed_forward.expand."),
        (r"^vit\.blocks\.(\d+)\.mlp\.linear2\.", r"encoder.blocks.\1.feed_forward.contract."),
        (r"^vit\.blocks\.(\d+)\.(norm[12])\.", r"encoder.blocks.\1.\2."),
        (r"^vit\.norm\.", r"encoder.norm."),
        (r"^encoder1\.layer\.", r"decoder.stem."),
        (r"^out\.", r"head."),
    )
)
_LADDER = re.compile(r"^encoder([234])\.(transp_conv_init|blocks\.(\d+)(?:\.([01]))?)\.(.+)$")
_LEVEL = re.compile(r"^decoder([2345])\.(transp_conv|conv_block)\.(.+)$")


def is_monai_unetr(state: Mapping[str, Any]) -> bool:
    """Do the keys belong to MONAI's UNETR, wrapped or not?"""
    bare = {_unwrapped(key) for key in state}
    return "out.conv.conv.weight" in bare and any(_POSITIONS.match(key) for key in bare)


def unwrap_keys(state: StateDict) -> dict[str, Tensor]:
    """The same tensors without the prefixes that wrappers such as DataParallel add."""
    return {_unwrapped(key): tensor for key, tensor in state.items()}


def rename_monai_unetr(
    state: StateDict,
    *,
    grid: tuple[int, ...],
    patch_size: tuple[int, ...] | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, Tensor]:
    """MONAI's tensors under the names of our ``vit`` encoder with ``unetr`` decoder.

    Args:
        state: MONAI's state dict.
        grid: Tokens along each axis that the positions are laid out on.
        patch_size: Voxels of a patch; UNETR's 16 an axis where absent.
        shapes: The shape wanted for each of our names; not compared where absent.

    Raises:
        UnusableWeights: If a key is unknown, the positions do not fill ``grid``, or a tensor has
            another shape than is wanted.
    """
    state = unwrap_keys(state)
    conv_block = has_conv_blocks(state)
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        if _NEVER_READ.match(key) or _is_idle_shortcut(key, state):
            continue
        name, value = _renamed_key(key, conv_block=conv_block), tensor
        if name == "encoder.positions":
            value = _positions_as_map(tensor, grid)
        elif name == "encoder.embed.weight":
            value = patches_as_convolution(tensor, patch_size or (PATCH_SIZE,) * len(grid))
        if shapes is not None and shapes.get(name, value.shape) != value.shape:
            raise UnusableWeights(
                f"the tensor {key!r} has shape {tuple(value.shape)}; {shapes[name]} is needed",
                cure="Build the network with the sizes that the checkpoint has.",
            )
        renamed[name] = value
    return renamed


def has_conv_blocks(state: StateDict) -> bool:
    """Is there a block after each step of the ladders but their first?"""
    return "encoder2.blocks.0.0.conv.weight" in state


def _is_idle_shortcut(key: str, state: StateDict) -> bool:
    """Is it the shortcut of a block that leaves the width alone, where it is never used?"""
    found = _SHORTCUT.match(key)
    if not found:
        return False
    weight = state.get(f"{found[1]}.conv3.conv.weight")  # (out, in, 1, 1, 1)
    return weight is not None and weight.ndim > 1 and weight.shape[0] == weight.shape[1]


def _unwrapped(key: str) -> str:
    return _WRAPPERS.sub("", key)


def _renamed_key(key: str, *, conv_block: bool) -> str:
    if _POSITIONS.match(key):
        return "encoder.positions"
    if found := _EMBED.match(key):
        return f"encoder.embed.{found[1]}"
    if found := _LADDER.match(key):
        skip = int(found[1]) - 2
        if found[2] == "transp_conv_init":
            return f"decoder.skips.{skip}.layers.0.{found[5]}"
        step, part = int(found[3]), found[4]
        # With blocks a step is an up-sampling and a block, without them the up-sampling alone.
        layer = 1 + 2 * step + int(part) if conv_block and part else 1 + step
        return f"decoder.skips.{skip}.layers.{layer}.{found[5]}"
    if found := _LEVEL.match(key):
        level = 5 - int(found[1])  # decoder5 runs first
        part = "up.0" if found[2] == "transp_conv" else "fuse"
        return f"decoder.levels.{level}.{part}.{found[3]}"
    for pattern, new in _RENAMES:
        if pattern.match(key):
            return pattern.sub(new, key)
    raise UnusableWeights(f"the tensor {key!r} belongs to no layout of MONAI's UNETR")


def _positions_as_map(positions: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(1, N, E) to (1, E, grid...)."""
    if positions.ndim != 3:
        raise UnusableWeights(
            f"the checkpoint's positions have {positions.ndim} axes; MONAI's have 3"
        )
    count, width = positions.shape[1:]
    if count != math.prod(grid):
        raise UnusableWeights(
            f"the checkpoint holds positions of {count} tokens; {grid} are {math.prod(grid)}",
            cure="Set roi_size to the input shape that the checkpoint was trained with.",
        )
    return positions.transpose(1, 2).reshape(1, width, *grid)


def patches_as_convolution(weight: Tensor, patch_size: tuple[int, ...]) -> Tensor:
    """(E, patch... x C) of a linear layer to (E, C, patch...); a convolution stays as it is."""
    if weight.ndim != 2 or weight.shape[1] % math.prod(patch_size):
        return weight
    return torch.movedim(weight.reshape(len(weight), *patch_size, -1), -1, 1).contiguous()
