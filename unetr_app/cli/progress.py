"""Progress on the screen: a bar on a terminal; for a batch, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from unetr_app.cli.screen import clean, note
from unetr_app.inference.memory_plan import in_gib

if TYPE_CHECKING:
    from unetr_app.batch.outcome import Outcome
    from unetr_app.batch.progress import Progress

_STAGES = {
    "reading": "reading",
    "opening": "loading the bundle",
    "segmenting": "segmenting",
    "waiting": "waiting for another process",
}


def result_words(outcome: Outcome) -> str:
    """How a case ended, in a word or two."""
    if outcome.status == "failed":
        return "failed"
    return "already done" if outcome.resumed else "done"


class PlainProgress:
    """One line for each case that ends, or is waited for; for logs and pipes."""

    def __init__(self) -> None:
        self._awaited = ""
        self._foreseen = 0

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, progress: Progress) -> None:
        """Print a line where a case has ended, or is being done by another process."""
        outcome = progress.outcome
        if progress.memory > 1.1 * self._foreseen:  # not for every case of equal size
            self._foreseen = progress.memory
            note(f"{progress.case_id}: memory needed is about {in_gib(progress.memory)}")
        if progress.stage == "waiting" and progress.case_id != self._awaited:
            self._awaited = progress.case_id
            note(f"[{progress.ended}/{progress.cases}] {progress.case_id}: {_STAGES['waiting']}")
        if outcome is None:
            return
        said = result_words(outcome)
        if said == "done":
            said = f"done in {outcome.seconds:.1f} s"
        if outcome.error is not None:
            said = f"failed: {outcome.error}"
        note(f"[{progress.ended}/{progress.cases}] {outcome.case_id}: {said}")


class QuietProgress(PlainProgress):
    """Nothing but failures."""

    def __call__(self, progress: Progress) -> None:
        """Print a line where a case has failed."""
        if progress.outcome is not None and progress.outcome.error is not None:
            super().__call__(progress)


class BarProgress:
    """A bar with the case at hand, the count and the remaining time."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar

        self._bar = Bar(
            SpinnerColumn(),
            TextColumn("{task.fields[case]}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=Console(stderr=True),
        )
        self._task: Any = None
        self._memory = ""
        self._left_out = 0

    def __enter__(self) -> BarProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Move the bar."""
        outcome = progress.outcome
        stage = _STAGES[progress.stage] if outcome is None else result_words(outcome)
        if progress.memory:
            self._memory = f", about {in_gib(progress.memory)}"
        if progress.stage == "segmenting":
            stage += self._memory
        done, of = progress.windows
        begun = 0.0 if of == 0 else 0.95 * done / of
        skipped = outcome is not None and outcome.resumed
        if self._task is None:
            self._task = self._bar.add_task("", total=progress.cases, case="", count="")
        self._left_out += skipped  # they take no time, so they would spoil the estimate
        self._bar.update(
            self._task,
            total=progress.cases - self._left_out,
            completed=progress.ended - self._left_out + begun,
            case=f"{clean(progress.case_id)[:40]}: {stage}",
            count=f"{progress.ended}/{progress.cases}",
        )


def progress_view(*, quiet: bool) -> PlainProgress | BarProgress:
    """What fits the screen: nothing but failures if quiet, a bar on a terminal, else lines."""
    if quiet:
        return QuietProgress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()


@contextmanager
def count_bar(words: str, *, quiet: bool) -> Generator[Callable[[int, int], None] | None]:
    """A bar of steps done on a terminal; None elsewhere.

    Args:
        words: What is being done.
        quiet: Show nothing at all?

    Yields:
        Takes (steps done, steps in all).
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)
