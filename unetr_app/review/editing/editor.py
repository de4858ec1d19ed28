"""Editor: the operations by name, done to a history; label maps and overlapping masks alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace as replaced
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.review.editing import components, holes, interpolation, margins, replacing
from unetr_app.review.editing.brushes import Brush, paint
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.history import EditHistory


class Editor:
    """What a person can do to the labels of a case. Each call is one undoable step.

    Every operation gives the step that was done, or None where there was nothing to do. Labels
    that are locked in the history stay as they are. What is removed becomes background. Of
    overlapping masks each label is by itself, so none is in another's way.

    Args:
        history: What is edited.
        geometry: The grid of its array.
        labels: Its labels.

    Raises:
        UnsafeGeometry: If the grid is another one's.
        InvalidRequest: If the masks are not one for each label. Operations raise it for labels
            that there are not and for numbers that mean nothing, and UnwritableOutput where the
            journal could not keep the step, which is done nevertheless.
    """

    def __init__(self, history: EditHistory, geometry: Geometry, labels: LabelSet):
        shape = history.data.shape
        if shape[-3:] != geometry.shape:
            raise UnsafeGeometry(f"labels of shape {shape} do not fit a grid of {geometry.shape}")
        if history.is_overlapping and history.values != labels.values:
            raise InvalidRequest(f"masks of {history.values} are not of labels {labels.values}")
        self.history = history
        self.geometry = geometry
        self.labels = labels

    def brush(self, brush: Brush, path: ArrayLike, label: int | None = None) -> Change | None:
        """Paint a ball or a disc at a voxel index (3,), or along (N, 3) of them.

        Args:
            brush: What is painted.
            path: Voxel indices, fractions allowed.
            label: Of overlapping masks, the label that a brush of value 0 erases.
        """
        brush, row = self._brush_and_row(brush, label)
        locked = self.history.locked if row is None else frozenset[int]()
        change = paint(self._array(row), self.geometry, brush, path, locked=locked)
        return self._done(change, row)

    def brush3d(self, centre: ArrayLike, radius_mm: float, value: int) -> Change | None:
        """Paint a ball of that radius in mm."""
        return self.brush(Brush(value, radius_mm), centre)

    def erase3d(
        self, centre: ArrayLike, radius_mm: float, value: int | None = None
    ) -> Change | None:
        """Erase a ball: of every label, or of one alone (overlapping masks: always one)."""
        if value is not None:
            self._require(value)
        only = None if self.history.is_overlapping else value
        return self.brush(Brush(0, radius_mm, only=only), centre, value)

    def largest_component(self, value: int) -> Change | None:
        """Keep the label's largest component alone."""
        labels, number, row = self._of(value)
        change = components.largest_component(labels, number, locked=self._locked(row))
        return self._done(change, row)

    def remove_islands(self, value: int, below_ml: float) -> Change | None:
        """Remove the label's components smaller than that."""
        labels, number, row = self._of(value)
        change = components.remove_islands(
            labels, self.geometry, number, below_ml, locked=self._locked(row)
        )
        return self._done(change, row)

    def fill_holes(self, value: int, axis: int | None = None) -> Change | None:
        """Fill background that the label encloses, in 3D or in each slice along an axis."""
        labels, number, row = self._of(value)
        change = holes.fill_holes(labels, number, axis=axis, locked=self._locked(row))
        return self._done(change, row)

    def grow(self, value: int, mm: float, *, over_labels: bool = False) -> Change | None:
        """Grow the label by ``mm`` into background, or into every label that is not locked."""
        labels, number, row = self._of(value)
        change = margins.grow(
            labels, self.geometry, number, mm, over_labels=over_labels, locked=self._locked(row)
        )
        return self._done(change, row)

    def shrink(self, value: int, mm: float) -> Change | None:
        """Shrink the label by ``mm``."""
        labels, number, row = self._of(value)
        change = margins.shrink(labels, self.geometry, number, mm, locked=self._locked(row))
        return self._done(change, row)

    def interpolate(
        self, value: int, axis: int, keys: Sequence[int] | None = None
    ) -> Change | None:
        """Fill the label between slices along an axis; see `interpolation.interpolate`."""
        labels, number, row = self._of(value)
        change = interpolation.interpolate(
            labels, self.geometry, number, axis, keys=keys, locked=self._locked(row)
        )
        return self._done(change, row)

    def replace(self, old: int, new: int) -> Change | None:
        """Every voxel of one label becomes another label; overlapping masks: joins it."""
        self._require(old)
        if new == 0:
            return self.clear(old)
        self._require(new)
        if old == new or {old, new} & self.history.locked:
            return None
        if self.history.is_overlapping:
            return self._joined(old, new)
        change = replacing.replace(self.history.data, old, new)
        return self._done(change, None)

    def clear(self, value: int) -> Change | None:
        """Every voxel of the label becomes background."""
        labels, number, row = self._of(value)
        return self._done(replacing.clear(labels, number, locked=self._locked(row)), row)

    def _require(self, value: int) -> None:
        if value not in self.labels.values:
            known = ", ".join(f"{label.value} {label.name}" for label in self.labels)
            raise InvalidRequest(f"there is no label {value}", cure=f"Labels are: {known}.")

    def _row(self, value: int) -> int | None:
        """The row of masks that a label has; None in a label map."""
        return self.labels.values.index(value) if self.history.is_overlapping else None

    def _array(self, row: int | None) -> NDArray[Any]:
        return self.history.data if row is None else self.history.data[row]

    def _locked(self, row: int | None) -> frozenset[int]:
        """Locked values of a label map; locked rows of masks are the history's to keep."""
        return self.history.locked if row is None else frozenset()

    def _of(self, value: int) -> tuple[NDArray[Any], int, int | None]:
        """The array that holds a label, its value there, and its row."""
        self._require(value)
        row = self._row(value)
        return self._array(row), value if row is None else 1, row

    def _brush_and_row(self, brush: Brush, label: int | None) -> tuple[Brush, int | None]:
        if brush.value:
            self._require(brush.value)
        if not self.history.is_overlapping:
            return brush, None
        label = brush.value or label
        if label is None:
            raise InvalidRequest("labels overlap here", cure="Say which of them is erased.")
        self._require(label)
        return replaced(brush, value=int(brush.value > 0), only=None), self._row(label)

    def _done(self, change: Change | None, row: int | None) -> Change | None:
        if change is None:
            return None
        if row is not None:
            offset = row * self.history.data[0].size
            change = Change(change.name, change.where + offset, change.before, change.after)
        return self.history.apply(change)

    def _joined(self, old: int, new: int) -> Change | None:
        """One mask joins another and is emptied, as one step."""
        masks = self.history.data
        a, b = self.labels.values.index(old), self.labels.values.index(new)
        moved = np.flatnonzero(masks[a])
        gained = moved[~masks[b].reshape(-1)[moved]]
        where = np.sort(np.concatenate([moved + a * masks[0].size, gained + b * masks[0].size]))
        before = masks.reshape(-1)[where]
        change = Change.between(f"replace {old} by {new}", where, before, ~before)
        return self._done(change, None)
