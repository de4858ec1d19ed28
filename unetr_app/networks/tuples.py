"""Sizes an axis: a number stands for every axis."""

from __future__ import annotations

from collections.abc import Sequence

from unetr_app.errors import InvalidRequest


def as_tuple(value: int | Sequence[int], spatial_dims: int, name: str) -> tuple[int, ...]:
    """One positive integer an axis, from a number or a sequence.

    Args:
        value: A number for all axes, or one an axis.
        spatial_dims: Axes wanted.
        name: What to call it in an error.

    Raises:
        InvalidRequest: If there are too few, too many, or one below 1.
    """
    sizes = (value,) * spatial_dims if isinstance(value, int) else tuple(int(n) for n in value)
    if len(sizes) != spatial_dims or min(sizes) < 1:
        raise InvalidRequest(f"{name} {value} must be {spatial_dims} positive integers")
    return sizes


def next_finer(stride: tuple[int, ...]) -> tuple[int, ...]:
    """The stride one level up the decoder: each axis divided by its smallest prime factor."""
    return tuple(n // _smallest_factor(n) for n in stride)


def _smallest_factor(n: int) -> int:
    return next((f for f in range(2, n + 1) if n % f == 0), 1)


def ladder(coarse: tuple[int, ...], fine: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The factors that lead from a coarse stride to a fine one, a step each, coarse first.

    Each step divides every axis that is still too coarse by the smallest prime factor of what
    remains, so that 16 to 2 is three steps of 2 and (8, 8, 4) to 1 ends with (2, 2, 1).

    Raises:
        InvalidRequest: If ``fine`` does not divide ``coarse``.
    """
    if any(c % f for c, f in zip(coarse, fine, strict=True)):
        raise InvalidRequest(f"stride {fine} does not divide {coarse}")
    remaining = tuple(c // f for c, f in zip(coarse, fine, strict=True))
    steps: list[tuple[int, ...]] = []
    while max(remaining) > 1:
        finer = next_finer(remaining)
        steps.append(tuple(a // b for a, b in zip(remaining, finer, strict=True)))
        remaining = finer
    return steps
