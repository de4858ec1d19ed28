"""Memory of a device: whether an error means that it ran out."""

from __future__ import annotations

import torch

from unetr_app.bundle import root_cause


def is_out_of_memory(error: Exception) -> bool:
    """Did the device, or the machine, run out of memory? Torch says it of a CPU in words alone."""
    out = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return out or "not enough memory" in root_cause(error)
