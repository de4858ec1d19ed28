"""ProgressFile: how far training is, as a small JSON file that another process reads."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ignite.engine import Engine, Events

from unetr_app.training.device import is_first_process

PathLike = str | os.PathLike[str]

_SECONDS_BETWEEN = 0.5


class ProgressFile:
    """Writes how far a run is after its steps, twice a second at most, and after each epoch.

    The file holds ``epoch`` (epochs that are complete), ``epochs``, ``step`` (steps of all epochs
    that are done), ``steps`` and ``loss`` (of the newest step; null where it is not finite). It is
    replaced whole, so that a reader never sees half of it.

    Args:
        path: The file; None writes nothing.
    """

    def __init__(self, path: PathLike | None):
        self.path = None if path is None else Path(path)
        self._written = -1.0

    def attach(self, engine: Engine) -> None:
        """Write as the steps and epochs of ``engine`` complete."""
        if self.path is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self, ended=False)
            engine.add_event_handler(Events.EPOCH_COMPLETED, self, ended=True)

    def __call__(self, engine: Engine, *, ended: bool) -> None:
        """Write; of several processes the first alone."""
        now = time.monotonic()
        if self.path is None or not is_first_process():
            return
        if not ended and now - self._written < _SECONDS_BETWEEN:
            return
        self._written = now
        state = engine.state
        length, epochs = int(state.epoch_length or 1), int(state.max_epochs or 0)
        loss = float(state.output["loss"]) if isinstance(state.output, dict) else float("nan")
        row = {
            "epoch": state.epoch if ended else state.epoch - 1,
            "epochs": epochs,
            "step": state.iteration,
            "steps": length * epochs,
            "loss": loss if abs(loss) < float("inf") else None,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        part.write_text(json.dumps(row), encoding="utf-8")
        part.replace(self.path)
