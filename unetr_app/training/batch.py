"""prepare_batch: a batch of the data loader as plain tensors in the fastest memory layout."""

from __future__ import annotations

from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor


def prepare_batch(
    batch: dict[str, Any],
    device: str | torch.device | None = None,
    non_blocking: bool = False,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """``image`` and ``label`` of a batch, (B, C, D, H, W) each, on the device.

    Metadata is dropped and the image laid out channels last, which convolutions on a CPU and on
    recent GPUs run faster in.
    """

    def plain(value: Tensor) -> Tensor:
        tensor = value.as_tensor() if isinstance(value, MetaTensor) else value
        return tensor.to(device=device, non_blocking=non_blocking)

    image = plain(batch["image"])
    if image.ndim == 5:
        image = image.contiguous(memory_format=torch.channels_last_3d)
    return image, plain(batch["label"])
