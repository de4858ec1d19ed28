"""Unusual: what one case of a worklist measures that the others do not."""

from __future__ import annotations

from collections.abc import Mapping

from unetr_app.review.expected import ExpectedRanges
from unetr_app.review.findings import Findings
from unetr_app.review.flags import range_flags


def unusual(cases: Mapping[str, Findings]) -> dict[str, tuple[str, ...]]:
    """What is far from the other cases: volumes, and mean intensities of CT.

    Eight measured cases are needed, see `ExpectedRanges.of_cases`.

    Args:
        cases: Findings by case id; cases that nobody measured are passed over.

    Returns:
        Sentences by case id, for those that are unusual.
    """
    measured = {case_id: found for case_id, found in cases.items() if found.labels}
    is_ct = all(found.modality == "CT" for found in measured.values())
    usual = ExpectedRanges.of_cases((f.labels for f in measured.values()), intensities=is_ct)
    told = {
        case_id: tuple(flag.sentence for flag in range_flags(found.labels, usual))
        for case_id, found in measured.items()
    }
    return {case_id: sentences for case_id, sentences in told.items() if sentences}
