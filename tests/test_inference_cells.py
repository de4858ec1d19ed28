"""Every window is in one cell, and cells are chosen for what waits between them."""

from __future__ import annotations

from itertools import product

import pytest

from unetr_app.inference.cells import Cells, cells_of
from unetr_app.inference.window_plan import Shape, WindowPlan, members_of


@pytest.mark.parametrize("shape", [(40, 40, 40), (100, 33, 48), (20, 90, 41)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("flips", [(), (0, 2)])
def test_every_window_is_in_one_cell(shape: Shape, overlap: float, flips: tuple[int, ...]) -> None:
    plan = WindowPlan(shape, (32, 32, 32), (overlap,) * 3, members=members_of(flips))
    windows = list(cells_of(plan).windows)
    assert len(windows) == plan.count
    assert set(windows) == {
        (member, start)
        for member in plan.members
        for start in product(*(plan.starts(member, axis) for axis in range(3)))
    }


def test_windows_lie_in_their_cell() -> None:
    plan = WindowPlan((100, 70, 50), (32, 32, 32), members=members_of((0,)))
    for cell in cells_of(plan):
        for _, start in cell.windows:
            for axis in range(3):
                assert cell.start[axis] <= start[axis]
                assert start[axis] + 32 <= cell.start[axis] + cell.shape[axis]


def test_a_last_window_that_covers_most_of_the_one_before_shares_its_cell() -> None:
    plan = WindowPlan((256, 256, 256), (96, 96, 96))
    alone = Cells(plan, tuple(tuple((n,) for n in axis) for axis in plan.nodes))  # pyright: ignore
    cells = cells_of(plan)
    assert plan.nodes[0] == (0, 72, 144, 160)
    assert cells.groups[0] == ((0,), (72,), (144, 160))
    assert cells.waiting < 0.5 * alone.waiting
    assert cells.waiting + 2 * cells.largest < alone.waiting + 2 * alone.largest


def test_windows_that_lie_evenly_stay_alone() -> None:
    plan = WindowPlan((240, 168, 96), (96, 96, 96))
    assert cells_of(plan).largest == 96**3
    assert all(len(group) == 1 for groups in cells_of(plan).groups for group in groups)


def test_where_sums_go_to_disk_cells_stay_small() -> None:
    plan = WindowPlan((256, 256, 256), (96, 96, 96))
    assert cells_of(plan).largest > 96**3
    assert cells_of(plan, most_waiting=1000).largest == 96**3
