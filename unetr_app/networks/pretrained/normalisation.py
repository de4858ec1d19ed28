"""The normalisation of a checkpoint's images, folded into its embedding.

An image network reads (x - mean) / std in each of its channels. For a grey image x, given to all
channels alike, a convolution w with bias b then gives sum(w / std) * x + b - sum(w * mean / std):
a convolution of one channel. This is exact where the convolution reads no padding, since padding
is zero after the normalisation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.pretrained.source import Checkpoint, Source

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]


def stated_normalisation(checkpoint: Checkpoint, channels: int) -> Normalisation | None:
    """Mean and standard deviation a channel, where the caller or the configuration states both.

    Looked for are ``image_mean`` and ``image_std`` (transformers' preprocessor) and ``mean`` and
    ``std`` (timm), for images from 0 to 1.

    Args:
        checkpoint: With its configuration.
        channels: That its embedding reads; what is stated for another number is left aside.

    Raises:
        InvalidRequest: If the caller passed what is no normalisation of so many channels.
    """
    mean = checkpoint.fact_or(None, "image_mean", "mean")
    std = checkpoint.fact_or(None, "image_std", "std")
    if _are_numbers(mean, channels) and _are_numbers(std, channels) and min(std) > 0:
        return tuple(float(n) for n in mean), tuple(float(n) for n in std)
    if any(checkpoint.given.get(name) is not None for name in ("image_mean", "image_std")):
        raise InvalidRequest(
            f"image_mean {mean} and image_std {std} are no normalisation of {channels} channels",
            cure="Pass both, a number a channel of the checkpoint, those of image_std above 0.",
        )
    return None


def can_fold(stem: nn.Module, source: Source) -> bool:
    """Does the module that reads the image use no padding, and has it a bias to fold into?"""
    padding = getattr(stem, "padding", None)
    pads = not isinstance(padding, tuple) or any(padding)
    return not pads and _bias(source) in source.tensors


def fold_normalisation(source: Source, normalisation: Normalisation) -> Source:
    """The source with an embedding that reads one grey channel from 0 to 1.

    Args:
        source: With as many channels as the normalisation has numbers.
        normalisation: Mean and standard deviation a channel.
    """
    weight = source.tensors[source.stem].to(torch.float64)  # (O, C, k...)
    shape = (1, -1) + (1,) * (weight.ndim - 2)
    mean, std = (torch.tensor(n, dtype=torch.float64).reshape(shape) for n in normalisation)
    scaled = weight / std
    shift = (scaled * mean).flatten(1).sum(dim=1)  # (O,)
    bias = source.tensors[_bias(source)].to(torch.float64) - shift
    folded = {
        source.stem: scaled.sum(dim=1, keepdim=True).to(torch.float32),
        _bias(source): bias.to(torch.float32),
    }
    return replace(source, tensors={**source.tensors, **folded})


def _bias(source: Source) -> str:
    return source.stem.removesuffix("weight") + "bias"


def _are_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == count
        and all(isinstance(n, (int, float)) and math.isfinite(n) for n in value)
    )
