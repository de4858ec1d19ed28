"""Work on windows that reports each of them, and stops where asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unetr_app.errors import Cancelled
from unetr_app.inference.blending import LogitsOf
from unetr_app.inference.window_plan import Member, Shape

Progress = Callable[[int, int], None]
ShouldStop = Callable[[], bool]


def watched(
    logits_of: LogitsOf, total: int, progress: Progress | None, should_stop: ShouldStop | None
) -> LogitsOf:
    """The same, but reporting each window, and raising `Cancelled` where asked to stop."""
    done = 0

    def watching(member: Member, start: Shape) -> Tensor:
        nonlocal done
        _require_going_on(should_stop)
        logits = logits_of(member, start)
        done += 1
        if progress is not None:
            progress(done, total)
        return logits

    return watching


class WatchedNetwork:
    """Calls a network, reports progress after each call and stops where asked.

    Args:
        network: The network.
        total: Windows in all, for the report.
        progress: Told (windows done, windows in all).
        should_stop: Asked before each call.
    """

    def __init__(
        self,
        network: nn.Module,
        total: int,
        progress: Progress | None,
        should_stop: ShouldStop | None,
    ):
        self.network = network
        self.total = total
        self.done = 0
        self.progress = progress
        self.should_stop = should_stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def __call__(self, windows: Tensor, *more: Any, **named: Any) -> Any:
        """(N, C, d, h, w), and what else an inferer gives a network, to what the network gives.

        Raises:
            Cancelled: If ``should_stop`` said so.
        """
        _require_going_on(self.should_stop)
        logits = self.network(windows, *more, **named)
        self.done += len(windows)
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))
        return logits


def _require_going_on(should_stop: ShouldStop | None) -> None:
    if should_stop is not None and should_stop():
        raise Cancelled("stopped before the case was finished")
