"""Holding out: which cases a fine-tuning never trains on, so that it can be judged by them."""

from __future__ import annotations

from collections.abc import Sequence

from unetr_app.datasets.folds import deal
from unetr_app.errors import InvalidRequest
from unetr_app.finetuning.training_case import TrainingCase

FEWEST_TRAINED = 3


def held_out(
    cases: Sequence[TrainingCase], *, fold: int | None = None, seed: int = 0
) -> frozenset[str]:
    """The ids of the cases to hold out; no subject is on both sides.

    Args:
        cases: Of the data set.
        fold: The fold to hold out; None takes fold 0 where every case has a fold, fold 0 is not
            empty and enough is left to train on, else a fifth of the subjects.
        seed: Of the fifth.

    Raises:
        InvalidRequest: If the fold is empty, if less than three cases would be left, or if a
            subject would be on both sides.

    Example:
        >>> from pathlib import Path
        >>> one = [TrainingCase(n, Path(n), Path(n), n, None) for n in "abcd"]
        >>> len(held_out(one))
        1
    """
    chosen = frozenset(c.id for c in cases if c.fold is not None and c.fold == (fold or 0))
    usable = all(c.fold is not None for c in cases) and _is_fit(cases, chosen)
    if fold is None and not usable:
        dealt = deal({c.id: c.subject for c in cases}, seed=seed)
        chosen = frozenset(name for name, n in dealt.items() if n == 0)
    if not chosen:
        folds = sorted({c.fold for c in cases if c.fold is not None})
        raise InvalidRequest(
            f"fold {fold} of the data set holds no case",
            cure=f"Its folds are {', '.join(map(str, folds)) or 'none'}.",
        )
    if not _is_fit(cases, chosen):
        subjects = len({c.subject for c in cases})
        raise InvalidRequest(
            f"{len(cases)} cases of {subjects} subjects are too few: one subject is held out, "
            f"so that the new weights can be judged, and {FEWEST_TRAINED} cases at least are "
            "needed besides",
            cure="Add cases, or hold out another fold.",
        )
    return chosen


def _is_fit(cases: Sequence[TrainingCase], chosen: frozenset[str]) -> bool:
    inside = {c.subject for c in cases if c.id in chosen}
    outside = {c.subject for c in cases if c.id not in chosen}
    left = len(cases) - len(chosen)
    return bool(chosen) and left >= FEWEST_TRAINED and not inside & outside
