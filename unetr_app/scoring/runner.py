"""Score: every pair compared; what fails is recorded and the rest go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from unetr_app.errors import Cancelled, DeviceMemory, UnetrError, UnreadableInput
from unetr_app.evaluation import (
    CaseComparison,
    LabelSummary,
    compare,
    completed,
    summarise,
)
from unetr_app.evaluation.surface import require_tolerance
from unetr_app.io import read_label_map
from unetr_app.labels import LabelSet
from unetr_app.scoring.labels import with_names
from unetr_app.scoring.pairs import Pair, Pairs
from unetr_app.volume import Segmentation

_MOST_VALUES = 1000  # no atlas has more; an image of whole numbers has


@dataclass(frozen=True)
class Failure:
    """A pair that could not be compared.

    Args:
        case_id: Its id.
        code: Stable name of the kind of problem.
        cause: What was found; names files, never their folders.
        cure: What to do; empty where there is nothing.
    """

    case_id: str
    code: str
    cause: str
    cure: str = ""

    @classmethod
    def of(cls, case_id: str, error: UnetrError) -> Failure:
        """Keep the words of an error, and nothing of what its traceback holds in memory."""
        return cls(case_id, error.code, error.cause, error.cure)

    def __str__(self) -> str:
        return str(UnetrError(self.cause, cure=self.cure))


@dataclass(frozen=True)
class Score:
    """The outcome of scoring.

    Args:
        pairs: What was matched.
        cases: Compared cases, each with a row for every label, in order of case id.
        failures: Pairs that could not be compared.
        tolerance_mm: Tolerance of the surface Dice, mm.
    """

    pairs: Pairs
    cases: tuple[CaseComparison, ...]
    failures: tuple[Failure, ...]
    tolerance_mm: float

    @property
    def is_complete(self) -> bool:
        """Was every prediction and every reference compared?"""
        return not (self.failures or self.pairs.only_predicted or self.pairs.only_reference)

    @cached_property
    def summaries(self) -> list[LabelSummary]:
        """One a label in order of value, then all labels together."""
        return summarise(self.cases)

    def worst(self, count: int) -> list[Pair]:
        """The pairs that agree least, worst first; at most ``count``."""
        by_id = {pair.case_id: pair for pair in self.pairs.matched}
        ordered = sorted(self.cases, key=lambda case: (case.worst, case.case_id))
        return [by_id[case.case_id] for case in ordered[:count]]


def score(
    pairs: Pairs,
    labels: LabelSet,
    *,
    tolerance_mm: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Score:
    """Compare every pair.

    Args:
        pairs: From `find_pairs`.
        labels: Names for values; values without a name are called ``label_<value>``.
        tolerance_mm: Tolerance of the surface Dice, mm.
        progress: Hears how many pairs are done and how many there are.
        should_stop: Asked before each pair.

    Raises:
        Cancelled: If ``should_stop`` says so.
        InvalidRequest: If the tolerance is negative or not finite.
    """
    require_tolerance(tolerance_mm)
    cases: list[CaseComparison] = []
    failures: list[Failure] = []
    for done, pair in enumerate(pairs.matched):
        if progress:
            progress(done, len(pairs.matched))
        if should_stop and should_stop():
            raise Cancelled("asked to stop")
        try:
            prediction, reference = read_pair(pair, labels)
            rows = compare(prediction, reference, tolerance_mm=tolerance_mm)
            cases.append(CaseComparison(pair.case_id, rows))
        except UnetrError as error:
            failures.append(Failure.of(pair.case_id, error))
        except MemoryError:
            full = DeviceMemory("the computer ran out of memory on this case")
            failures.append(Failure.of(pair.case_id, full))
    if progress:
        progress(len(pairs.matched), len(pairs.matched))
    return Score(pairs, tuple(completed(cases)), tuple(failures), tolerance_mm)


def read_pair(pair: Pair, labels: LabelSet) -> tuple[Segmentation, Segmentation]:
    """Prediction and reference of a pair, with ``labels`` as far as they go.

    Raises:
        UnreadableInput: If one is damaged, or no label map but an image.
        UnsafeGeometry: If the place of its voxels is unknown or contradictory.
    """
    return _read(pair.prediction, labels), _read(pair.reference, labels)


def _read(path: Path, labels: LabelSet) -> Segmentation:
    found = read_label_map(path)
    if len(found.labels) > _MOST_VALUES:
        raise UnreadableInput(
            f"it holds {len(found.labels)} values, too many for a label map",
            cure="Give the label map rather than an image.", path=path,
        )  # fmt: skip
    return replace(found, labels=with_names(found.labels, labels))
