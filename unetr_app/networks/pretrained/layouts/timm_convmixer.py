"""The key layout of timm's ConvMixer."""

from __future__ import annotations

import re
from collections.abc import Collection

from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Source,
    count_blocks,
    rename,
    strip_prefix,
)

NAME = "timm ConvMixer"
FILLS = ("convmixer",)

_PREFIXES = ("model.", "backbone.", "encoder.")
_BLOCK = r"blocks\.(\d+)\."
_CONVOLUTION = r"(weight|bias)"
_NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_RENAMES = (
    (r"stem\.0\." + _CONVOLUTION, r"embed.\1"),
    (r"stem\.2\." + _NORM, r"embed_norm.\1"),
    (_BLOCK + r"0\.fn\.0\." + _CONVOLUTION, r"blocks.\1.spatial.\2"),
    (_BLOCK + r"0\.fn\.2\." + _NORM, r"blocks.\1.spatial_norm.\2"),
    (_BLOCK + r"1\." + _CONVOLUTION, r"blocks.\1.pointwise.\2"),
    (_BLOCK + r"3\." + _NORM, r"blocks.\1.pointwise_norm.\2"),
)
_SKIPS = ((r"head\.", "classification head"),)

_DEPTHS = {"convmixer_1536_20": 20, "convmixer_1024_20": 20, "convmixer_768_32": 32}
_OF_RELU = (768, 32, 7, 7)  # width, depth, kernel, patch of the one published size without GELU


def recognises(keys: Collection[str]) -> bool:
    """Do the keys belong to timm's ConvMixer?"""
    return any(re.search(r"(^|\.)blocks\.\d+\.0\.fn\.0\.weight$", key) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint told as our ``convmixer``.

    No tensor tells the activation. It is that of the configuration (``act_layer``) or of the
    argument ``activation``; else ReLU for the published size that has it, and GELU.

    Raises:
        UnusableWeights: If blocks are missing.
    """
    state = strip_prefix(checkpoint.state, *_PREFIXES)
    stem = state["stem.0.weight"]  # (E, C, ph, pw)
    kernel = tuple(state["blocks.0.0.fn.0.weight"].shape[2:])  # of (E, 1, kh, kw)
    found = count_blocks(state, _BLOCK, checkpoint.path)
    depth = stated_depth(checkpoint, found, published=checkpoint.published(_DEPTHS))
    relu = (int(stem.shape[0]), found, kernel[0], int(stem.shape[2])) == _OF_RELU
    activation = checkpoint.fact_or("relu" if relu else "gelu", "activation", "act_layer")
    renamed = rename(state, _RENAMES, _SKIPS)
    return Source(
        layout=NAME,
        encoder="convmixer",
        spatial_dims=2,
        in_channels=int(stem.shape[1]),
        options={
            "patch_size": checkpoint.per_axis(stem.shape[2:]),
            "embed_dim": int(stem.shape[0]),
            "depth": depth,
            "kernel_size": _kernel_size(checkpoint, kernel),
            "activation": str(activation).rsplit(".", 1)[-1].lower(),
            "norm_eps": 1e-5,
        },
        tensors=renamed.tensors,
        origins=renamed.origins,
        skipped=renamed.skipped,
    )


def _kernel_size(checkpoint: Checkpoint, kernel: tuple[int, ...]) -> int | tuple[int, ...]:
    """As in plane; along depth odd, so that there is a middle slice."""
    if checkpoint.spatial_dims == 2 or all(k % 2 for k in kernel):
        return checkpoint.per_axis(kernel)
    return (min(kernel) - (min(kernel) + 1) % 2, *kernel)
