"""TimeSformers under the names of published files, for tests that have no such file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from unetr_app.networks.encoders.timesformer import TimeSformer

Rules = Sequence[tuple[str, str]]

_BLOCK = r"blocks\.(\d+)\."
HUGGING_FACE: Rules = (
    (r"embed\.", "embeddings.patch_embeddings.projection."),
    (r"norm\.", "layernorm."),
    (_BLOCK + r"temporal_norm\.", r"encoder.layer.\1.temporal_layernorm."),
    (_BLOCK + r"temporal_attention\.qkv\.", r"encoder.layer.\1.temporal_attention.attention.qkv."),
    (_BLOCK + r"temporal_attention\.project\.",
     r"encoder.layer.\1.temporal_attention.output.dense."),
    (_BLOCK + r"temporal_project\.", r"encoder.layer.\1.temporal_dense."),
    (_BLOCK + r"norm1\.", r"encoder.layer.\1.layernorm_before."),
    (_BLOCK + r"norm2\.", r"encoder.layer.\1.layernorm_after."),
    (_BLOCK + r"attention\.qkv\.", r"encoder.layer.\1.attention.attention.qkv."),
    (_BLOCK + r"attention\.project\.", r"encoder.layer.\1.attention.output.dense."),
    (_BLOCK + r"feed_forward\.expand\.", r"encoder.layer.\1.intermediate.dense."),
    (_BLOCK + r"feed_forward\.contract\.", r"encoder.layer.\1.output.dense."),
    ("class_token", "embeddings.cls_token"),
    ("plane", "embeddings.position_embeddings"),
    ("time", "embeddings.time_embeddings"),
)  # fmt: skip
FACEBOOK: Rules = (
    (r"embed\.", "model.patch_embed.proj."),
    (r"norm\.", "model.norm."),
    (_BLOCK + r"temporal_norm\.", r"model.blocks.\1.temporal_norm1."),
    (_BLOCK + r"temporal_attention\.qkv\.", r"model.blocks.\1.temporal_attn.qkv."),
    (_BLOCK + r"temporal_attention\.project\.", r"model.blocks.\1.temporal_attn.proj."),
    (_BLOCK + r"temporal_project\.", r"model.blocks.\1.temporal_fc."),
    (_BLOCK + r"(norm[12])\.", r"model.blocks.\1.\2."),
    (_BLOCK + r"attention\.qkv\.", r"model.blocks.\1.attn.qkv."),
    (_BLOCK + r"attention\.project\.", r"model.blocks.\1.attn.proj."),
    (_BLOCK + r"feed_forward\.expand\.", r"model.blocks.\1.mlp.fc1."),
    (_BLOCK + r"feed_forward\.contract\.", r"model.blocks.\1.mlp.fc2."),
    ("class_token", "model.cls_token"),
    ("plane", "model.pos_embed"),
    ("time", "model.time_embed"),
)


def video_encoder(roi_size: tuple[int, ...] = (3, 16, 16), **options: Any) -> TimeSformer:
    """A tiny encoder for three channels, nothing in it zero by accident."""
    torch.manual_seed(0)
    small: dict[str, Any] = {"patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 3}
    encoder = TimeSformer(3, roi_size, spatial_dims=len(roi_size), **(small | options)).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


def published_state(encoder: TimeSformer, rules: Rules) -> dict[str, Tensor]:
    """The encoder's tensors as a published file has them: see `HUGGING_FACE`, `FACEBOOK`."""
    state = encoder.state_dict()
    first = torch.randn(1, 1, state["positions"].shape[1])  # the class token's position
    plane = state.pop("positions").flatten(2).transpose(1, 2)  # (1, N, C)
    state["class_token"] = state.pop("prefix_tokens") - first
    state["plane"] = torch.cat((first, plane), dim=1)
    if "depth_positions" in state:
        state["time"] = state.pop("depth_positions").transpose(1, 2).contiguous()
    state["embed.weight"] = state["embed.weight"][:, :, 0]
    return {_renamed(name, rules): tensor for name, tensor in state.items()}


def _renamed(name: str, rules: Rules) -> str:
    for old, new in rules:
        if re.match(old, name):
            return re.sub("^" + old, new, name)
    raise KeyError(name)
