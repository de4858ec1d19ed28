"""Every encoder of the table, small: what the tests of the whole zoo build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from unetr_app.networks import ENCODERS

ROI = (16, 32, 16)  # the strides of every row divide it; two axes are the last two
OTHER_SIZE = (32, 16, 16)
UNEVEN_ROI = (16, 32, 32)  # for ``uneven``


@dataclass(frozen=True)
class SmallEncoder:
    """Options that make one encoder tiny. A list has one entry a stage, a tuple one an axis.

    Args:
        options: Strides that are equal along all axes.
        uneven: Options that win over them, for strides that differ from axis to axis.
        fixed_size: Does it take no other input than ``roi_size``?
        no_layer_scale: Why it has no layer scale; "" where it has.
    """

    options: Mapping[str, Any]
    uneven: Mapping[str, Any]
    fixed_size: bool = False
    no_layer_scale: str = field(default="")


_TOKENS: dict[str, Any] = {"patch_size": 4, "embed_dim": 16, "depth": 2, "num_heads": 2}
_PYRAMID: dict[str, Any] = {
    "embed_dims": [8, 12], "depths": [1, 2], "num_heads": [1, 2], "patch_strides": [2, 2],
    "mlp_ratios": [2, 2],
}  # fmt: skip
_UNEVEN_PATCH: dict[str, Any] = {"patch_size": (2, 4, 8)}
_UNEVEN_PYRAMID: dict[str, Any] = {"patch_strides": [(1, 2, 4), (2, 2, 1)]}

SMALL_ENCODERS: dict[str, SmallEncoder] = {
    "convmixer": SmallEncoder(
        {"patch_size": 4, "embed_dim": 8, "depth": 2, "kernel_size": 3},
        {"patch_size": (2, 4, 8), "kernel_size": (1, 3, 5)},
    ),
    "mixer": SmallEncoder(
        {"patch_size": 4, "embed_dim": 16, "depth": 2}, _UNEVEN_PATCH, fixed_size=True
    ),
    "mvit": SmallEncoder(
        {
            "embed_dims": [8, 16], "depths": [1, 2], "num_heads": [1, 2], "patch_kernel": 3,
            "patch_stride": 2, "stride_q": [1, 2], "stride_kv": [2, 1], "mlp_ratio": 2.0,
        },
        {
            "patch_kernel": (1, 3, 7), "patch_stride": (1, 2, 4), "stride_q": [1, (2, 2, 1)],
            "stride_kv": [(2, 2, 1), 1],
        },
    ),
    "pvt": SmallEncoder(_PYRAMID, _UNEVEN_PYRAMID),
    "resnet": SmallEncoder(
        {"widths": [4, 6, 8], "depths": [1, 1, 2], "stage_strides": [1, 2, 2]},
        {"stage_strides": [1, (1, 2, 4), (2, 2, 1)], "kernel_size": [3, (1, 3, 3), 3]},
    ),
    "segformer": SmallEncoder(_PYRAMID, _UNEVEN_PYRAMID),
    "swin": SmallEncoder(
        {
            "patch_size": 2, "embed_dim": 8, "depths": [2, 1], "num_heads": [1, 2],
            "window_size": 4, "mlp_ratio": 2.0,
        },
        {"patch_size": (1, 2, 4), "window_size": (3, 2, 4)},
        no_layer_scale="MONAI's blocks have none",
    ),
    "timesformer": SmallEncoder(_TOKENS, _UNEVEN_PATCH),
    "vit": SmallEncoder(_TOKENS, _UNEVEN_PATCH),
    "xcit": SmallEncoder(_TOKENS, _UNEVEN_PATCH),
}  # fmt: skip


def roi_for(dims: int, *, uneven: bool = False) -> tuple[int, ...]:
    """Input shape that a small encoder of so many axes is laid out for."""
    return (UNEVEN_ROI if uneven else ROI)[-dims:]


def small_options(name: str, dims: int, *, uneven: bool = False) -> dict[str, Any]:
    """Arguments of the encoder's class for so many axes."""
    row = SMALL_ENCODERS[name]
    chosen = {**row.options, **row.uneven} if uneven else row.options
    return {key: _for_axes(value, dims) for key, value in chosen.items()}


def small_encoder(
    name: str, dims: int = 3, *, in_channels: int = 1, uneven: bool = False, **options: Any
) -> nn.Module:
    """A small encoder in evaluation mode, always with the same weights; ``options`` win."""
    torch.manual_seed(0)
    chosen = {"roi_size": roi_for(dims, uneven=uneven), **small_options(name, dims, uneven=uneven)}
    return ENCODERS[name](in_channels, spatial_dims=dims, **(chosen | options)).eval()  # pyright: ignore[reportCallIssue]


def shake(module: nn.Module, size: float = 0.1) -> nn.Module:
    """The same module with all weights and running statistics moved off their first values."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_floating_point():  # towards more, so that a variance stays positive
                tensor.add_(size * torch.rand(tensor.shape, generator=generator))
    return module


def _for_axes(value: Any, dims: int) -> Any:
    if isinstance(value, list):
        return [_for_axes(each, dims) for each in value]
    return value[-dims:] if isinstance(value, tuple) else value
