"""What no tensor of an MViT tells outright: how far each stage pools.

The tables of relative positions have 2 L - 1 entries, L the tokens along an axis of queries or of
keys, whichever are more. Together with what is known they tell strides, or contradict them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

_LIKELY_Q = (1, 2, 3, 4)
_LIKELY_KV = (1, 2, 3, 4, 6, 8, 16)


@dataclass(frozen=True)
class Strides:
    """How far each stage pools, along one axis; None where it is not known.

    Args:
        grid: Tokens of the embedding.
        queries: Steps of the pooled queries of each stage.
        keys: Steps of the pooled keys and values of each stage.
    """

    grid: int | None
    queries: tuple[int, ...] | None
    keys: tuple[int, ...] | None


def adaptive_strides(first: int, queries: Sequence[int]) -> tuple[int, ...]:
    """Strides of keys that shrink as queries do, so that all stages have as many keys.

    Fan et al. 2021 (arXiv:2104.11227, section 4.1, "K, V pooling").

    Args:
        first: Stride of keys were there no pooling of queries.
        queries: Stride of the queries of each stage.

    Example:
        >>> adaptive_strides(4, (1, 2, 2, 2))
        (4, 2, 1, 1)
    """
    strides: list[int] = []
    for step in queries:
        first = max(first // step, 1)
        strides.append(first)
    return tuple(strides)


def strides_that_fit(lengths: Sequence[Sequence[int]], known: Strides) -> list[Strides]:
    """All strides that give tables of these lengths, of those that networks are likely to have.

    Args:
        lengths: The L of every block's table, stage by stage.
        known: What is known already.

    Returns:
        None of them for lengths that contradict what is known; one where they tell everything.
    """
    grids = range(1, 1 + max(_LIKELY_Q) * lengths[0][0])
    found: list[Strides] = []
    for grid in grids if known.grid is None else (known.grid,):
        found += [replace(fit, grid=grid) for fit in _fits(lengths, grid, known)]
    return found


def _fits(lengths: Sequence[Sequence[int]], grid: int, known: Strides) -> Iterator[Strides]:
    """Stage by stage: what gives the first stage's lengths, then the same for the rest."""
    if not lengths:
        yield Strides(None, (), ())
        return
    first, *others = lengths[0]
    for query in _LIKELY_Q if known.queries is None else known.queries[:1]:
        for key in _LIKELY_KV if known.keys is None else known.keys[:1]:
            coarse = grid // query
            rest = max(coarse, coarse // key)
            if first != max(coarse, grid // key) or any(length != rest for length in others):
                continue
            left = Strides(None, _rest(known.queries), _rest(known.keys))
            for fit in _fits(lengths[1:], coarse, left):
                yield Strides(None, (query, *(fit.queries or ())), (key, *(fit.keys or ())))


def _rest(strides: tuple[int, ...] | None) -> tuple[int, ...] | None:
    return None if strides is None else strides[1:]
