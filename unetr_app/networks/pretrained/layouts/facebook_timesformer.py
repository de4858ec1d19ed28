"""The authors' TimeSformer (facebookresearch/TimeSformer), as their training saves it.

Files with space-only attention have no name that an image transformer has not: they are none of
this layout.
"""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.timesformer_source import timesformer_source
from unetr_app.networks.pretrained.source import Checkpoint, Source, rename, strip_prefix

NAME = "Facebook TimeSformer"
FILLS = ("timesformer",)

_PREFIX = "model."
_B = r"blocks\.(\d+)\."
_RENAMES = (
    (r"cls_token", "class_token"),
    (r"pos_embed", "positions"),
    (r"time_embed", "depth_positions"),
    (r"patch_embed\.proj\.(weight|bias)", r"embed.\1"),
    (_B + r"temporal_norm1\.(weight|bias)", r"blocks.\1.temporal_norm.\2"),
    (_B + r"temporal_attn\.qkv\.(weight|bias)", r"blocks.\1.temporal_attention.qkv.\2"),
    (_B + r"temporal_attn\.proj\.(weight|bias)", r"blocks.\1.temporal_attention.project.\2"),
    (_B + r"temporal_fc\.(weight|bias)", r"blocks.\1.temporal_project.\2"),
    (_B + r"(norm[12])\.(weight|bias)", r"blocks.\1.\2.\3"),
    (_B + r"attn\.qkv\.(weight|bias)", r"blocks.\1.attention.qkv.\2"),
    (_B + r"attn\.proj\.(weight|bias)", r"blocks.\1.attention.project.\2"),
    (_B + r"mlp\.fc1\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2"),
    (_B + r"mlp\.fc2\.(weight|bias)", r"blocks.\1.feed_forward.contract.\2"),
    (r"norm\.(weight|bias)", r"norm.\1"),
)
_SKIPS = ((r"head\.", "classification head"),)


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of the authors' TimeSformer, with their prefix or without?"""
    names = {key.removeprefix(_PREFIX) for key in keys}
    temporal = any(".temporal_attn." in name or ".temporal_fc." in name for name in names)
    return "patch_embed.proj.weight" in names and (temporal or "time_embed" in names)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``timesformer``."""
    state = strip_prefix(checkpoint.state, _PREFIX)
    return timesformer_source(NAME, checkpoint, rename(state, _RENAMES, _SKIPS))
