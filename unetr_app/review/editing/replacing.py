"""Replacing: a label becomes another one, or background."""

from __future__ import annotations

from collections.abc import Collection

from unetr_app.review.editing.boxes import Labels, box_of, change_in
from unetr_app.review.editing.change import Change


def replace(labels: Labels, old: int, new: int, *, locked: Collection[int] = ()) -> Change | None:
    """Every voxel of one label becomes another label.

    Args:
        labels: (I, J, K) label map.
        old: The label that goes.
        new: What it becomes; 0 is background.
        locked: Values that no voxel loses or gets.
    """
    box = box_of(labels, old)
    if box is None:
        return None
    name = f"replace {old} by {new}" if new else f"clear {old}"
    return change_in(box, labels, name, labels[box] == old, new, locked)


def clear(labels: Labels, value: int, *, locked: Collection[int] = ()) -> Change | None:
    """Every voxel of a label becomes background; of a mask, pass value 1."""
    return replace(labels, value, 0, locked=locked)
