"""Windows come in their order, as many at a time as was said, and an error where it happened."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor

from unetr_app.inference.lookahead import LookAhead
from unetr_app.inference.window_plan import Member, Shape

WINDOWS: list[tuple[Member, Shape]] = [(Member(), (n, 0, 0)) for n in range(7)]


class _Computing:
    """Notes how many windows it computes at a time."""

    def __init__(self, fails_at: int = -1):
        self.lock, self.now, self.most, self.fails_at = threading.Lock(), 0, 0, fails_at
        self.started: list[int] = []
        self.modes: set[bool] = set()

    def __call__(self, member: Member, start: Shape) -> Tensor:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.started.append(start[0])
        self.modes.add(torch.is_inference_mode_enabled())
        time.sleep(0.02)
        with self.lock:
            self.now -= 1
        if start[0] == self.fails_at:
            raise MemoryError("too much")
        return torch.full((1, 2, 2, 2), float(start[0]))


@pytest.mark.parametrize("threads", [0, 1, 2, 3])
@torch.inference_mode()
def test_windows_come_in_order_and_no_more_at_a_time(threads: int) -> None:
    computing = _Computing()
    with LookAhead(WINDOWS, computing, threads) as coming:
        found = [float(coming(member, start).mean()) for member, start in WINDOWS]
    assert found == [0, 1, 2, 3, 4, 5, 6]
    assert computing.most == max(threads, 1)
    assert computing.modes == {True}


def test_what_is_not_asked_for_is_not_computed_far_ahead() -> None:
    computing = _Computing()
    with LookAhead(WINDOWS, computing, 2) as coming:
        coming(*WINDOWS[0])
    assert len(computing.started) <= 3


def test_an_error_comes_where_its_window_is_asked_for() -> None:
    with LookAhead(WINDOWS, _Computing(fails_at=1), 2) as coming:
        assert coming(*WINDOWS[0]).shape == (1, 2, 2, 2)
        with pytest.raises(MemoryError, match="too much"):
            coming(*WINDOWS[1])


def test_another_window_than_the_next_is_refused() -> None:
    with LookAhead(WINDOWS, _Computing(), 1) as coming, pytest.raises(ValueError, match="turn"):
        coming(*WINDOWS[3])
