"""transformers' ViT, DeiT and DINOv2 (with and without registers).

Read are the names that ``save_pretrained`` writes and published files hold, and those that the
library's models have in memory since release 5.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.layers import ACTIVATIONS
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.layouts.published_vits import published_vit
from unetr_app.networks.pretrained.layouts.vit_tokens import positions_as_map, with_their_positions
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Source,
    count_blocks,
    find_prefix,
    rename,
)

NAME = "transformers ViT"
FILLS = ("vit", "timesformer")

_L = r"(?:encoder\.layer|encoder\.layers|layers|layer)\.(\d+)\."
_RENAMES = (
    (r"embeddings\.patch_embeddings\.projection\.(weight|bias)", r"embed.\1"),
    (_L + r"(?:layernorm_before|norm1)\.(weight|bias)", r"blocks.\1.norm1.\2"),
    (_L + r"(?:layernorm_after|norm2)\.(weight|bias)", r"blocks.\1.norm2.\2"),
    *(
        (
            rf"{_L}attention\.(?:attention\.{long}|{short}_proj)\.(weight|bias)",
            rf"blocks.\1.attention.qkv.\2 [{n}/3]",
        )
        for n, (long, short) in enumerate((("query", "q"), ("key", "k"), ("value", "v")))
    ),
    (
        _L + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)",
        r"blocks.\1.attention.project.\2",
    ),
    (_L + r"layer_scale([12])\.lambda1", r"blocks.\1.scale\2.gamma"),
    (
        _L + r"(?:intermediate\.dense|mlp\.fc1|mlp\.weights_in)\.(weight|bias)",
        r"blocks.\1.feed_forward.expand.\2",
    ),
    (_L + r"mlp\.gate_proj\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2 [0/2]"),
    (_L + r"mlp\.up_proj\.(weight|bias)", r"blocks.\1.feed_forward.expand.\2 [1/2]"),
    (
        _L + r"(?:output\.dense|mlp\.fc2|mlp\.weights_out|mlp\.down_proj)\.(weight|bias)",
        r"blocks.\1.feed_forward.contract.\2",
    ),
    (r"layernorm\.(weight|bias)", r"norm.\1"),
)
_SKIPS = (
    (r"(classifier|cls_classifier|distillation_classifier|pooler)\.", "classification head"),
    (r"embeddings\.mask_token", "for training by masking"),
    (r"decoder\.", "decoder of training by masking"),
)
_TOKENS = ("embeddings.cls_token", "embeddings.distillation_token", "embeddings.register_tokens")
_PATCH = "embeddings.patch_embeddings.projection.weight"
_POSITIONS = "embeddings.position_embeddings"
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}


def recognises(keys: Collection[str]) -> bool:
    """Are these the names of transformers' ViT or DINOv2?"""
    return (
        find_prefix(keys, _PATCH, _POSITIONS) is not None
        and not any("temporal" in key or key.endswith("time_embeddings") for key in keys)
        and any("layer" in key and ".attention." in key for key in keys)
    )


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint in our words: encoder ``vit``, weights of images."""
    prefix = find_prefix(checkpoint.state, _PATCH, _POSITIONS) or ""
    state = {key.removeprefix(prefix): tensor for key, tensor in checkpoint.state.items()}
    embed = state[_PATCH]  # (E, C, p, p)
    if embed.ndim != 4:
        raise UnusableWeights(f"{_PATCH} has {embed.ndim} axes; images have 4")
    patch = tuple(int(n) for n in embed.shape[2:])
    laid_out = (*_TOKENS, _POSITIONS)
    renamed = rename({k: v for k, v in state.items() if k not in laid_out}, _RENAMES, _SKIPS)
    prefixes = [state[name] for name in _TOKENS if name in state]
    # Class and distillation token have positions of their own; registers have none.
    before = sum(int(state[name].shape[1]) for name in _TOKENS[:2] if name in state)
    positions = state[_POSITIONS]  # (1, before + N, E)
    grid = checkpoint.grid(int(positions.shape[1]) - before, patch)
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    tensors["positions"] = positions_as_map(positions, grid, before)
    origins["positions"] = _POSITIONS
    if prefixes:
        tensors["prefix_tokens"] = with_their_positions(prefixes, positions, before)
        origins["prefix_tokens"] = " + ".join(name for name in _TOKENS if name in state)
    return Source(
        layout=NAME,
        encoder="vit",
        spatial_dims=2,
        in_channels=int(embed.shape[1]),
        options=_options(checkpoint, state, tensors),
        tensors=tensors,
        origins=origins,
        skipped=renamed.skipped,
        image_size=tuple(n * p for n, p in zip(grid, patch, strict=True)),
    )


def _options(
    checkpoint: Checkpoint, state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> dict[str, Any]:
    embed = state[_PATCH]
    width = int(embed.shape[0])
    expand = tensors["blocks.0.feed_forward.expand.weight"]
    contract = tensors["blocks.0.feed_forward.contract.weight"]
    gated = expand.shape[0] == 2 * contract.shape[1]
    row = published_vit(checkpoint, width)
    heads = checkpoint.fact(
        "num_heads", "num_attention_heads", published=row.heads if row else None
    )
    found = count_blocks(state, _L, checkpoint.path)
    dinov2 = any(".scale" in name for name in tensors)
    registers = sum(int(state[name].shape[1]) for name in _TOKENS[2:] if name in state)
    checkpoint.require_stated(
        "register tokens", registers, "register_tokens", "num_register_tokens"
    )
    distillation = "embeddings.distillation_token" in state
    return {
        "patch_size": checkpoint.per_axis(tuple(int(n) for n in embed.shape[2:])),
        "embed_dim": width,
        "depth": stated_depth(
            checkpoint, found, "num_hidden_layers", published=row.depth if row else None
        ),
        "num_heads": int(heads),
        "mlp_dim": int(contract.shape[1]),
        "gated": gated,
        "activation": "gelu" if gated else _activation(checkpoint),
        "class_token": "embeddings.cls_token" in state,
        "register_tokens": registers + distillation,
        "qkv_bias": any(name.endswith(".qkv.bias") for name in tensors),
        "layer_scale": float(checkpoint.fact_or(1.0, "layerscale_value")) if dinov2 else None,
        "norm_eps": float(
            checkpoint.fact_or(1e-6 if dinov2 else 1e-12, "norm_eps", "layer_norm_eps")
        ),
    }


def _activation(checkpoint: Checkpoint) -> str:
    said = checkpoint.fact_or("gelu", "activation", "hidden_act")
    ours = _ACTIVATIONS.get(said, said)
    if ours not in ACTIVATIONS:
        raise UnusableWeights(f"its activation is {said!r}; vit has {', '.join(ACTIVATIONS)}")
    return ours
