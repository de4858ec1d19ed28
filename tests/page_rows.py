"""Made-up rows that the pages of the review show in tests."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from unetr_app.labels import LabelSet


@dataclass(frozen=True)
class Flag:
    word: str
    sentence: str


@dataclass(frozen=True)
class CaseLike:
    case_id: str
    bundle: str = "hippocampus_unetr"
    flags: tuple = ()
    uncertainty: float | None = None
    status: str = "unreviewed"
    flagged: bool = False
    grade: int = 0
    comment: str = ""
    reviewer: str = ""
    when: str = ""
    versions: int = 0
    has_unsaved: bool = False
    problem: str = ""


@dataclass(frozen=True)
class LabelLike:
    value: int
    millilitres: float
    mean: float | None
    standard_deviation: float | None
    components: int


@dataclass(frozen=True)
class ComparisonLike:
    name: str
    dice: float | None
    hd95_mm: float | None
    difference_ml: float
    difference_percent: float | None


@dataclass(frozen=True)
class VersionLike:
    n: int
    who: str
    when: str
    voxels_edited: int
    dice_before: float | None
    dice_after: float | None
    seconds: float | None


BORDER = Flag("touches the border", "Liver touches the border of the scan: it may be cut off.")
PIECES = Flag("12 pieces", "Spleen has 12 pieces that do not touch; one is expected.")
LABELS = LabelSet.from_names(
    {1: "Liver", 2: "Spleen", 3: "Left kidney", 4: "Right kidney", 6: "Pancreas", 7: "Aorta"}
)
STATISTICS = [
    LabelLike(1, 1534.2, 104.3, 21.7, 1),
    LabelLike(2, 212.8, 118.0, 17.2, 12),
    LabelLike(3, 164.0, 141.2, 38.0, 1),
    LabelLike(4, 8.42, 139.7, 36.4, 2),
    LabelLike(6, 0.0, None, None, 0),
]
COMPARED = [
    ComparisonLike("Liver", 0.963, 4.2, 12.44, 0.8),
    ComparisonLike("Spleen", 0.871, 11.7, -31.02, -14.6),
    ComparisonLike("Pancreas", 0.0, None, 0.9, None),
    ComparisonLike("Aorta", None, None, 0.0, None),
]
VERSIONS = [
    VersionLike(0, "network", "2026-11-20 14:02", 0, None, None, None),
    VersionLike(1, "A. Meier", "2026-11-22 09:14", 1204, 1.0, 0.961, 312.0),
    VersionLike(2, "J. Okafor", "2026-11-23 16:40", 88, 0.961, 0.958, 41.0),
]


def cases(count: int = 20) -> list[CaseLike]:
    """Cases of every status, some conspicuous, one that cannot be opened."""
    rng = np.random.default_rng(3)
    made = [
        CaseLike(f"hippocampus_{n:03}", uncertainty=float(u))
        for n, u in enumerate(rng.random(count))
    ]
    known = {
        0: {"status": "accepted", "grade": 5, "reviewer": "A. Meier", "when": "2026-11-22 09:14"},
        1: {"status": "accepted", "grade": 4, "flagged": True, "versions": 2},
        2: {"status": "rejected", "grade": 1, "comment": "motion", "flags": (BORDER, PIECES)},
        3: {"status": "editing", "has_unsaved": True, "reviewer": "A. Meier", "flags": (PIECES,)},
        4: {"uncertainty": None},
        5: {"problem": "the image is no longer where it was"},
    }
    return [CaseLike(**{**vars(case), **known.get(n, {})}) for n, case in enumerate(made)]
