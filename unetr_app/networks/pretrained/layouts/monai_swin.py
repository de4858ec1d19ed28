"""MONAI's Swin transformer: the encoder of Swin UNETR, or alone as its pre-training saves it.

Read are the names of a whole Swin UNETR (``swinViT.``), those of self-supervised pre-training
(without prefix, the feed-forward's layers as ``fc1`` and ``fc2``) and those of the disruptive
autoencoder (``encoder.``, each stage one level deeper).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Source,
    count_blocks,
    rename,
    strip_prefix,
)

NAME = "MONAI Swin"
FILLS = ("swin",)

_PREFIXES = ("swinViT.", "encoder.")
_STAGE = r"layers([1-4])\.0\.(?:0\.)?"
_BLOCK = _STAGE + r"blocks\.(\d+)\."
_TO = r"transformer.layers\1.0.blocks.\2."
_RENAMES = (
    (r"patch_embed\.(proj|norm)\.(weight|bias)", r"transformer.patch_embed.\1.\2"),
    (_BLOCK + r"(norm[12])\.(weight|bias)", _TO + r"\3.\4"),
    (_BLOCK + r"attn\.(qkv|proj)\.(weight|bias)", _TO + r"attn.\3.\4"),
    (_BLOCK + r"attn\.relative_position_bias_table", _TO + "attn.relative_position_bias_table"),
    (_BLOCK + r"mlp\.(?:linear|fc)([12])\.(weight|bias)", _TO + r"mlp.linear\3.\4"),
    (_STAGE + r"downsample\.(norm|reduction)\.(weight|bias)",
     r"transformer.layers\1.0.downsample.\2.\3"),
    (r"layers([1-4])c\.0\.(.+)", r"transformer.layers\1c.0.\2"),
)  # fmt: skip
_SKIPS = (
    (r".*relative_position_index", "follows from the window"),
    (r"(encoder\d+|decoder\d+|out)\.", "decoder of Swin UNETR"),
    (r"(norm|rotation_head|contrastive_head|convTrans3d|mask_token)", "for pre-training"),
)
_TABLE = re.compile(
    rf"(?:{'|'.join(map(re.escape, _PREFIXES))})?{_BLOCK}attn\.relative_position_bias_table"
)


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of MONAI's Swin transformer, perhaps inside its Swin UNETR?"""
    return any(_TABLE.fullmatch(key) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``swin``, weights of volumes or of images.

    Raises:
        UnusableWeights: If it has other axes than are asked for, since tokens are merged over all
            of them at once.
    """
    renamed = rename(strip_prefix(checkpoint.state, *_PREFIXES), _RENAMES, _SKIPS)
    embed = renamed.tensors["transformer.patch_embed.proj.weight"]  # (E, C, patch...)
    patch = tuple(int(n) for n in embed.shape[2:])
    if len(patch) != checkpoint.spatial_dims:
        raise UnusableWeights(
            f"its patches have {len(patch)} axes; {checkpoint.spatial_dims} were asked for",
            cure=f"Pass spatial_dims={len(patch)}.",
        )
    return Source(
        layout=NAME,
        encoder="swin",
        spatial_dims=len(patch),
        in_channels=int(embed.shape[1]),
        options=_options(checkpoint, renamed.tensors, patch),
        tensors=renamed.tensors,
        origins=renamed.origins,
        skipped=renamed.skipped,
        stem="transformer.patch_embed.proj.weight",
    )


def _options(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], patch: tuple[int, ...]
) -> dict[str, Any]:
    width = int(tensors["transformer.patch_embed.proj.weight"].shape[0])
    stages = [f"transformer.layers{n}.0." for n in (1, 2, 3, 4)]
    table = "blocks.0.attn.relative_position_bias_table"  # (offsets, heads)
    hidden = int(tensors[stages[0] + "blocks.0.mlp.linear1.weight"].shape[0])
    depths = [
        count_blocks(tensors, re.escape(stage) + r"blocks\.(\d+)\.", checkpoint.path)
        for stage in stages
    ]
    said = checkpoint.arguments.get("depths")
    if said is not None and list(said) != depths and checkpoint.given.get("depths") is None:
        raise UnusableWeights(
            f"the file holds {depths} blocks a stage, and {list(said)} belong to this network",
            cure="Get the file again from its source.",
        )
    return {
        "patch_size": patch,
        "embed_dim": width,
        "depths": depths,
        "num_heads": [int(tensors[stage + table].shape[1]) for stage in stages],
        "window_size": _window(checkpoint, int(tensors[stages[0] + table].shape[0]), len(patch)),
        "mlp_ratio": _ratio(hidden, width),
        "qkv_bias": stages[0] + "blocks.0.attn.qkv.bias" in tensors,
        "patch_norm": "transformer.patch_embed.norm.weight" in tensors,
        "merging": str(checkpoint.fact_or("merging", "merging", "downsample")),
        "use_v2": any(name.startswith("transformer.layers1c.") for name in tensors),
        "norm_eps": float(checkpoint.fact_or(1e-5, "norm_eps")),
    }


def _ratio(hidden: int, width: int) -> float:
    """Of which MONAI takes the whole part after multiplying it by the width again."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def _window(checkpoint: Checkpoint, offsets: int, axes: int) -> tuple[int, ...]:
    """Tokens of a window along each axis, from how many offsets its bias table tells apart."""
    said = checkpoint.fact_or(None, "window_size")
    if said is not None:
        window = (said,) * axes if isinstance(said, int) else tuple(int(n) for n in said)
    else:
        window = ((round(offsets ** (1 / axes)) + 1) // 2,) * axes
    if math.prod(2 * n - 1 for n in window) != offsets:
        raise UnusableWeights(
            f"windows of {window} tokens have {math.prod(2 * n - 1 for n in window)} offsets; the "
            f"file has {offsets}",
            cure="Pass window_size=(...), one number an axis.",
        )
    return window
