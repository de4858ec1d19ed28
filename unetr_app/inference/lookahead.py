"""Look-ahead: windows computed in threads of their own, while earlier ones are blended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import torch
from torch import Tensor

from unetr_app.inference.blending import LogitsOf
from unetr_app.inference.window_plan import Member, Shape


class LookAhead:
    """Gives the logits of windows in a known order; as many again are computed meanwhile.

    Args:
        windows: All that will be asked for, in that order.
        logits_of: Computes one; asked by several threads at a time.
        threads: Windows that are computed at a time; 0 computes each when it is asked for.
    """

    def __init__(self, windows: Iterable[tuple[Member, Shape]], logits_of: LogitsOf, threads: int):
        self._windows = iter(windows)
        self._logits_of = logits_of
        self._running: deque[tuple[tuple[Member, Shape], Future[Tensor]]] = deque()
        self._threads = threads
        self._inference_mode = torch.is_inference_mode_enabled()
        self._pool = ThreadPoolExecutor(threads, "window") if threads else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __call__(self, member: Member, start: Shape) -> Tensor:
        """The logits of the next window.

        Raises:
            ValueError: If it is not the one whose turn it is.
        """
        if self._pool is None:
            return self._logits_of(member, start)
        self._go_on(self._pool)
        if not self._running or self._running[0][0] != (member, start):
            raise ValueError(f"it is not the turn of the window at {start}")
        logits = self._running.popleft()[1].result()
        self._go_on(self._pool)
        return logits

    def _go_on(self, pool: ThreadPoolExecutor) -> None:
        while len(self._running) < self._threads:
            window = next(self._windows, None)
            if window is None:
                return
            self._running.append((window, pool.submit(self._computed, *window)))

    def _computed(self, member: Member, start: Shape) -> Tensor:
        with torch.inference_mode(self._inference_mode):  # which holds for one thread
            return self._logits_of(member, start)
