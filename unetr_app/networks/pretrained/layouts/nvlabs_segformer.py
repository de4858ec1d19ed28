"""The authors' own names of SegFormer's encoder (NVlabs) and of PVT v2, which are the same.

Alone (``mit_b0.pth``, ``pvt_v2_b2.pth``) or in mmsegmentation's segmentor. Both families are one
network, so the choice between them changes no feature: what has PVT v2's published feed-forwards
(8, 8, 4, 4), its linear attention or its name becomes ``pvt``, everything else ``segformer``.
"""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.pyramid_source import (
    is_linear,
    mlp_ratios,
    pyramid_source,
    strip_before,
)
from unetr_app.networks.pretrained.source import Checkpoint, Renamed, Source, rename

NAME = "NVlabs SegFormer and PVT v2"
FILLS = ("segformer", "pvt")

_LANDMARK = "block1.0.mlp.dwconv.dwconv.weight"
_MOST_STAGES = 8
_AFFINE = r"(weight|bias)"
_IN_BLOCK = (
    (r"norm1\.", "norm1."),
    (r"norm2\.", "norm2."),
    (r"attn\.q\.", "attention.query."),
    (r"attn\.kv\.", "attention.key_value."),
    (r"attn\.sr\.", "attention.reduction.convolution."),
    (r"attn\.norm\.", "attention.reduction.norm."),
    (r"attn\.proj\.", "attention.project."),
    (r"mlp\.fc1\.", "feed_forward.expand."),
    (r"mlp\.dwconv\.dwconv\.", "feed_forward.mix."),
    (r"mlp\.fc2\.", "feed_forward.contract."),
)
# Their stages count from 1.
_RENAMES = tuple(
    rule
    for n in range(_MOST_STAGES)
    for rule in (
        (rf"patch_embed{n + 1}\.proj\.{_AFFINE}", rf"stages.{n}.embed.\1"),
        (rf"patch_embed{n + 1}\.norm\.{_AFFINE}", rf"stages.{n}.embed_norm.\1"),
        (rf"norm{n + 1}\.{_AFFINE}", rf"stages.{n}.norm.\1"),
        *(
            (rf"block{n + 1}\.(\d+)\.{theirs}{_AFFINE}", rf"stages.{n}.blocks.\1.{ours}\2")
            for theirs, ours in _IN_BLOCK
        ),
    )
)
_SKIPS = (
    (r"(.+\.)?decode_head\.", "decode head"),
    (r"(.+\.)?auxiliary_head\.", "head for training alone"),
    (r"(.+\.)?head\.", "classification head"),
)


def recognises(keys: Collection[str]) -> bool:
    """Are these the authors' names of MiT or PVT v2? Version 1 of PVT has no ``dwconv``."""
    return any(key.endswith(_LANDMARK) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``segformer`` or ``pvt``."""
    state = strip_before(checkpoint.state, _LANDMARK)
    renamed = rename(state, _RENAMES, _SKIPS)
    return pyramid_source(
        NAME, _family(checkpoint, renamed), checkpoint, renamed, norm_eps=1e-6, conv_norm_eps=1e-5
    )


def _family(checkpoint: Checkpoint, renamed: Renamed) -> str:
    named = checkpoint.published({"pvt": "pvt", "mit_b": "segformer", "segformer": "segformer"})
    wide = mlp_ratios(renamed.tensors) == (8, 8, 4, 4)
    return "pvt" if is_linear(renamed.tensors) or wide else named or "segformer"
