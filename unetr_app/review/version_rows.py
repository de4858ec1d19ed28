"""VersionRow: a version of a case as a line of a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from unetr_app.review.decision import readable
from unetr_app.review.desk import Desk


@dataclass(frozen=True)
class VersionRow:
    """What a table shows of a version.

    Args:
        n: Its number; 0 is the prediction.
        who: The reviewer; what predicted it for the prediction.
        when: For people.
        voxels_edited: That labels gained or lost against the version before.
        dice_before: Mean over labels with the prediction, before; None where there is none.
        dice_after: The same, after.
        seconds: Time spent on it.
    """

    n: int
    who: str
    when: str = ""
    voxels_edited: int = 0
    dice_before: float | None = None
    dice_after: float | None = None
    seconds: float | None = None


def rows_of(desk: Desk) -> list[VersionRow]:
    """The prediction and all versions of a case that are whole, oldest first."""
    rows = [VersionRow(0, desk.loaded.bundle.get("name", "") or "prediction")]
    for version in desk.versions.all():
        edits = version.edits
        rows.append(
            VersionRow(
                version.number,
                version.reviewer,
                readable(version.when),
                sum(edit.added + edit.removed for edit in edits),
                _mean(edit.dice_before for edit in edits),
                _mean(edit.dice_after for edit in edits),
                version.seconds,
            )
        )
    return rows


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
