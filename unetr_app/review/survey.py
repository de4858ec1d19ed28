"""Survey: what speaks against the labels of a case, found before anybody opens it."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetr_app.errors import UnetrError
from unetr_app.review.expected import ExpectedRanges, trained_ranges
from unetr_app.review.findings import said_of
from unetr_app.review.flags import quality_flags
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.statistics import LabelStatistics, label_statistics
from unetr_app.review.worklist import Worklist


def survey_case(worklist: Worklist, case_id: str) -> dict[str, Any]:
    """Read a case, measure its labels, and keep what was found for the table of cases.

    Safe in any thread; takes no lock.

    Args:
        worklist: Where the findings are kept.
        case_id: The case.

    Raises:
        UnetrError: If the case cannot be read, or the findings cannot be written.
    """
    loaded = worklist.load(case_id)
    found = findings_of(loaded, statistics_of(loaded))
    worklist.note_findings(case_id, found)
    return found


def statistics_of(loaded: LoadedCase) -> tuple[LabelStatistics, ...]:
    """Measure the labels that a reviewer of a case begins with."""
    labels = loaded.labels
    image = None if loaded.volume is None else loaded.volume.data[0]
    return label_statistics(labels.data, labels.geometry, labels.labels, image)


def findings_of(loaded: LoadedCase, statistics: tuple[LabelStatistics, ...]) -> dict[str, Any]:
    """What a worklist shows of a case: flags in words, and how uncertain the network was.

    Args:
        loaded: The case.
        statistics: Of its labels as they are now.
    """
    found = quality_of(loaded, statistics)
    if loaded.uncertainty is not None:
        labels = loaded.labels
        inside = labels.data.any(axis=0) if labels.is_overlapping else labels.data != 0
        values = loaded.uncertainty.data[0][inside]
        found["uncertainty"] = float(np.mean(values)) if values.size else None
    if loaded.volume is not None and loaded.volume.modality:
        found["modality"] = loaded.volume.modality
    return found


def quality_of(loaded: LoadedCase, statistics: tuple[LabelStatistics, ...]) -> dict[str, Any]:
    """The part of `findings_of` that changes when labels are edited; arguments likewise."""
    expected = _expected(loaded.bundle.get("name", ""))
    flags = quality_flags(statistics, loaded.geometry, expected=expected)
    return {
        "flags": [flag.sentence for flag in flags],
        "labels": [said_of(row) for row in statistics],
    }


def unsurveyed(worklist: Worklist) -> list[str]:
    """The cases that nobody measured yet, of those that can be opened."""
    return [row.case_id for row in worklist.rows() if row.problem is None and not row.is_surveyed]


def _expected(bundle: str) -> ExpectedRanges | None:
    """What the labels of a bundle measured in training; None where unknown here."""
    if not bundle:
        return None
    try:
        return trained_ranges(bundle)
    except UnetrError:  # the bundle is not installed here
        return None
