"""The key layout of XCiT: timm's, and Facebook's own, from which timm's differs by few names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

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

NAME = "timm XCiT"
FILLS = ("xcit",)

_PREFIXES = ("model.", "backbone.", "encoder.")
_BLOCK = r"blocks\.(\d+)\."
_AFFINE = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_STEM = r"patch_embed\.proj\.(\d+)\.0\.weight"
_MOST_STEM_LAYERS = 8
_RENAMES = (
    *(
        (rf"patch_embed\.proj\.{2 * n}\.0\.weight", f"embed.steps.{n}.convolution.weight")
        for n in range(_MOST_STEM_LAYERS)
    ),
    *(
        (rf"patch_embed\.proj\.{2 * n}\.1\.{_NORM}", rf"embed.steps.{n}.norm.\1")
        for n in range(_MOST_STEM_LAYERS)
    ),
    (r"pos_embed(?:er)?\.token_projection\." + _AFFINE, r"positions.\1"),
    (_BLOCK + r"attn\.temperature", r"blocks.\1.attention.temperature"),
    (_BLOCK + r"attn\.qkv\." + _AFFINE, r"blocks.\1.attention.qkv.\2"),
    (_BLOCK + r"attn\.proj\." + _AFFINE, r"blocks.\1.attention.project.\2"),
    (_BLOCK + r"local_mp\.conv([12])\." + _AFFINE, r"blocks.\1.local.convolution\2.\3"),
    (_BLOCK + r"local_mp\.bn\." + _NORM, r"blocks.\1.local.norm.\2"),
    (_BLOCK + r"mlp\.fc1\." + _AFFINE, r"blocks.\1.feed_forward.expand.\2"),
    (_BLOCK + r"mlp\.fc2\." + _AFFINE, r"blocks.\1.feed_forward.contract.\2"),
    # The reference's numbers are not in the order of its branches: the third comes second.
    *(
        (_BLOCK + rf"norm{theirs}\." + _AFFINE, rf"blocks.\1.norm{ours}.\2")
        for theirs, ours in ((1, 1), (3, 2), (2, 3))
    ),
    *(
        (_BLOCK + rf"gamma{theirs}", rf"blocks.\1.scale{ours}.gamma")
        for theirs, ours in ((1, 1), (3, 2), (2, 3))
    ),
)
_SKIPS = (
    (r"cls_token$", "class token, which only the class attention reads"),
    (r"cls_attn_blocks\.", "class attention, which changes the class token alone"),
    (r"norm\.", "norm after the class attention"),
    (r"head(_dist)?\.", "classification head"),
)

_DEPTHS = {  # cross-covariance blocks of the published sizes
    "xcit_nano_12": 12, "xcit_tiny_12": 12, "xcit_small_12": 12, "xcit_tiny_24": 24,
    "xcit_small_24": 24, "xcit_medium_24": 24, "xcit_large_24": 24,
}  # fmt: skip


def recognises(keys: Collection[str]) -> bool:
    """Do the keys belong to XCiT, timm's or Facebook's?"""
    return any(key.endswith(".local_mp.conv1.weight") for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint told as our ``xcit``.

    Raises:
        UnusableWeights: If blocks, convolutions of the patch embedding or positions are missing,
            or its activation is not GELU.
    """
    state = strip_prefix(checkpoint.state, *_PREFIXES)
    if (said := checkpoint.arguments.get("act_layer") or "gelu") != "gelu":
        raise UnusableWeights(f"its activation is {said!r}; xcit has GELU")
    layers = _count_stem_layers(checkpoint, state)
    qkv = state["blocks.0.attn.qkv.weight"]  # (3 E, E)
    found = count_blocks(state, _BLOCK, checkpoint.path)
    renamed = rename(state, _RENAMES, _SKIPS)
    positions = any(name.startswith("positions.") for name in renamed.tensors)
    return Source(
        layout=NAME,
        encoder="xcit",
        spatial_dims=2,
        in_channels=int(state["patch_embed.proj.0.0.weight"].shape[1]),
        options={
            "patch_size": 2**layers,
            "embed_dim": int(qkv.shape[1]),
            "depth": stated_depth(checkpoint, found, published=checkpoint.published(_DEPTHS)),
            "num_heads": int(state["blocks.0.attn.temperature"].shape[0]),
            "mlp_dim": int(state["blocks.0.mlp.fc1.weight"].shape[0]),
            "stem_layers": layers,
            "positions": positions or checkpoint.fact("positions", "use_pos_embed"),
            "qkv_bias": any(name.endswith(".qkv.bias") for name in renamed.tensors),
            "layer_scale": 1.0,
            "norm_eps": 1e-6,
        },
        tensors=renamed.tensors,
        origins=renamed.origins,
        skipped=renamed.skipped,
        stem="embed.steps.0.convolution.weight",
    )


def _count_stem_layers(checkpoint: Checkpoint, state: Mapping[str, Tensor]) -> int:
    """Convolutions of the patch embedding; each second number is an activation."""
    numbers = sorted(int(m[1]) for m in (re.fullmatch(_STEM, name) for name in state) if m)
    if not numbers or numbers != list(range(0, 2 * len(numbers), 2)):
        raise UnusableWeights(
            f"the convolutions patch_embed.proj of the file are {numbers}, not 0, 2, 4 and so on",
            cure="The file is not whole: get it again from its source.",
            path=checkpoint.path,
        )
    return len(numbers)
