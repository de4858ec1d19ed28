"""AttentionMap: where one token looks, on the grid of what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.explain.attention import AttentionCall
from unetr_app.explain.token_layout import TokenLayout


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """Where one token looks in one call of attention.

    Args:
        name: Path of the module, as in ``blocks.3.attention``.
        weights: (heads, grid of the keys); 0 at places that the token cannot see.
        to_prefix: (heads, prefix tokens): attention that goes to class and register tokens. With
            ``weights`` it sums to 1 a head.
    """

    name: str
    weights: NDArray[np.float32]
    to_prefix: NDArray[np.float32]

    @property
    def mean(self) -> NDArray[np.float32]:
        """(grid): the mean of the heads."""
        return self.weights.mean(axis=0)


def voxel_attention(
    calls: Sequence[AttentionCall], voxel: Sequence[int], shape: Sequence[int]
) -> list[AttentionMap]:
    """Where the token of a voxel looks, call by call.

    Args:
        calls: Of one encoder; those whose tokens have no known place are left out.
        voxel: Input index.
        shape: Input shape.

    Raises:
        InvalidRequest: If the voxel lies outside the input, or no token has a known place.
    """
    maps: list[AttentionMap] = []
    for call in calls:
        if call.queries is not None and call.keys is not None:
            cell = cell_of(voxel, shape, call.queries.grid)
            group, token = call.queries.locate(cell)
            maps.append(_map_of(call, call.keys, group, token))
    return _some(maps)


def prefix_attention(calls: Sequence[AttentionCall], *, index: int = 0) -> list[AttentionMap]:
    """Where a prefix token looks, call by call; of several groups' copies, all side by side.

    Args:
        calls: Of one encoder; those without prefix tokens are left out.
        index: Which prefix token; 0 is the class token where there is one.

    Raises:
        InvalidRequest: If there is no such token.
    """
    maps: list[AttentionMap] = []
    for call in calls:
        if call.queries is None or call.keys is None or call.queries.prefix <= index:
            continue
        groups = [_map_of(call, call.keys, group, index) for group in range(call.queries.groups)]
        weights = np.sum([one.weights for one in groups], axis=0) / len(groups)
        to_prefix = np.mean([one.to_prefix for one in groups], axis=0)
        maps.append(AttentionMap(call.name, weights, to_prefix))
    return _some(maps)


def prefix_count(calls: Sequence[AttentionCall]) -> int:
    """Prefix tokens of an encoder; 0 where it has none."""
    return max((call.queries.prefix for call in calls if call.queries is not None), default=0)


def cell_of(voxel: Sequence[int], shape: Sequence[int], grid: Sequence[int]) -> tuple[int, ...]:
    """The cell of a grid over the input that holds a voxel.

    Raises:
        InvalidRequest: If the voxel lies outside the input.
    """
    if len(voxel) != len(shape) or any(not 0 <= v < n for v, n in zip(voxel, shape, strict=True)):
        raise InvalidRequest(f"there is no voxel {tuple(voxel)} in an input of {tuple(shape)}")
    return tuple(v * cells // n for v, n, cells in zip(voxel, shape, grid, strict=True))


def _map_of(call: AttentionCall, keys: TokenLayout, group: int, token: int) -> AttentionMap:
    row = call.rows(group, [token])[:, 0].numpy()  # (heads, keys)
    return AttentionMap(call.name, keys.place(group, row), row[:, : keys.prefix].copy())


def _some(maps: list[AttentionMap]) -> list[AttentionMap]:
    if not maps:
        raise InvalidRequest(
            "no attention of this encoder can be laid out on a grid: it is dealt to windows, or "
            "the token asked for takes no part in it",
            cure="Look at its receptive field instead (--what erf).",
        )
    return maps
