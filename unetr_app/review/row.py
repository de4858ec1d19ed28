"""Row: what a worklist shows of one case."""

from __future__ import annotations

from dataclasses import dataclass

from unetr_app.errors import UnetrError
from unetr_app.review.decision import Status


@dataclass(frozen=True)
class Row:
    """What a worklist shows of one case, from small files alone.

    Args:
        case_id: The case.
        kind: What the image is: ``nifti``, ``dicom-series`` and the like; empty where unknown.
        modality: DICOM modality code; empty where unknown.
        bundle: Name and version of what predicted it; empty where unknown.
        flags: Short words on its quality.
        uncertainty: Mean within the labels, 0 to 1; None where unknown.
        status: What was decided; ``editing`` while there are edits that are in no version.
        flagged: Should somebody else look at it?
        grade: 1 to 5; 0 for none.
        comment: Free words.
        reviewer: Who decided last; empty where nobody did.
        when: When, ISO 8601, UTC.
        versions: How many were saved and are there.
        has_unsaved: Are there edits that are in no version?
        problem: Why it cannot be opened; None where it can.
        is_surveyed: Was its quality looked at, so that no flags means good?
    """

    case_id: str
    kind: str = ""
    modality: str = ""
    bundle: str = ""
    flags: tuple[str, ...] = ()
    uncertainty: float | None = None
    status: Status = "unreviewed"
    flagged: bool = False
    grade: int = 0
    comment: str = ""
    reviewer: str = ""
    when: str = ""
    versions: int = 0
    has_unsaved: bool = False
    problem: UnetrError | None = None
    is_surveyed: bool = False
