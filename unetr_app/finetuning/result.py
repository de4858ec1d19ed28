"""Result: what a fine-tuning brought on the cases that were held out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unetr_app.evaluation import bootstrap_interval
from unetr_app.labels import LabelSet

Verdict = Literal["better", "unclear", "worse"]
ALL_LABELS = "all labels"


@dataclass(frozen=True)
class LabelScore:
    """Mean Dice of one label, or of all labels together, on the held-out cases.

    Args:
        name: The label's.
        before: With the base's weights; None where no case has the label.
        after: With the new weights.
        cases: How many cases the means are over.
    """

    name: str
    before: float | None
    after: float | None
    cases: int


@dataclass(frozen=True)
class Finetuned:
    """A finished fine-tuning.

    Args:
        path: The new bundle.
        labels: Scores of each label, in order of value.
        together: Of each case's mean over its labels.
        interval: 95 % bootstrap interval of the mean gain in ``together``; None for one case.
        trained: How many cases were trained on.
        seconds: Of the training.
        peak_bytes: The most that the training process held; 0 where the system does not say.
        warnings: What the user should know.
    """

    path: Path
    labels: tuple[LabelScore, ...]
    together: LabelScore
    interval: tuple[float, float] | None
    trained: int
    seconds: float
    peak_bytes: int
    warnings: tuple[str, ...]

    @property
    def gain(self) -> float:
        """Mean Dice after minus before; 0 where there was nothing to find."""
        return (self.together.after or 0.0) - (self.together.before or 0.0)

    @property
    def verdict(self) -> Verdict:
        """``worse`` where nothing was gained; ``unclear`` where the gain may be chance.

        A gain is clear where its 95 % interval over the held-out cases lies above zero.
        """
        if self.gain <= 0:
            return "worse"
        return "better" if self.interval is not None and self.interval[0] > 0 else "unclear"

    @property
    def advice(self) -> str:
        """What to make of it, in a sentence or two."""
        n = self.together.cases
        cases = "1 held-out case" if n == 1 else f"{n} held-out cases"
        if self.verdict == "worse":
            return (
                f"No better on the {cases}: do not use the new bundle. It is kept for comparison."
            )
        if self.verdict == "unclear":
            return (
                f"Better on the {cases}, but that may be chance. Hold out more before you use it."
            )
        return f"Better on the {cases}."


def read_scores(path: Path) -> list[dict[str, Any]]:
    """Rows ``{"case": key, "dice": {value: Dice or None}}``; none where there is no whole file."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []


def label_scores(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], labels: LabelSet
) -> tuple[tuple[LabelScore, ...], LabelScore, tuple[float, float] | None]:
    """Means over cases for each label and for all, and the interval of the gain.

    A case counts for a label before and after, or not at all: where the reference has not the
    label, finding none is nothing to judge, and a spurious find on either side is Dice 0.

    Args:
        before: Rows of `read_scores`.
        after: Rows of the same cases.
        labels: The bundle's.
    """
    pairs = _pairs(before, after)
    keys = [str(value) for value in labels.values]
    rows: list[LabelScore] = []
    per_case = {case: ([], []) for case in pairs}
    for key, name in zip(keys, labels.names, strict=True):
        values = {case: _both(*pair, key) for case, pair in pairs.items()}
        there = {case: pair for case, pair in values.items() if pair is not None}
        for case, pair in there.items():
            for kept, value in zip(per_case[case], pair, strict=True):
                kept.append(value)
        rows.append(_score(name, [*there.values()]))
    means = [(float(np.mean(b)), float(np.mean(a))) for b, a in per_case.values() if b]
    return tuple(rows), _score(ALL_LABELS, means), bootstrap_interval([a - b for b, a in means])


def _pairs(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Mapping[str, Any], Mapping[str, Any]]]:
    then = {str(row["case"]): row["dice"] for row in after}
    return {
        str(row["case"]): (row["dice"], then[str(row["case"])])
        for row in before
        if str(row["case"]) in then
    }


def _both(
    before: Mapping[str, Any], after: Mapping[str, Any], key: str
) -> tuple[float, float] | None:
    """Dice before and after; what is absent on one side only was rightly left out there: 1."""
    one, two = before.get(key), after.get(key)
    if one is None and two is None:
        return None
    return (1.0 if one is None else float(one)), (1.0 if two is None else float(two))


def _score(name: str, pairs: Sequence[tuple[float, float]]) -> LabelScore:
    if not pairs:
        return LabelScore(name, None, None, 0)
    before, after = np.mean(np.asarray(pairs), axis=0)
    return LabelScore(name, float(before), float(after), len(pairs))
