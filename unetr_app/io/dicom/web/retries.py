"""Retries: trying again where that can help, with a limit and growing waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from unetr_app.errors import RemoteFailure

T = TypeVar("T")


class PassingFailure(RemoteFailure):
    """A failure that may be over in a moment.

    Args:
        what: As for `RemoteFailure`.
        cure: As for `RemoteFailure`.
        after: Seconds that the server asks us to wait; 0 where it asks nothing.
        reached: Whether the server was there and gave an answer.
    """

    def __init__(self, what: str, *, cure: str = "", after: float = 0.0, reached: bool = False):
        super().__init__(what, cure=cure)
        self.after = after
        self.reached = reached


@dataclass(frozen=True)
class Retries:
    """How often and how soon to try again.

    Args:
        attempts: Tries in all, 1 or more.
        first_wait: Seconds before the second try; doubled for each further one.
        longest_wait: Most seconds between two tries, whatever the server asks.
        sleep: Waits for a number of seconds.

    Example:
        >>> Retries().run(lambda: 7)
        7
    """

    attempts: int = 4
    first_wait: float = 0.5
    longest_wait: float = 30.0
    sleep: Callable[[float], None] = time.sleep

    def run(self, work: Callable[[], T]) -> T:
        """Do something until it succeeds, fails for good, or the attempts are used up.

        Args:
            work: May raise `PassingFailure`, which leads to a further attempt.

        Raises:
            RemoteFailure: The last failure.
        """
        for tried in range(self.attempts - 1):
            try:
                return work()
            except PassingFailure as failure:
                wait = max(failure.after, self.first_wait * 2**tried)
                self.sleep(min(wait, self.longest_wait))
        return work()
