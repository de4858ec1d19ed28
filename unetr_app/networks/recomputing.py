"""Recompute blocks in the backward pass: memory for time, and nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recompute(module: nn.Module, function: Callable[..., Tensor], *arguments: Any) -> Tensor:
    """Call a function of a module and forget its activations until the backward pass.

    Batch norms within take part in the second pass without learning from it: running statistics
    are what they are without recomputing.

    Args:
        module: Whose batch norms are meant.
        function: What to call.
        arguments: What to call it with.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_untouched(module)

    if torch.compiler.is_compiling():  # a compiled graph updates statistics once as it is
        return checkpoint(function, *arguments, use_reentrant=False)  # pyright: ignore[reportReturnType]
    return checkpoint(function, *arguments, use_reentrant=False, context_fn=contexts)  # pyright: ignore[reportReturnType]


@contextmanager
def _statistics_untouched(module: nn.Module) -> Iterator[None]:
    """Batch norms within run as in training, with a share of 0 for what they see."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, momentum, counter in kept:
            norm.momentum, norm.num_batches_tracked = momentum, counter
