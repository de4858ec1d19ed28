"""What every layout of TimeSformer has in common: from renamed tensors to a `Source`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.layouts.vit_tokens import positions_as_map, with_their_positions
from unetr_app.networks.pretrained.source import Checkpoint, Renamed, Source, count_blocks

# Parts of what the authors and transformers call their checkpoints, hyphens as underscores, with
# channels, blocks and heads: all are ViT-B (Bertasius et al. 2021, arXiv:2102.05095, section 4; the
# model zoo of facebookresearch/TimeSformer). A row counts only for a file of those channels.
PUBLISHED: dict[str, tuple[int, int, int]] = {
    "timesformer_divst": (768, 12, 12),
    "timesformer_jointst": (768, 12, 12),
    "timesformer_base": (768, 12, 12),
    "timesformer_hr": (768, 12, 12),
    "timesformer_large": (768, 12, 12),
}
_ATTENTIONS = {"divided_space_time": "divided", "joint_space_time": "joint", "space_only": "space"}


def timesformer_source(layout: str, checkpoint: Checkpoint, renamed: Renamed) -> Source:
    """The checkpoint in our words: encoder ``timesformer``, whose embedding reads single slices.

    The position of the class token is added to the token itself, which is the same sum.

    Args:
        layout: Its name.
        checkpoint: As it was found.
        renamed: Its tensors under our names, but ``class_token`` (1, 1, C), ``positions``
            (1, 1 + N, C), the class token's first, and ``depth_positions`` (1, T, C) as they lie.

    Raises:
        UnusableWeights: If the embedding is not one of slices, blocks are missing, or something
            that no tensor tells stands nowhere.
    """
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    embed = tensors["embed.weight"]  # (C, channels, p, p)
    if embed.ndim != 4:
        raise UnusableWeights(f"the patch embedding has {embed.ndim} axes; one of slices has 4")
    patch = tuple(int(n) for n in embed.shape[2:])
    positions = tensors["positions"].float()  # (1, 1 + N, C)
    grid = checkpoint.grid(int(positions.shape[1]) - 1, patch)
    class_token = tensors.pop("class_token")  # (1, 1, C)
    tensors["prefix_tokens"] = with_their_positions([class_token], positions, 1)
    origins["prefix_tokens"] = f"{origins.pop('class_token')} + {origins['positions']}"
    tensors["positions"] = positions_as_map(positions, grid, 1)
    size = tuple(n * p for n, p in zip(grid, patch, strict=True))
    if checkpoint.spatial_dims == 3:
        over_depth = tensors.get("depth_positions")  # (1, T, C)
        size = (1 if over_depth is None else int(over_depth.shape[1]), *size)
        patch = (1, *patch)
    if "depth_positions" in tensors:
        tensors["depth_positions"] = tensors["depth_positions"].transpose(1, 2)  # (1, C, T)
    return Source(
        layout=layout,
        encoder="timesformer",
        spatial_dims=checkpoint.spatial_dims,
        in_channels=int(embed.shape[1]),
        options=_options(checkpoint, tensors, patch),
        tensors=tensors,
        origins=origins,
        skipped=renamed.skipped,
        image_size=size,
    )


def _options(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], patch: tuple[int, ...]
) -> dict[str, Any]:
    activation = checkpoint.arguments.get("hidden_act", "gelu")
    if activation != "gelu":
        raise UnusableWeights(f"its activation is {activation!r}; timesformer has GELU")
    width = int(tensors["embed.weight"].shape[0])
    row = checkpoint.published(PUBLISHED)
    depth, heads = row[1:] if row is not None and row[0] == width else (None, None)
    found = count_blocks(tensors, r"blocks\.(\d+)\.", checkpoint.path)
    return {
        "patch_size": patch,
        "embed_dim": width,
        "depth": stated_depth(checkpoint, found, "num_hidden_layers", published=depth),
        "num_heads": int(checkpoint.fact("num_heads", "num_attention_heads", published=heads)),
        "mlp_dim": int(tensors["blocks.0.feed_forward.expand.weight"].shape[0]),
        "attention": _attention(checkpoint, tensors),
        "class_token": True,
        "qkv_bias": any(name.endswith(".qkv.bias") for name in tensors),
        "norm_eps": float(checkpoint.fact_or(1e-6, "norm_eps", "layer_norm_eps")),
    }


def _attention(checkpoint: Checkpoint, tensors: dict[str, Tensor]) -> str:
    """As the configuration says, or else as the tensors show."""
    said = checkpoint.fact_or(None, "attention", "attention_type")
    if said is not None:
        return _ATTENTIONS.get(str(said), str(said))
    if any(".temporal_attention." in name for name in tensors):
        return "divided"
    return "joint" if "depth_positions" in tensors else "space"
