"""Stopping: what the interrupt and terminate signals do to a running command."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any

from unetr_app.cli.screen import complain
from unetr_app.errors import Cancelled

_GRACE = 8.0  # seconds from the signal to the end of the process, come what may
_ECHO = 1.0  # seconds in which a second signal is the first one, passed on by a parent process


class StopRequest:
    """Has the user, or the system, asked this process to stop?

    As a context manager it takes over SIGINT and SIGTERM. The first signal asks to stop: work that
    looks at `is_made` ends in its own time, and with the context ends the process, whatever other
    threads are doing. A second signal, or eight seconds, end the process where it stands; results
    are written so that this harms none of them.

    A thread of its own hears the signals, because the main thread may be deep in a computation.
    """

    def __init__(self) -> None:
        self._number = 0
        self._breakable = False
        self._asked_at: float | None = None
        self._former: dict[int, Any] = {}
        self._ours: socket.socket | None = None
        self._theirs: socket.socket | None = None

    @property
    def is_made(self) -> bool:
        """Was the process asked to stop?"""
        return self._number != 0

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal, as shells expect it."""
        return 128 + self._number

    @contextmanager
    def at_once(self) -> Generator[None]:
        """A block of code that a signal may break off anywhere, by raising `Cancelled`."""
        self._breakable = True
        try:
            if self.is_made:
                raise self._cancelled()
            yield
            if self.is_made:  # what ran here may have swallowed the exception
                raise self._cancelled()
        finally:
            self._breakable = False

    def __enter__(self) -> StopRequest:
        self._ours, self._theirs = socket.socketpair()
        self._theirs.setblocking(False)
        signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._handle)
        threading.Thread(target=self._listen, args=(self._ours,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.is_made:
            if isinstance(error, Cancelled):
                complain(error)
            self._end_process()
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        for end in (self._theirs, self._ours):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def _listen(self, ours: socket.socket) -> None:
        while True:
            try:
                heard = ours.recv(1)
            except OSError:
                return
            if not heard:
                return
            if heard[0] in self._former:
                self._hear(heard[0])

    def _hear(self, number: int) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._number = self._number or number
            clock = threading.Timer(_GRACE, self._end_process)
            clock.daemon = True
            clock.start()
        elif now - self._asked_at > _ECHO:
            self._end_process()

    def _handle(self, number: int, _: FrameType | None) -> None:
        self._number = self._number or number
        if self._breakable:
            self._breakable = False
            raise self._cancelled()

    def _end_process(self) -> None:
        archives = sys.modules.get("unetr_app.io.archives")
        if archives is not None:  # images of patients must not stay behind
            archives.remove_unpacked()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(self.exit_code)

    @staticmethod
    def _cancelled() -> Cancelled:
        return Cancelled("asked to stop", cure="Run the same command again to go on.")
