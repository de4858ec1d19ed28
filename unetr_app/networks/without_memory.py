"""Networks without memory: shapes and options to look at, and no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def parameters_without_memory() -> Iterator[None]:
    """Modules built within have parameters with shapes alone; all else is computed as ever.

    ``torch.device("meta")`` would do it for every tensor, also for those that constructors read
    numbers from.
    """
    handle = register_module_parameter_registration_hook(_without_memory)
    try:
        yield
    finally:
        handle.remove()


def _without_memory(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:
    """Torch calls it with each parameter that a module is given, and takes the answer instead."""
    if parameter is None:
        return None
    return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
