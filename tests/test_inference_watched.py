from __future__ import annotations

import pytest
import torch

from tests.counting_network import CountingNetwork
from unetr_app.errors import Cancelled
from unetr_app.inference import FlipInferer
from unetr_app.inference.watched import WatchedNetwork
from unetr_app.inference.window_count import window_count


def test_progress_counts_up_to_the_total() -> None:
    inferer = FlipInferer(roi_size=(4, 4, 4), overlap=0.5, sw_batch_size=3, flip_axes=[0])
    total = window_count((9, 8, 7), inferer)
    seen: list[tuple[int, int]] = []
    watched = WatchedNetwork(CountingNetwork(), total, lambda *done: seen.append(done), None)
    inferer(torch.zeros(1, 1, 9, 8, 7), watched)
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_it_stops_before_the_next_call_of_the_network() -> None:
    network = CountingNetwork()
    watched = WatchedNetwork(network, 27, None, lambda: network.seen >= 3)
    with pytest.raises(Cancelled):
        FlipInferer(roi_size=(4, 4, 4), overlap=0.0)(torch.zeros(1, 1, 12, 12, 12), watched)
    assert network.seen == 3
