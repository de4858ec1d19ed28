"""Stages: the parts of a fine-tuning that take time, and how far they are."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.finetuning.child_process import run_child
from unetr_app.finetuning.options import FinetuneProgress, Stage
from unetr_app.finetuning.workplace import Workplace


class StageClock:
    """Tells how far a stage is, when that has changed, and how long it will take.

    Args:
        stage: Which.
        tell: Told of it.
    """

    def __init__(self, stage: Stage, tell: Callable[[FinetuneProgress], None]):
        self._stage: Stage = stage
        self._tell = tell
        self._began: tuple[float, int] | None = None
        self._told: tuple[int, int, int] | None = None

    def __call__(
        self, done: int, of: int, epoch: int = 0, epochs: int = 0, loss: float | None = None
    ) -> None:
        """So much is done."""
        if (done, of, epoch) == self._told:
            return
        self._told = (done, of, epoch)
        now = time.monotonic()
        if self._began is None or done < self._began[1]:
            self._began = (now, done)  # what was done before we looked tells nothing of the speed
        since, first = self._began
        left = (now - since) / (done - first) * (of - done) if done > first else None
        self._tell(FinetuneProgress(self._stage, done, of, epoch, epochs, loss, left))


@dataclass(frozen=True)
class Job:
    """Runs jobs in child processes at a workplace.

    Args:
        place: Where.
        should_stop: Asked several times a second.
    """

    place: Workplace
    should_stop: Callable[[], bool]

    def run(self, job: dict[str, Any], look: Callable[[], None]) -> tuple[float, int]:
        """Run one.

        Returns:
            Seconds, and the most bytes that it held.

        Raises:
            UnetrError: See `run_child`.
        """
        began = time.monotonic()
        peak = run_child(
            job, self.place.root, cwd=self.place.bundle, log=self.place.log, look=look,
            should_stop=self.should_stop,
        )  # fmt: skip
        return time.monotonic() - began, peak


def read_progress(path: Path, clock: StageClock) -> None:
    """Tell a clock what `unetr_app.training.ProgressFile` wrote; nothing where there is none."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
        loss = row["loss"]
        clock(
            int(row["step"]), int(row["steps"]), int(row["epoch"]), int(row["epochs"]),
            None if loss is None else float(loss),
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError):
        return
