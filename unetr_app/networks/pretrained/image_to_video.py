"""From an image transformer to a TimeSformer that begins as that image transformer.

As the authors of TimeSformer begin (Bertasius et al. 2021, arXiv:2102.05095): attention over depth
gets a copy of the attention in plane and of its norm, its projection is zero, and so are the
positions over depth.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.source import Source

_SHARED = (  # arguments that mean the same in both encoders
    "embed_dim", "depth", "num_heads", "mlp_dim", "gated", "class_token", "register_tokens", "taps",
    "qkv_bias", "layer_scale", "norm_eps", "final_norm",
)  # fmt: skip
_COPIED = re.compile(r"(blocks\.\d+\.)(norm1|attention\.qkv|attention\.project)(\.\w+)")
_COPIES = {
    "norm1": "temporal_norm",
    "attention.qkv": "temporal_attention.qkv",
    "attention.project": "temporal_attention.project",
}


def image_to_video(source: Source) -> Source:
    """A source for ``timesformer`` from one of images for ``vit``.

    In every slice of every volume the encoder gives at first what the image transformer gives on
    that slice. For that, class and register tokens are kept, one set a slice
    (``shared_prefix=False``): averaged over the slices, as TimeSformer was trained, they would
    carry the mean of all slices into each. Passing ``shared_prefix=True`` asks for the average,
    which is exact where slices are equal.

    Args:
        source: Of a vision transformer for images, with learned positions or none.

    Returns:
        The source for divided attention. For ``attention="space"`` the tensors of attention over
        depth have no use; for ``"joint"`` too, and then the slices meet from the start, as in
        ``vit``.

    Raises:
        UnusableWeights: If it is no vision transformer of images, or one whose positions are no
            tensor or whose activation is not GELU.
    """
    if source.encoder != "vit" or source.spatial_dims != 2:
        raise UnusableWeights(
            f"{source.layout} holds {source.encoder} for {source.spatial_dims} axes; a timesformer "
            "begins from a vision transformer for images"
        )
    kind = source.options.get("positions", "learned")
    if kind not in ("learned", "none"):
        raise UnusableWeights(
            f"its positions are {kind}, which timesformer has not",
            cure="Build vit, which has them.",
        )
    if source.options.get("activation", "gelu") != "gelu":
        raise UnusableWeights(
            f"its activation is {source.options['activation']}, which timesformer has not",
            cure="Build vit, which has it.",
        )
    width = int(source.tensors["embed.weight"].shape[0])
    tensors: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    skipped = dict(source.skipped)
    for name, tensor in source.tensors.items():
        origin = source.origins.get(name, "")
        if name.startswith("pooling."):
            skipped[origin or name] = "pooling head"
            continue
        tensors[name], origins[name] = tensor, origin
        if found := _COPIED.fullmatch(name):
            copy = f"{found[1]}{_COPIES[found[2]]}{found[3]}"
            tensors[copy], origins[copy] = tensor, origin
    made = _zeros(width, int(source.options["depth"]))
    if kind == "none":
        made["positions"] = torch.zeros(1, width, 1, 1)
    return replace(
        source,
        encoder="timesformer",
        options=_options(source),
        tensors={**tensors, **made},
        origins={**origins, **dict.fromkeys(made, "")},
        skipped=skipped,
    )


def _zeros(width: int, depth: int) -> dict[str, Tensor]:
    """What an image transformer has nothing for."""
    made = {"depth_positions": torch.zeros(1, width, 1)}
    for n in range(depth):
        made[f"blocks.{n}.temporal_project.weight"] = torch.zeros(width, width)
        made[f"blocks.{n}.temporal_project.bias"] = torch.zeros(width)
    return made


def _options(source: Source) -> dict[str, Any]:
    patch = source.options["patch_size"]
    if not isinstance(patch, int):  # a token lies in one slice
        patch = (1,) * (len(patch) - 2) + tuple(patch)[-2:]
    shared = {name: source.options[name] for name in _SHARED if name in source.options}
    return {
        "class_token": False,  # where vit's own default stands
        **shared,
        "patch_size": patch,
        "attention": "divided",
        "shared_prefix": False,
    }
