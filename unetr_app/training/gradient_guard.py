"""GradientGuard: clips gradients, and keeps a loss that is not finite from spoiling the weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from ignite.engine import Engine
from monai.engines import IterationEvents
from torch import nn

from unetr_app.errors import UnreadableInput

_log = logging.getLogger(__name__)


class GradientGuard:
    """Clips the gradients' norm; drops the step where loss or gradient is not finite.

    Args:
        parameters: What the optimiser updates.
        max_norm: Largest 2-norm of all gradients together.
        patience: After so many dropped steps in a row the run stops.

    Raises:
        UnreadableInput: From the call, once ``patience`` is used up.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, max_norm: float = 1.0, patience: int = 10
    ):
        self.parameters = list(parameters)
        self.max_norm = max_norm
        self.patience = patience
        self.dropped_in_a_row = 0
        self.dropped = 0

    def attach(self, engine: Engine) -> None:
        """Run after each backward pass of ``engine``."""
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Clip, or zero all gradients where they are not finite."""
        norm = nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        if torch.isfinite(norm) and torch.isfinite(engine.state.output["loss"]):
            self.dropped_in_a_row = 0
            return
        for parameter in self.parameters:
            parameter.grad = None  # the optimiser passes over it: no update, no weight decay
        self.dropped += 1
        self.dropped_in_a_row += 1
        _log.warning("step %d dropped: loss or gradient is not finite", engine.state.iteration)
        if self.dropped_in_a_row >= self.patience:
            raise UnreadableInput(
                f"{self.patience} steps in a row gave a loss that is not finite",
                cure="Look for NaN in the images and labels, or lower the learning rate.",
            )
