from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from unetr_app.networks.positions import axial_rotation, rotate, sinusoidal_positions

LIKE = torch.zeros(1, dtype=torch.float64)
grids = st.lists(st.integers(1, 4), min_size=2, max_size=3)


def _places(grid: list[int]) -> list[tuple[int, ...]]:
    lines = torch.meshgrid(*[torch.arange(n) for n in grid], indexing="ij")
    return [tuple(place) for place in torch.stack(lines, dim=-1).reshape(-1, len(grid)).tolist()]


def test_along_one_axis_they_are_the_sines_and_cosines_of_the_transformer() -> None:
    table = sinusoidal_positions(8, [5], LIKE)
    for place in range(5):
        for pair in range(4):
            angle = place / 10000 ** (2 * pair / 8)
            assert table[0, place, pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[0, place, 4 + pair].item() == pytest.approx(math.cos(angle), abs=1e-6)


@given(grid=grids, width=st.integers(12, 40))
def test_sinusoids_tell_every_two_tokens_apart(grid: list[int], width: int) -> None:
    table = sinusoidal_positions(width, grid, LIKE)[0]
    assert table.shape == (math.prod(grid), width)
    apart = torch.cdist(table, table) + torch.eye(len(table), dtype=table.dtype)
    assert apart.min() > 0.1


@given(grid=grids, more=st.integers(1, 3))
def test_sinusoids_of_a_token_do_not_depend_on_the_size_of_the_grid(
    grid: list[int], more: int
) -> None:
    wider = [n + more for n in grid]
    table = sinusoidal_positions(24, grid, LIKE)[0]
    other = sinusoidal_positions(24, wider, LIKE)[0].reshape(*wider, 24)
    inner = other[tuple(slice(n) for n in grid)].reshape(-1, 24)
    torch.testing.assert_close(inner, table)


def test_channels_that_the_axes_cannot_share_stay_zero() -> None:
    table = sinusoidal_positions(15, [2, 2, 2], LIKE)
    assert not table[..., 12:].any()
    assert table[..., :12].any(dim=1).all()


@given(grid=grids, width=st.sampled_from([6, 8, 12, 14]), seed=st.integers(0, 2**31))
def test_attention_of_turned_tokens_depends_on_their_distance_alone(
    grid: list[int], width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    query, key = torch.randn(2, width, generator=generator, dtype=torch.float64)
    rotation = axial_rotation(width, grid, 0, LIKE)
    count = math.prod(grid)
    logits = rotate(query.expand(count, -1), rotation) @ rotate(key.expand(count, -1), rotation).T
    seen: dict[tuple[int, ...], Tensor] = {}
    for m, first in enumerate(_places(grid)):
        for n, second in enumerate(_places(grid)):
            distance = tuple(a - b for a, b in zip(first, second, strict=True))
            expected = seen.setdefault(distance, logits[m, n])
            torch.testing.assert_close(logits[m, n], expected, atol=1e-6, rtol=0)
    if max(grid) > 1:
        assert len({round(value.item(), 4) for value in seen.values()}) > 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_axis_turns(axis: int) -> None:
    grid = [1, 1, 1]
    grid[axis] = 2
    cosines, sines = axial_rotation(12, grid, 0, LIKE)
    torch.testing.assert_close(cosines[0], torch.ones(12, dtype=torch.float64))
    assert torch.count_nonzero(sines[1]) == 4  # two pairs of channels an axis


@given(grid=grids, prefix=st.integers(0, 3), width=st.sampled_from([6, 10, 12]))
def test_turning_keeps_lengths_and_leaves_prefix_tokens_alone(
    grid: list[int], prefix: int, width: int
) -> None:
    rotation = axial_rotation(width, grid, prefix, LIKE)
    assert rotation.shape == (2, prefix + math.prod(grid), width)
    tokens = torch.randn(2, 3, rotation.shape[1], width, dtype=torch.float64)
    turned = rotate(tokens, rotation)
    torch.testing.assert_close(turned.norm(dim=-1), tokens.norm(dim=-1), atol=1e-6, rtol=0)
    assert torch.equal(turned[..., :prefix, :], tokens[..., :prefix, :])
    whole = axial_rotation(width, grid, 0, LIKE)
    torch.testing.assert_close(rotate(tokens[..., prefix:, :], whole), turned[..., prefix:, :])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_data_type_is_that_of_the_tokens(dtype: torch.dtype) -> None:
    like = torch.zeros(1, dtype=dtype)
    assert sinusoidal_positions(12, [2, 2], like).dtype == dtype
    assert axial_rotation(12, [2, 2], 1, like).dtype == dtype
