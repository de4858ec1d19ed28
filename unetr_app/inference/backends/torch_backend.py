"""The torch backend: the network as it is, its weights in the faster memory layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unetr_app.inference.backends.backend import Runner, require_logits


def torch_runner(network: nn.Module, device: torch.device) -> Runner:
    """What runs a network on its device; in half precision where that is CUDA.

    Args:
        network: In evaluation mode, on ``device``.
        device: Where logits stay, too.
    """

    def run(window: Tensor) -> Tensor:
        with torch.autocast("cuda", enabled=device.type == "cuda"):
            logits = network(window.to(device, non_blocking=True))
        return require_logits(logits).float()

    return run


def has_layouts(network: nn.Module) -> bool:
    """Has it convolutions in three dimensions, whose memory layout matters?"""
    return any(parameter.ndim == 5 for parameter in network.parameters())


def lay_out(network: nn.Module, *, channels_last: bool) -> None:
    """Lay the weights of convolutions out channels last, or as torch makes them; in place."""
    form = torch.channels_last_3d if channels_last else torch.contiguous_format
    for parameter in network.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=form)
