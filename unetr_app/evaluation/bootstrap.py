"""Bootstrap: how sure a mean over cases is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

DRAWS = 2000
CONFIDENCE = 0.95
SEED = 0
_AT_ONCE = 4_000_000  # indices drawn in one go


def bootstrap_interval(
    values: Sequence[float],
    *,
    draws: int = DRAWS,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> tuple[float, float] | None:
    """Percentile bootstrap interval of the mean: cases are drawn again with replacement.

    Args:
        values: One value a case; finite.
        draws: How many times a sample of the same size is drawn.
        confidence: 0 to 1, the share of drawn means within the interval.
        seed: The same seed and values give the same interval.

    Returns:
        Lower and upper bound; None for fewer than two values, which tell nothing of their spread.

    Example:
        >>> bootstrap_interval([0.5, 0.5, 0.5])
        (0.5, 0.5)
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size < 2:
        return None
    generator = np.random.default_rng(seed)
    step = max(1, _AT_ONCE // array.size)
    means = np.concatenate(
        [
            array[generator.integers(array.size, size=(min(step, draws - first), array.size))].mean(
                axis=1
            )
            for first in range(0, draws, step)
        ]
    )
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, [outside, 1 - outside])
    return float(low), float(high)
