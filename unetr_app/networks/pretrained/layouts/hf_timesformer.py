"""transformers' TimeSformer, on disk and in memory, with its classifier or without."""

from __future__ import annotations

import re
from collections.abc import Collection

from unetr_app.networks.pretrained.layouts.timesformer_source import timesformer_source
from unetr_app.networks.pretrained.source import Checkpoint, Source, rename, strip_prefix

NAME = "transformers TimeSformer"
FILLS = ("timesformer",)

_PREFIX = "timesformer."
_L = r"encoder\.layer\.(\d+)\."
_RENAMES = (
    (r"embeddings\.cls_token", "class_token"),
    (r"embeddings\.position_embeddings", "positions"),
    (r"embeddings\.time_embeddings", "depth_positions"),
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"embed.\1"),
    (_L + r"temporal_layernorm\.(weight|bias)", r"blocks.\1.temporal_norm.\2"),
    (
        _L + r"temporal_attention\.attention\.qkv\.(weight|bias)",
        r"blocks.\1.temporal_attention.qkv.\2",
    ),
    (
        _L + r"temporal_attention\.output\.dense\.(weight|bias)",
        r"blocks.\1.temporal_attention.project.\2",
    ),
    (_L + r"temporal_dense\.(weight|bias)", r"blocks.\1.temporal_project.\2"),
    (_L + r"layernorm_before\.(weight|bias)", r"blocks.\1.norm1.\2"),
    (_L + r"attention\.attention\.qkv\.(weight|bias)", r"blocks.\1.attention.qkv.\2"),
    (_L + r"attention\.output\.dense\.(weight|bias)", r"blocks.\1.attention.project.\2"),
    (_L + r"layernorm_after\.(weight|bias)", r"blocks.\1.norm2.\2"),
    (_L + r"intermediate\.dense\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2"),
    (_L + r"output\.dense\.(weight|bias)", r"blocks.\1.feed_forward.contract.\2"),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
)
_SKIPS = ((r"classifier\.", "classification head"),)
_FUSED = re.compile(rf"(?:{re.escape(_PREFIX)})?{_L}attention\.attention\.qkv\.weight")


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of transformers' TimeSformer?

    It alone keeps queries, keys and values of a layer in one tensor.
    """
    return any(_FUSED.fullmatch(key) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``timesformer``."""
    state = strip_prefix(checkpoint.state, _PREFIX)
    return timesformer_source(NAME, checkpoint, rename(state, _RENAMES, _SKIPS))
