"""timm's PVT v2."""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.pyramid_source import pyramid_source, strip_before
from unetr_app.networks.pretrained.source import Checkpoint, Source, rename

NAME = "timm PVT v2"
FILLS = ("pvt", "segformer")

_LANDMARK = "stages.0.blocks.0.mlp.dwconv.weight"
_STAGE = r"stages\.(\d+)\."
_BLOCK = r"stages\.(\d+)\.blocks\.(\d+)\."
_AFFINE = r"(weight|bias)"
_B = r"stages.\1.blocks.\2."
_RENAMES = (
    (rf"patch_embed\.proj\.{_AFFINE}", r"stages.0.embed.\1"),
    (rf"patch_embed\.norm\.{_AFFINE}", r"stages.0.embed_norm.\1"),
    (rf"{_STAGE}downsample\.proj\.{_AFFINE}", r"stages.\1.embed.\2"),
    (rf"{_STAGE}downsample\.norm\.{_AFFINE}", r"stages.\1.embed_norm.\2"),
    (rf"{_STAGE}norm\.{_AFFINE}", r"stages.\1.norm.\2"),
    (rf"{_BLOCK}norm([12])\.{_AFFINE}", rf"{_B}norm\3.\4"),
    (rf"{_BLOCK}attn\.q\.{_AFFINE}", rf"{_B}attention.query.\3"),
    (rf"{_BLOCK}attn\.kv\.{_AFFINE}", rf"{_B}attention.key_value.\3"),
    (rf"{_BLOCK}attn\.sr\.{_AFFINE}", rf"{_B}attention.reduction.convolution.\3"),
    (rf"{_BLOCK}attn\.norm\.{_AFFINE}", rf"{_B}attention.reduction.norm.\3"),
    (rf"{_BLOCK}attn\.proj\.{_AFFINE}", rf"{_B}attention.project.\3"),
    (rf"{_BLOCK}mlp\.fc1\.{_AFFINE}", rf"{_B}feed_forward.expand.\3"),
    (rf"{_BLOCK}mlp\.dwconv\.{_AFFINE}", rf"{_B}feed_forward.mix.\3"),
    (rf"{_BLOCK}mlp\.fc2\.{_AFFINE}", rf"{_B}feed_forward.contract.\3"),
)
_SKIPS = ((r"(.+\.)?head\.", "classification head"),)


def recognises(keys: Collection[str]) -> bool:
    """Are these timm's names of PVT v2?"""
    return any(key.endswith(_LANDMARK) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``pvt``."""
    state = strip_before(checkpoint.state, _LANDMARK)
    renamed = rename(state, _RENAMES, _SKIPS)
    return pyramid_source(NAME, "pvt", checkpoint, renamed, norm_eps=1e-6, conv_norm_eps=1e-5)
