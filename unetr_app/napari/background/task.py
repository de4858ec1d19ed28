"""Task: work in a thread that tells of itself through a queue, and never touches Qt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.napari.background.failing import as_ours

Post = Callable[[Any], None]
ShouldStop = Callable[[], bool]
Work = Callable[[Post, ShouldStop], Any]


@dataclass(frozen=True)
class Done:
    """The work has ended well.

    Args:
        value: What it returned.
    """

    value: Any


@dataclass(frozen=True)
class Failed:
    """The work has ended badly.

    Args:
        message: What was found and what to do, without a traceback.
    """

    message: str


@dataclass(frozen=True)
class Stopped:
    """The work has ended because it was asked to."""


class Task:
    """One piece of work at a time, beside the window's own thread.

    What the work posts, and at last `Done`, `Failed` or `Stopped`, waits until `events` takes it:
    the thread of the window calls that as often as it likes.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def is_running(self) -> bool:
        """Is there work under way?"""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Work, name: str = "unetr-work") -> None:
        """Begin a piece of work.

        Args:
            work: Called with a function that posts events, and with the question whether to stop.
            name: Of the thread.

        Raises:
            InvalidRequest: If there is work under way.
        """
        if self.is_running:
            raise InvalidRequest("it is still at work", cure="Wait for it, or cancel it.")
        stop = threading.Event()  # of this work alone: an old thread keeps its own
        events: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stop, self._queue = stop, events
        self._thread = threading.Thread(
            target=_run, args=(work, events.put, stop.is_set), name=name
        )
        self._thread.start()

    def cancel(self) -> None:
        """Ask the work to stop; it ends in its own time, soon."""
        self._stop.set()

    def events(self) -> list[Any]:
        """What has come since the last call."""
        found: list[Any] = []
        while not self._queue.empty():
            found.append(self._queue.get())
        return found

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of the work; is it there?"""
        if self._thread is not None:
            self._thread.join(seconds)
        return not self.is_running


def _run(work: Work, post: Post, should_stop: ShouldStop) -> None:
    try:
        post(Done(work(post, should_stop)))
    except Cancelled:
        post(Stopped())
    except Exception as error:  # a bundle may raise anything, and a thread has no caller
        post(Failed(str(as_ours(error))))
