"""EarlyStop: the end of training when validation no longer gets better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events


class EarlyStop:
    """Stops training when the validation score has not risen for some validations in a row.

    Its count is part of the training state: a resumed run does not wait anew.

    Args:
        patience: Validations without a better score before the stop.
        score_function: The evaluator's score; higher is better.
    """

    def __init__(self, patience: int, score_function: Callable[[Engine], float]):
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
