"""Arguments of MONAI's UNETR, found in its tensors and configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.monai_unetr import (
    PATCH_SIZE,
    PUBLISHED_HEADS,
    TAPS,
    has_conv_blocks,
)


def unetr_arguments(
    state: Mapping[str, Tensor], config: Mapping[str, Any], overrides: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of `build_network` for a checkpoint of MONAI's UNETR.

    Sizes come from the tensors. They do not tell group from affine instance normalisation: where
    nothing else does, it is taken for the latter.

    Args:
        state: MONAI's tensors, wrappers' prefixes taken off.
        config: Arguments as MONAI's constructor takes them; {} where nothing is known.
        overrides: Arguments of `build_network` that win over all that was found.

    Raises:
        KeyError: If a tensor that is needed for a size is missing.
        UnusableWeights: If it is another network, or an argument can be found nowhere; the message
            names it.
    """
    stem = state["encoder1.layer.conv1.conv.weight"]  # (feature, C, 3, 3, 3)
    spatial_dims = stem.ndim - 2
    positions = next(v for k, v in state.items() if "position_embedding" in k)  # (1, N, E)
    hidden = state["vit.blocks.0.mlp.linear1.weight"]  # (mlp, E)
    depth = 1 + max(int(k.split(".")[2]) for k in state if k.startswith("vit.blocks."))
    if depth != TAPS[-1]:
        raise UnusableWeights(
            f"the file holds {depth} transformer blocks; MONAI's UNETR has {TAPS[-1]}"
        )
    embed_dim = int(positions.shape[2])
    return {
        "encoder": "vit",
        "decoder": "unetr",
        "spatial_dims": spatial_dims,
        "in_channels": int(stem.shape[1]),
        "out_channels": int(state["out.conv.conv.weight"].shape[0]),
        "feature_size": int(stem.shape[0]),
        "embed_dim": embed_dim,
        "depth": depth,
        "taps": TAPS,
        "mlp_dim": int(hidden.shape[0]),
        "qkv_bias": "vit.blocks.0.attn.qkv.bias" in state,
        "norm_eps": 1e-5,
        "patch_size": PATCH_SIZE,
        "res_block": any(".conv3." in key for key in state),
        "conv_block": has_conv_blocks(state),
        "norm": _norm(state, config),
        "num_heads": overrides.get("num_heads") or _heads(embed_dim, config),
        "roi_size": overrides.get("roi_size") or _roi(positions, spatial_dims, config),
    } | dict(overrides)


def _heads(embed_dim: int, config: Mapping[str, Any]) -> int:
    heads = config.get("num_heads", PUBLISHED_HEADS.get(embed_dim))
    if heads is None:
        raise UnusableWeights(
            f"nothing says how many attention heads share {embed_dim} channels",
            cure="Pass num_heads=..., or put config.json beside the file.",
        )
    return int(heads)


def _roi(positions: Tensor, spatial_dims: int, config: Mapping[str, Any]) -> Any:
    if "img_size" in config:
        return config["img_size"]
    count = int(positions.shape[1])
    side = round(count ** (1 / spatial_dims))
    if side**spatial_dims != count:
        raise UnusableWeights(
            f"nothing says how {count} tokens lie along {spatial_dims} axes",
            cure="Pass roi_size=(...), or put config.json beside the file.",
        )
    return side * PATCH_SIZE


def _norm(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> Any:
    if "norm_name" in config:
        name = config["norm_name"]
        return name if isinstance(name, str) else tuple(name)
    if "encoder1.layer.norm1.running_mean" in state:
        return "batch"
    if "encoder1.layer.norm1.weight" in state:
        return ("instance", {"affine": True})
    return "instance"
