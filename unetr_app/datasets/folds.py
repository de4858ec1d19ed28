"""Folds: cases dealt to parts of nearly equal size, all of one subject to the same part."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np


def deal(subjects: Mapping[str, str], *, folds: int = 5, seed: int = 0) -> dict[str, int]:
    """A fold for each case.

    Subjects are shuffled with the seed; those with most cases go first, each to the fold that has
    fewest cases so far. So the result depends on the cases and the seed alone.

    Args:
        subjects: Whose each case is, by case id.
        folds: How many.
        seed: Of the shuffle.

    Example:
        >>> deal({"a": "1", "b": "2", "c": "1"}, folds=2)
        {'a': 0, 'c': 0, 'b': 1}
    """
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for case_id in sorted(subjects):
        groups[subjects[case_id]].append(case_id)
    names = sorted(groups, key=lambda subject: groups[subject][0])
    shuffled = [names[n] for n in np.random.default_rng(seed).permutation(len(names))]
    sizes = [0] * folds
    fold_of: dict[str, int] = {}
    for subject in sorted(shuffled, key=lambda subject: -len(groups[subject])):
        fold = sizes.index(min(sizes))
        sizes[fold] += len(groups[subject])
        fold_of |= dict.fromkeys(groups[subject], fold)
    return fold_of
