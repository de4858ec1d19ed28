"""transformers' PVT v2, bare or with its classifier."""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.pyramid_source import pyramid_source, strip_before
from unetr_app.networks.pretrained.source import Checkpoint, Source, rename

NAME = "transformers PVT v2"
FILLS = ("pvt", "segformer")

_LANDMARK = "encoder.layers.0.blocks.0.mlp.dwconv.dwconv.weight"
_STAGE = r"encoder\.layers\.(\d+)\."
_BLOCK = r"encoder\.layers\.(\d+)\.blocks\.(\d+)\."
_AFFINE = r"(weight|bias)"
_B = r"stages.\1.blocks.\2."
_RENAMES = (
    (rf"{_STAGE}patch_embedding\.proj\.{_AFFINE}", r"stages.\1.embed.\2"),
    (rf"{_STAGE}patch_embedding\.layer_norm\.{_AFFINE}", r"stages.\1.embed_norm.\2"),
    (rf"{_STAGE}layer_norm\.{_AFFINE}", r"stages.\1.norm.\2"),
    (rf"{_BLOCK}layer_norm_([12])\.{_AFFINE}", rf"{_B}norm\3.\4"),
    (rf"{_BLOCK}attention\.query\.{_AFFINE}", rf"{_B}attention.query.\3"),
    (rf"{_BLOCK}attention\.key\.{_AFFINE}", rf"{_B}attention.key_value.\3 [0/2]"),
    (rf"{_BLOCK}attention\.value\.{_AFFINE}", rf"{_B}attention.key_value.\3 [1/2]"),
    (
        rf"{_BLOCK}attention\.spatial_reduction\.{_AFFINE}",
        rf"{_B}attention.reduction.convolution.\3",
    ),
    (rf"{_BLOCK}attention\.layer_norm\.{_AFFINE}", rf"{_B}attention.reduction.norm.\3"),
    (rf"{_BLOCK}attention\.proj\.{_AFFINE}", rf"{_B}attention.project.\3"),
    (rf"{_BLOCK}mlp\.dense1\.{_AFFINE}", rf"{_B}feed_forward.expand.\3"),
    (rf"{_BLOCK}mlp\.dwconv\.dwconv\.{_AFFINE}", rf"{_B}feed_forward.mix.\3"),
    (rf"{_BLOCK}mlp\.dense2\.{_AFFINE}", rf"{_B}feed_forward.contract.\3"),
)
_SKIPS = ((r"(.+\.)?classifier\.", "classification head"),)


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of transformers' PVT v2?"""
    return any(key.endswith(_LANDMARK) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``pvt``."""
    state = strip_before(checkpoint.state, _LANDMARK)
    renamed = rename(state, _RENAMES, _SKIPS)
    eps = float(checkpoint.arguments.get("layer_norm_eps", 1e-6))
    return pyramid_source(NAME, "pvt", checkpoint, renamed, norm_eps=eps, conv_norm_eps=eps)
