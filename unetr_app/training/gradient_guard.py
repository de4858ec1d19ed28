"""GradientGuard: clips gradients, and keeps a loss that is not finite from spoiling the weights."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from unetr_app.errors import UnreadableInput
from unetr_app.training.reporting import batch_names

_log = logging.getLogger(__name__)


class GradientGuard:
    """Clips the gradients' norm; drops the step where loss or gradient is not finite.

    With a gradient scaler (half precision on a GPU) gradients are unscaled first. Steps dropped
    while the scaler still looks for its scale are not held against the data.

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
        """Clip, or take all gradients away where they are not finite."""
        scaler: Any = getattr(engine, "scaler", None)
        if scaler is not None:
            scaler.unscale_(engine.optimizer)  # pyright: ignore[reportAttributeAccessIssue]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        output: Any = engine.state.output
        if torch.isfinite(norm) and torch.isfinite(output["loss"]):
            self.dropped_in_a_row = 0
            return
        for parameter in self.parameters:
            parameter.grad = None  # the optimiser passes over it: no update, no weight decay
        self.dropped += 1
        if scaler is not None and scaler.get_scale() > 1:
            return
        self.dropped_in_a_row += 1
        cases = ", ".join(batch_names(engine.state.batch)) or "cases without a name"
        _log.warning(
            "step %d dropped: loss or gradient is not finite (%s)", engine.state.iteration, cases
        )
        if self.dropped_in_a_row >= self.patience:
            raise UnreadableInput(
                f"{self.patience} steps in a row gave a loss that is not finite, last on {cases}",
                cure="Look for NaN in the images and labels, or lower the learning rate.",
            )
