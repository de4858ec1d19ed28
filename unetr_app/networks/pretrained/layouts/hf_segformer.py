"""transformers' SegFormer, on disk and in memory: bare, with its decode head, with a classifier."""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.pyramid_source import pyramid_source, strip_before
from unetr_app.networks.pretrained.source import Checkpoint, Source, rename

NAME = "transformers SegFormer"
FILLS = ("segformer", "pvt")

_EMBED = r"(?:encoder\.patch_embeddings\.(\d+)|stages\.(\d+)\.patch_embeddings)\."
_BLOCK = r"(?:encoder\.block\.(\d+)\.(\d+)|stages\.(\d+)\.blocks\.(\d+))\."
_AFFINE = r"(weight|bias)"
# A number that stands at one of two places: the other group matches nothing and gives "".
_S, _B = r"stages.\1\2.", r"stages.\1\3.blocks.\2\4."
_RENAMES = (
    (rf"{_EMBED}proj\.{_AFFINE}", rf"{_S}embed.\3"),
    (rf"{_EMBED}layer_norm\.{_AFFINE}", rf"{_S}embed_norm.\3"),
    (rf"{_BLOCK}(?:layer_norm_1|layernorm_before)\.{_AFFINE}", rf"{_B}norm1.\5"),
    (rf"{_BLOCK}(?:layer_norm_2|layernorm_after)\.{_AFFINE}", rf"{_B}norm2.\5"),
    (rf"{_BLOCK}attention\.(?:self\.query|q_proj)\.{_AFFINE}", rf"{_B}attention.query.\5"),
    (rf"{_BLOCK}attention\.(?:self\.key|k_proj)\.{_AFFINE}", rf"{_B}attention.key_value.\5 [0/2]"),
    (
        rf"{_BLOCK}attention\.(?:self\.value|v_proj)\.{_AFFINE}",
        rf"{_B}attention.key_value.\5 [1/2]",
    ),
    (
        rf"{_BLOCK}attention\.(?:self\.sr|sequence_reduction\.sequence_reduction)\.{_AFFINE}",
        rf"{_B}attention.reduction.convolution.\5",
    ),
    (
        rf"{_BLOCK}attention\.(?:self|sequence_reduction)\.layer_norm\.{_AFFINE}",
        rf"{_B}attention.reduction.norm.\5",
    ),
    (rf"{_BLOCK}attention\.(?:output\.dense|o_proj)\.{_AFFINE}", rf"{_B}attention.project.\5"),
    (rf"{_BLOCK}mlp\.(?:dense1|fc1)\.{_AFFINE}", rf"{_B}feed_forward.expand.\5"),
    (rf"{_BLOCK}mlp\.dwconv\.dwconv\.{_AFFINE}", rf"{_B}feed_forward.mix.\5"),
    (rf"{_BLOCK}mlp\.(?:dense2|fc2)\.{_AFFINE}", rf"{_B}feed_forward.contract.\5"),
    (
        rf"(?:encoder\.layer_norm\.(\d+)|stages\.(\d+)\.layer_norm)\.{_AFFINE}",
        rf"{_S}norm.\3",
    ),
)
_SKIPS = (
    (r"(.+\.)?decode_head\.", "decode head"),
    (r"(.+\.)?classifier\.", "classification head"),
)
_LANDMARKS = (
    "encoder.block.0.0.attention.self.query.weight",
    "stages.0.blocks.0.attention.q_proj.weight",
)


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of transformers' SegFormer?"""
    mixes = any(key.endswith(".mlp.dwconv.dwconv.weight") for key in keys)
    return mixes and any(key.endswith(_LANDMARKS) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``segformer``.

    Its epsilon is torch's 1e-5 everywhere: the library never reads ``layer_norm_eps``.
    """
    state = strip_before(checkpoint.state, *_LANDMARKS)
    renamed = rename(state, _RENAMES, _SKIPS)
    return pyramid_source(NAME, "segformer", checkpoint, renamed, norm_eps=1e-5, conv_norm_eps=1e-5)
