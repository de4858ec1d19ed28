"""SaveBest: the weights with the highest validation score so far, on disk."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from unetr_app.training.checkpoint import PathLike, save_weights
from unetr_app.training.device import is_first_process


class SaveBest:
    """Saves weights for inference whenever the validation score is the highest so far.

    The score is part of the training state: a resumed run does not overwrite them with worse ones.

    Args:
        network: What to save.
        path: File to write.
        score_function: The evaluator's score; higher is better.
        dtype: How floating-point tensors are stored.
    """

    def __init__(
        self,
        network: nn.Module,
        path: PathLike,
        score_function: Callable[[Engine], float],
        *,
        dtype: str = "float16",
    ):
        self.network = network
        self.path = path
        self.score_function = score_function
        self.dtype = dtype
        self.best = -math.inf

    def attach(self, engine: Engine) -> None:
        """Run after each validation by ``engine``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save if it is better; of several processes the first alone."""
        score = self.score_function(engine)
        if score > self.best:
            self.best = score
            if is_first_process():
                save_weights(self.network, self.path, dtype=self.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The best score so far."""
        return {"best": self.best}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict`."""
        self.best = float(state["best"])
