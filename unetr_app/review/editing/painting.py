"""Painting: one stroke under way, seen while it is drawn and recorded when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry
from unetr_app.review.editing.brushes import Brush, paint
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.strokes import stroke


class Painting:
    """A stroke from pressing the button to letting it go; made by `Editor.start_stroke`.

    Args:
        history: What is painted into.
        geometry: Its grid.
        brush: What is painted.
        row: Of masks, the row painted.
    """

    def __init__(
        self, history: EditHistory, geometry: Geometry, brush: Brush, row: int | None = None
    ):
        self._history = history
        self._geometry = geometry
        self._brush = brush
        self._row = row
        self._last: NDArray[np.float64] | None = None
        self._pieces: list[tuple[NDArray[np.int64], NDArray[Any]]] = []

    def to(self, index: Sequence[float]) -> Change | None:
        """Go on painting in a straight line to a voxel index (fractions allowed).

        Returns:
            What this added, within the label map or the row painted; None where nothing did.
        """
        here = np.asarray(index, dtype=np.float64)
        path = here if self._last is None else np.stack([self._last, here])
        data = self._history.data
        labels = data if self._row is None else data[self._row]
        if self._row is None:
            locked = self._history.locked
        elif (self._history.values or ())[self._row] in self._history.locked:
            return None
        else:
            locked = frozenset[int]()
        added = paint(labels, self._geometry, self._brush, path, locked=locked)
        self._last = here
        if added is not None:
            added.write(labels)
            self._pieces.append((added.where, added.before))
        return added

    def finish(self) -> Change | None:
        """End the stroke: one step of the history; None where nothing was painted.

        Raises:
            UnwritableOutput: If the journal could not keep it; the step is done nevertheless.
        """
        pieces, self._pieces, self._last = self._pieces, [], None
        change = stroke(self._history.data, pieces, self._brush.name, row=self._row)
        return None if change is None else self._history.record(change)

    def cancel(self) -> None:
        """Take back what was painted, as if the stroke had not begun."""
        data = self._history.data
        labels = (data if self._row is None else data[self._row]).reshape(-1)
        while self._pieces:
            where, before = self._pieces.pop()
            labels[where] = before
        self._last = None
