"""The streamed blend equals MONAI's over the whole volume."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.inferers.inferer import SlidingWindowInferer
from torch import Tensor

from unetr_app.inference.blending import blend
from unetr_app.inference.carries import Carries
from unetr_app.inference.cells import Cells, cells_of
from unetr_app.inference.flips import FlipInferer
from unetr_app.inference.lookahead import LookAhead
from unetr_app.inference.window_plan import Member, Shape, WindowPlan, members_of

CHANNELS = 3


def some_cells(plan: WindowPlan, way: int) -> Cells:
    """Cells that need not be the best: up to so many windows of each axis together."""
    sizes = (1 + way % 3, 1 + way // 3 % 3, 1 + way // 9 % 3)
    i, j, k = (tuple(batched(s, n)) for s, n in zip(plan.nodes, sizes, strict=True))
    return Cells(plan, (i, j, k))


def batched(starts: tuple[int, ...], size: int) -> Iterator[tuple[int, ...]]:
    for n in range(0, len(starts), size):
        yield starts[n : n + size]


def _network(x: Tensor) -> Tensor:
    """(B, 1, ...) to (B, 3, ...): differs between places of a window, and between windows."""
    ramp = torch.linspace(-1, 1, x[0, 0].numel()).reshape(x.shape[2:])
    return torch.cat([x * ramp, x.roll(1, dims=2) + ramp, x.mean() - x * x], dim=1)


def _streamed(
    image: Tensor, plan: WindowPlan, carries: Carries | None = None, way: int = -1, ahead: int = 0
) -> Tensor:
    """(C, ...) to blended logits (L, ...), every voxel written once."""
    cells = cells_of(plan) if way < 0 else some_cells(plan, way)

    def logits_of(member: Member, start: Shape) -> Tensor:
        return plan.place(_network(plan.cut(image, member, start))[0], member).clone()

    found = torch.full((CHANNELS, *plan.shape), torch.nan)
    with LookAhead(cells.windows, logits_of, ahead) as coming:
        blocks = list(blend(cells, coming, carries))
    for block in blocks:
        box = (slice(None), *(slice(s, e) for s, e in zip(block.start, block.stop, strict=True)))
        assert found[box].isnan().all()
        found[box] = block.logits
    assert not found.isnan().any()
    return found


sizes = st.tuples(*(st.integers(1, 19),) * 3)
rois = st.tuples(*(st.integers(2, 8),) * 3)
overlaps = st.tuples(*(st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.75]),) * 3)


@given(
    sizes,
    rois,
    overlaps,
    st.sampled_from(["gaussian", "constant"]),
    st.sampled_from([(), (0,), (1, 2), (0, 1, 2)]),
    st.sampled_from([None, 0, 500]),
    st.integers(-1, 20),
    st.sampled_from([0, 1, 3]),
)
@settings(max_examples=150, deadline=None)
def test_blocks_are_what_monai_gives_over_the_whole_volume(
    shape: Shape,
    roi: Shape,
    overlap: tuple[float, float, float],
    mode: str,
    flips: tuple[int, ...],
    limit: int | None,
    way: int,
    ahead: int,
) -> None:
    image = torch.randn(1, *shape, generator=torch.Generator().manual_seed(prod(shape)))
    inferer = FlipInferer(roi, overlap=overlap, mode=mode, flip_axes=flips)
    wanted = inferer(image[None], _network)[0]
    plan = WindowPlan(shape, roi, overlap, mode, members=members_of(flips))
    with Carries(limit) as carries:
        found = _streamed(image, plan, carries, way, ahead)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=1e-4)


@given(sizes, rois, overlaps)
@settings(max_examples=50, deadline=None)
def test_windows_are_as_many_as_monai_makes(
    shape: Shape, roi: Shape, overlap: tuple[float, float, float]
) -> None:
    calls: list[int] = []

    def network(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x

    SlidingWindowInferer(roi, overlap=overlap, mode="gaussian")(torch.zeros(1, 1, *shape), network)
    assert WindowPlan(shape, roi, overlap).count == sum(calls)


def test_shares_of_a_voxel_sum_to_one() -> None:
    plan = WindowPlan((13, 9, 11), (6, 4, 5), (0.5, 0.25, 0.6), members=members_of((0, 2)))
    total = torch.zeros(plan.shape)
    for member in plan.members:
        for start in product(*(plan.starts(member, axis) for axis in range(3))):
            box = tuple(slice(s, s + r) for s, r in zip(start, plan.extent, strict=True))
            total[box] += plan.weight(member, start)
    torch.testing.assert_close(total, torch.ones(plan.shape), atol=1e-6, rtol=0)


def _most_waiting(long: int) -> int:
    plan = WindowPlan((12, long, 10), (8, 8, 8), (0.5, 0.5, 0.5))
    most = 0

    def logits_of(member: Member, start: Shape) -> Tensor:
        nonlocal most
        most = max(most, carries.bytes)
        return torch.zeros(CHANNELS, *plan.extent)

    with Carries() as carries:
        for _ in blend(cells_of(plan), logits_of, carries):
            pass
        assert carries.bytes == 0
    return most


def test_what_waits_does_not_grow_with_the_longest_axis() -> None:
    layer, strip, window = 4 * 12 * 10, 8 * 8 * 10, 8 * 8 * 8
    assert 0 < _most_waiting(400) <= _most_waiting(40) <= CHANNELS * 4 * (layer + strip + window)
