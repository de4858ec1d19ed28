"""Version: labels as a reviewer saved them, with how they came about."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from unetr_app.labels import LabelSet
from unetr_app.review.label_table import labels_from, rows_of
from unetr_app.version import __version__


@dataclass(frozen=True)
class LabelEdit:
    """What a version did to one label.

    Args:
        value: The label.
        name: Its name.
        voxels: That it has.
        added: Voxels that it gained against the base.
        removed: Voxels that it lost against the base.
        dice_before: Dice of the base and the prediction; None where they are on different grids.
        dice_after: Dice of the version and the prediction.
    """

    value: int
    name: str
    voxels: int
    added: int = 0
    removed: int = 0
    dice_before: float | None = None
    dice_after: float | None = None

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> LabelEdit:
        """Read it back.

        Raises:
            AttributeError, KeyError, TypeError, ValueError, OverflowError: If it is none.
        """
        counts = (int(found[word]) for word in ("value", "voxels", "added", "removed"))
        value, voxels, added, removed = counts
        before, after = (_dice(found.get(word)) for word in ("dice_before", "dice_after"))
        return cls(value, str(found["name"]), voxels, added, removed, before, after)


@dataclass(frozen=True)
class Version:
    """What ``version.json`` says; the labels lie beside it.

    Args:
        number: 1 and up; never given twice.
        reviewer: Who saved it.
        when: ISO 8601, UTC.
        reason: Why it was saved, such as ``accepted``.
        base: The version that it was made from; 0 for the prediction.
        labels: What the values mean.
        is_overlapping: Is it a mask for each label?
        labels_hash: `unetr_app.review.editing.journal.base_hash` of the array.
        source_hash: Of the image; empty where there is none.
        prediction_hash: Of the prediction's files.
        bundle: Name, version and weights hash of what made the prediction.
        edits: One a label.
        voxel_ml: Volume of a voxel.
        seconds: Spent since the version before.
        steps: Names of what was done, in order.
        warnings: What was noticed when it was saved.
        software: The package's version.
        folder: Where it lies.
    """

    number: int
    reviewer: str
    when: str
    reason: str
    base: int
    labels: LabelSet
    is_overlapping: bool
    labels_hash: str
    source_hash: str = ""
    prediction_hash: str = ""
    bundle: Mapping[str, str] = field(default_factory=dict[str, str])
    edits: tuple[LabelEdit, ...] = ()
    voxel_ml: float = 0.0
    seconds: float = 0.0
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    software: str = __version__
    folder: Path = field(default=Path(), compare=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "number": self.number,
            "reviewer": self.reviewer,
            "when": self.when,
            "reason": self.reason,
            "base": self.base,
            "bundle": dict(self.bundle),
            "source_hash": self.source_hash,
            "prediction_hash": self.prediction_hash,
            "labels_hash": self.labels_hash,
            "is_overlapping": self.is_overlapping,
            "labels": rows_of(self.labels),
            "voxel_ml": self.voxel_ml,
            "edits": [vars(edit) for edit in self.edits],
            "seconds": round(self.seconds, 1),
            "steps": list(self.steps),
            "warnings": list(self.warnings),
            "software": self.software,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], folder: Path) -> Version:
        """Read it back.

        Raises:
            UnreadableInput: If its labels are damaged.
            AttributeError, KeyError, TypeError, ValueError, OverflowError: If something is missing,
                or of another kind.
        """
        rows = cast("list[Any]", found["edits"])
        edits = tuple(LabelEdit.from_dict(cast("Mapping[str, Any]", row)) for row in rows)
        return cls(
            number=int(found["number"]), reviewer=str(found["reviewer"]), when=str(found["when"]),
            reason=str(found["reason"]), base=int(found["base"]),
            labels=labels_from(found["labels"]), is_overlapping=bool(found["is_overlapping"]),
            labels_hash=str(found["labels_hash"]), source_hash=str(found["source_hash"]),
            prediction_hash=str(found["prediction_hash"]), bundle=dict(found["bundle"]),
            edits=edits, voxel_ml=_finite(found["voxel_ml"]), seconds=_finite(found["seconds"]),
            steps=tuple(map(str, found["steps"])), warnings=tuple(map(str, found["warnings"])),
            software=str(found["software"]), folder=folder,
        )  # fmt: skip


def _finite(found: Any) -> float:
    number = float(found)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no measurement")
    return number


def _dice(found: Any) -> float | None:
    return None if found is None else _finite(found)
