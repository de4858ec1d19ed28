"""Saving: a version described, of the labels that a reviewer has now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unetr_app.review.decision import now
from unetr_app.review.editing.journal import base_hash
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.tallies import Tally, tally
from unetr_app.review.version import LabelEdit, Version
from unetr_app.volume import Segmentation


@dataclass(frozen=True)
class Circumstances:
    """How a version came about.

    Args:
        reviewer: Who saved it.
        reason: Why.
        base: The version that it was made from; 0 for the prediction.
        seconds: Spent since the version before.
        steps: Names of what was done.
        warnings: What was noticed.
        dice: Of the base and the prediction, by label; counted where it is not known.
    """

    reviewer: str
    reason: str
    base: int
    seconds: float
    steps: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    dice: Mapping[int, float] | None = None


def described(
    labels: Segmentation, start: Segmentation, loaded: LoadedCase, how: Circumstances
) -> Version:
    """The description of a version that has no number yet.

    Args:
        labels: What is saved.
        start: What it was made from.
        loaded: The case.
        how: How it came about.
    """
    return Version(
        number=0, reviewer=how.reviewer, when=now(), reason=how.reason, base=how.base,
        labels=labels.labels, is_overlapping=labels.is_overlapping,
        labels_hash=base_hash(labels.data), source_hash=loaded.source_hash,
        prediction_hash=loaded.prediction_hash, bundle=dict(loaded.bundle),
        edits=_edits(labels, start, loaded.prediction, how.dice), voxel_ml=labels.geometry.voxel_ml,
        seconds=how.seconds, steps=how.steps, warnings=how.warnings,
    )  # fmt: skip


def _edits(
    labels: Segmentation, start: Segmentation, prediction: Segmentation,
    known: Mapping[int, float] | None,
) -> tuple[LabelEdit, ...]:  # fmt: skip
    edited = tally(labels, start)
    if start is prediction:
        before = dict.fromkeys(edited, 1.0)
        after = {value: round(one.dice, 6) for value, one in edited.items()}
    else:
        before = _dice(start, prediction) if known is None else known
        after = _dice(labels, prediction)
    return tuple(
        LabelEdit(
            label.value, label.name, edited[label.value].after, edited[label.value].added,
            edited[label.value].removed, before.get(label.value), after.get(label.value),
        )
        for label in labels.labels
    )  # fmt: skip


def _dice(labels: Segmentation, prediction: Segmentation) -> dict[int, float]:
    """Dice of each label with the prediction's; nothing where they cannot be compared."""
    if labels.data.shape[-3:] != prediction.data.shape[-3:] or (
        labels.is_overlapping != prediction.is_overlapping
    ):
        return {}
    found: dict[int, Tally] = tally(labels, prediction)
    return {value: round(one.dice, 6) for value, one in found.items()}
