"""Clock: seconds spent on a case, without the breaks."""

from __future__ import annotations

import time
from collections.abc import Callable


class Clock:
    """Runs from the beginning until it is paused.

    Args:
        tick: Seconds that only grow.

    Example:
        >>> times = iter([0.0, 5.0, 60.0, 62.0])
        >>> clock = Clock(lambda: next(times))
        >>> clock.pause()
        >>> clock.resume()
        >>> clock.seconds
        7.0
    """

    def __init__(self, tick: Callable[[], float] = time.monotonic):
        self._tick = tick
        self._spent = 0.0
        self._since: float | None = tick()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        running = 0.0 if self._since is None else self._tick() - self._since
        return self._spent + running

    def pause(self) -> None:
        """Stop counting; nothing where it is paused."""
        if self._since is not None:
            self._spent, self._since = self.seconds, None

    def resume(self) -> None:
        """Go on counting; nothing where it runs."""
        if self._since is None:
            self._since = self._tick()
