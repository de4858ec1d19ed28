from __future__ import annotations

import itertools

import pytest
import torch

from unetr_app.networks.relative_positions import (
    AxisPositions,
    RelativePositions,
    resize_table,
)

GRIDS = [  # of queries, of keys
    ((4, 6), (4, 6)),
    ((4, 6), (2, 3)),
    ((2, 3), (4, 6)),
    ((7, 5), (3, 2)),
    ((2, 4, 6), (2, 2, 3)),
    ((1, 2, 2), (2, 4, 4)),
    ((3, 5, 4), (1, 2, 4)),
]


def _slow_bias(
    positions: RelativePositions, query: torch.Tensor, query_grid: list[int], key_grid: list[int]
) -> torch.Tensor:
    """One query and one key at a time, by the words of the paper."""
    keys = list(itertools.product(*(range(n) for n in key_grid)))
    queries = list(itertools.product(*(range(n) for n in query_grid)))
    bias = torch.zeros(*query.shape[:2], len(queries), len(keys))
    for i, at in enumerate(queries):
        for j, of in enumerate(keys):
            for n, axis in enumerate(positions):
                q, k = query_grid[n], key_grid[n]
                step_q, step_k = max(k / q, 1), max(q / k, 1)
                offset = int(at[n] * step_q - (of[n] - (k - 1)) * step_k + 1e-9)
                bias[:, :, i, j] += query[:, :, i] @ axis.table[offset]  # pyright: ignore
    return bias


@pytest.mark.parametrize(("query_grid", "key_grid"), GRIDS)
def test_the_bias_is_query_times_the_vectors_of_its_displacements(
    query_grid: tuple[int, ...], key_grid: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    positions = RelativePositions(query_grid, key_grid, 5)
    query = torch.randn(2, 3, torch.Size(query_grid).numel(), 5)
    with torch.no_grad():
        bias = positions(query, list(query_grid), list(key_grid))
        slow = _slow_bias(positions, query, list(query_grid), list(key_grid))
    torch.testing.assert_close(bias, slow)


@pytest.mark.parametrize(("query_grid", "key_grid"), GRIDS)
def test_torchscript_gives_the_same(query_grid: tuple[int, ...], key_grid: tuple[int, ...]) -> None:
    positions = RelativePositions(query_grid, key_grid, 5)
    query = torch.randn(1, 2, torch.Size(query_grid).numel(), 5)
    grids = (list(query_grid), list(key_grid))
    torch.testing.assert_close(torch.jit.script(positions)(query, *grids), positions(query, *grids))


def test_a_displacement_has_one_vector_wherever_it_lies() -> None:
    vectors = AxisPositions(6, 4)(6, 6)  # (queries, keys, C)
    for shift in range(-5, 6):
        first, *others = torch.diagonal(vectors, shift).unbind(1)
        assert all(torch.equal(first, other) for other in others)
    assert not torch.equal(vectors[0, 1], vectors[1, 0])


def test_a_grid_of_another_size_interpolates_the_table() -> None:
    axis = AxisPositions(4, 3)
    wider = AxisPositions(6, 3)
    with torch.no_grad():
        wider.table.copy_(resize_table(axis.table, 11))
    torch.testing.assert_close(axis(6, 3), wider(6, 3))


def test_a_table_keeps_a_linear_course_when_it_is_resized() -> None:
    table = torch.arange(5.0).unsqueeze(1)
    resized = resize_table(table, 10)
    assert resized[1:-1].diff(dim=0).flatten().tolist() == pytest.approx([0.5] * 7)
    assert resize_table(table, 5) is table


def test_a_depth_that_adds_nothing_gives_the_bias_of_every_slice() -> None:
    torch.manual_seed(0)
    flat = RelativePositions((4, 6), (2, 3), 5)
    volumetric = RelativePositions((3, 4, 6), (3, 2, 3), 5)
    with torch.no_grad():
        volumetric[0].table.zero_()  # pyright: ignore
    for ours, theirs in zip(list(volumetric)[1:], flat, strict=True):
        ours.load_state_dict(theirs.state_dict())
    query = torch.randn(1, 2, 24, 5)
    bias = volumetric(query.repeat(1, 1, 3, 1), [3, 4, 6], [3, 2, 3])
    expected = flat(query, [4, 6], [2, 3]).repeat(1, 1, 3, 3)
    torch.testing.assert_close(bias, expected)


def test_adopt_puts_a_table_to_its_own_length_and_nothing_else() -> None:
    axis = AxisPositions(4, 3)
    table = torch.randn(31, 3)
    assert axis.adopt("table", table).shape == axis.table.shape
    torch.testing.assert_close(axis.adopt("table", table), resize_table(table, 7))
    assert axis.adopt("other", table) is table
    own = torch.randn(7, 3)
    assert axis.adopt("table", own) is own
