"""What watches the validation score: the best weights so far, and when to stop.

Both remember their state in the training state, so that a resumed run neither overwrites the best
weights with worse ones nor waits anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from unetr_app.training.checkpoint import PathLike, save_weights
from unetr_app.training.device import is_first_process

Score = Callable[[Engine], float]


class SaveBest:
    """Saves weights for inference whenever the validation score is the highest so far.

    Args:
        network: What to save.
        path: File to write.
        score_function: The evaluator's score; higher is better.
        dtype: How floating-point tensors are stored.
    """

    def __init__(
        self, network: nn.Module, path: PathLike, score_function: Score, *, dtype: str = "float16"
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


class EarlyStop:
    """Stops training when the validation score has not risen for some validations in a row.

    Args:
        patience: Validations without a better score before the stop.
        score_function: The evaluator's score; higher is better.
    """

    def __init__(self, patience: int, score_function: Score):
        self.patience = patience
        self.score_function = score_function
        self.trainer: Engine | None = None
        self.best = -math.inf
        self.waited = 0

    def attach(self, engine: Engine) -> None:
        """Run after each validation by ``engine``."""
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def set_trainer(self, trainer: Engine) -> None:
        """The engine to stop; without one nothing stops."""
        self.trainer = trainer

    def __call__(self, engine: Engine) -> None:
        """Count, and stop where patience is used up."""
        score = self.score_function(engine)
        self.waited = 0 if score > self.best else self.waited + 1
        self.best = max(self.best, score)
        if self.waited >= self.patience and self.trainer is not None:
            self.trainer.terminate()

    def state_dict(self) -> dict[str, Any]:
        """The best score so far, and how many validations ago."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up `state_dict`."""
        self.best, self.waited = float(state["best"]), int(state["waited"])
