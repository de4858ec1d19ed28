"""Memory is foreseen, and what waits finds room or goes to disk."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import prod

import numpy as np
import pytest
import torch
from torch import Tensor

from unetr_app.errors import DeviceMemory
from unetr_app.inference.blending import blend
from unetr_app.inference.carries import Carries
from unetr_app.inference.cells import cells_of
from unetr_app.inference.memory_plan import (
    MemoryPlan,
    blending_bytes,
    held_bytes,
    measured_growth,
    plan_memory,
)
from unetr_app.inference.window_plan import Member, Shape, WindowPlan, members_of

GIB = 2**30
PLAN = MemoryPlan(held=GIB, network=GIB, blending=GIB, waiting=2 * GIB, results=GIB)


def test_without_a_limit_little_stays_in_memory_and_much_goes_to_disk() -> None:
    assert (PLAN.least, PLAN.kept, PLAN.peak) == (4 * GIB, GIB // 2, 4.5 * GIB)
    PLAN.require_room()
    assert replace(PLAN, waiting=GIB // 4).kept == GIB // 4
    assert replace(PLAN, limit=9 * GIB).kept == 2 * GIB


@pytest.mark.parametrize(("limit", "kept"), [(4, 0), (5, 1), (6, 2), (9, 2)])
def test_a_limit_is_kept_by_what_can_wait_on_disk(limit: int, kept: int) -> None:
    plan = MemoryPlan(GIB, GIB, GIB, 2 * GIB, GIB, limit=limit * GIB)
    plan.require_room()
    assert plan.kept == kept * GIB
    assert plan.peak <= limit * GIB


def test_too_low_a_limit_is_refused_with_one_that_would_do() -> None:
    plan = MemoryPlan(GIB, GIB, GIB, 2 * GIB, GIB, limit=4 * GIB - 1)
    with pytest.raises(DeviceMemory, match=r"4.00 GiB are needed") as caught:
        plan.require_room()
    figure = float(caught.value.cure.split("--memory-limit ")[1].split("GiB")[0])
    MemoryPlan(GIB, GIB, GIB, 2 * GIB, GIB, limit=int(figure * GIB)).require_room()


@pytest.mark.parametrize("shape", [(30, 12, 9), (9, 30, 12), (12, 40, 40)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.7])
@pytest.mark.parametrize("flips", [(), (0, 1)])
def test_no_more_waits_than_was_foreseen(
    shape: Shape, overlap: float, flips: tuple[int, ...]
) -> None:
    plan = WindowPlan(shape, (8, 8, 8), (overlap,) * 3, members=members_of(flips))
    most = 0

    def logits_of(member: Member, start: Shape) -> Tensor:
        nonlocal most
        most = max(most, carries.bytes)
        return torch.zeros(3, *plan.extent)

    with Carries() as carries:
        for _ in blend(cells_of(plan), logits_of, carries):
            pass
    foreseen = cells_of(plan).waiting * 3 * 4
    assert most <= foreseen
    assert foreseen <= 3 * most + 3 * 4 * 2 * prod(shape) // max(shape) * 8 or overlap == 0


def test_what_is_foreseen_does_not_grow_with_the_longest_axis() -> None:
    short, long = (
        plan_memory(cells_of(WindowPlan(shape, (32, 32, 32))), 5, shape, 0, None, results=0)
        for shape in ((64, 104, 64), (64, 992, 64))
    )
    assert (short.waiting, short.blending) == (long.waiting, long.blending)


def test_classes_cost_what_waits_and_one_window() -> None:
    cells, shape = cells_of(WindowPlan((80, 80, 80), (32, 32, 32))), (80, 80, 80)
    few, many = (plan_memory(cells, n, shape, 0, None, results=0) for n in (1, 101))
    assert many.waiting == 101 * few.waiting
    assert many.blending - few.blending == 100 * 4 * (2 * 32**3 + cells.edges)
    ahead = blending_bytes(cells, 101, shape, ahead=2)
    assert ahead - many.blending == 2 * 101 * 4 * 32**3


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_growth_is_seen_while_it_lasts() -> None:
    held = held_bytes()
    assert held > 2**20

    def work() -> None:
        for _ in range(5):
            np.ones(2**23).sum()  # 64 MiB

    assert 48 * 2**20 <= measured_growth(work) < 200 * 2**20


def test_preprocessing_that_held_more_than_windows_will_counts() -> None:
    parts = {"held": 10, "network": 5, "blending": 3, "waiting": 4, "results": 2}
    assert MemoryPlan(**parts, limit=22, preparing=21).peak == 22
    assert MemoryPlan(**parts, preparing=40).peak == 40
    with pytest.raises(DeviceMemory, match="to preprocess the image"):
        MemoryPlan(**parts, limit=22, preparing=23).require_room()
