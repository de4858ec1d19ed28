"""EditHistory: the array that is edited, with one undo for everything that is done to it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.packing import pack, unpack

Kind = Literal["change", "undo", "redo"]
MAX_BYTES = 512 * 2**20  # of packed steps; a stroke takes some thousand


class Journal(Protocol):
    """Where steps are kept as they are made."""

    def append(self, kind: Kind, packed: bytes) -> None:
        """Keep a step (as `packing.pack` wrote it); it is safe when this returns."""


class Edited(NamedTuple):
    """How a label differs from what it was: voxels that it gained and lost."""

    added: int
    removed: int


@dataclass(frozen=True)
class _Step:
    name: str
    packed: bytes


class EditHistory:
    """Owns the array that is edited, and every step that was done to it.

    Args:
        data: (I, J, K) label map of unsigned integers, or bool (L, I, J, K) masks of overlapping
            labels; on the source grid, C-contiguous, writable. It is edited in place.
        values: Label values; of masks, that of each row in ascending order (1 to L where absent).
        start: What `is_changed`, `voxels_edited` and `changed_slices` compare with, never written
            to; a copy of ``data`` where absent. Pass the prediction to count from it.
        max_bytes: Packed steps held at most; beyond it the oldest are forgotten.

    Raises:
        InvalidRequest: If the array cannot be edited in place.

    Example:
        >>> history = EditHistory(np.zeros((2, 2, 2), np.uint8))
        >>> step = Change("brush", np.array([3]), np.uint8([0]), np.uint8([1]))
        >>> _ = history.apply(step)
        >>> history.undoable, history.is_changed
        ('brush', True)
        >>> _ = history.undo()
        >>> history.undoable, history.redoable, history.is_changed
        ('', 'brush', False)
    """

    def __init__(
        self,
        data: NDArray[Any],
        values: Sequence[int] | None = None,
        *,
        start: NDArray[Any] | None = None,
        max_bytes: int = MAX_BYTES,
    ):
        _require_editable(data)
        self.data = data
        self.values: tuple[int, ...] | None = None if values is None else tuple(values)
        if data.ndim == 4:
            self.values = self.values or tuple(range(1, len(data) + 1))
            if len(self.values) != len(data):
                raise InvalidRequest(f"{len(data)} masks have {len(self.values)} label values")
        self.locked: frozenset[int] = frozenset()
        self.journal: Journal | None = None
        self._start = np.array(data, order="C") if start is None else start.view()
        self._start.setflags(write=False)
        if self._start.shape != data.shape or self._start.dtype != data.dtype:
            raise InvalidRequest(
                f"labels {data.dtype} {data.shape} cannot be compared with a start "
                f"{self._start.dtype} {self._start.shape}"
            )
        self._differing = 0 if start is None else int(np.count_nonzero(data != start))
        self._max_bytes = max_bytes
        self._undo: list[_Step] = []
        self._redo: list[_Step] = []

    @property
    def is_overlapping(self) -> bool:
        """Is it one mask a label rather than one label map?"""
        return self.data.ndim == 4

    @property
    def steps(self) -> tuple[str, ...]:
        """Names of all steps that `undo` can take back, oldest first."""
        return tuple(step.name for step in self._undo)

    @property
    def undoable(self) -> str:
        """Name of the step that `undo` would take back; empty where there is none."""
        return self._undo[-1].name if self._undo else ""

    @property
    def redoable(self) -> str:
        """Name of the step that `redo` would do again; empty where there is none."""
        return self._redo[-1].name if self._redo else ""

    @property
    def is_changed(self) -> bool:
        """Does any voxel differ from the start?"""
        return self._differing > 0

    def apply(self, change: Change) -> Change | None:
        """Do a step, all but its locked voxels.

        Returns:
            What was done; None where all of it was locked.

        Raises:
            InvalidRequest: If the array does not hold what the change says it held before.
            UnwritableOutput: If the journal could not keep it; the step is done nevertheless.
        """
        if not change.fits(self.data):
            raise InvalidRequest(
                f"{change.name!r} was made for labels that have changed since", cure="Do it again."
            )
        free = self._unlocked(change)
        if free is not None:
            self._write(free)
            self._remember(free)
        return free

    def record(self, change: Change) -> Change | None:
        """Keep a step that was painted into the array already; locked voxels are given back.

        Returns:
            What was kept; None where all of it was locked. Where it is not ``change`` itself,
            voxels were given back: show the array anew.

        Raises:
            InvalidRequest: If the array does not hold what the change says it holds now.
            UnwritableOutput: If the journal could not keep it; the step is done nevertheless.
        """
        if not change.reversed.fits(self.data):
            raise InvalidRequest(f"{change.name!r} is not what was painted", cure="Paint again.")
        free = self._unlocked(change)
        if free is not change:
            change.reversed.write(self.data)
        if free is not None:
            self._write(free)
            self._remember(free)
        return free

    def undo(self) -> Change | None:
        """Take the newest step back; what it was, or None where there is none.

        Raises:
            UnwritableOutput: If the journal could not keep it; the step is taken back nevertheless.
        """
        if not self._undo:
            return None
        step = self._undo[-1]
        change = unpack(step.packed)
        self._require_fit(change.reversed)
        self._step_back(step, change)
        self._keep("undo", step)
        return change

    def redo(self) -> Change | None:
        """Do the step again that was undone last; what it is, or None where there is none.

        Raises:
            UnwritableOutput: If the journal could not keep it; the step is done nevertheless.
        """
        if not self._redo:
            return None
        step = self._redo[-1]
        change = unpack(step.packed)
        self._require_fit(change)
        self._step_forward(step, change)
        self._keep("redo", step)
        return change

    def replay(self, kind: Kind, packed: bytes) -> None:
        """Do again what a journal holds: as it was, whatever is locked now; nothing is journaled.

        Raises:
            UnreadableInput: If the step is damaged.
            InvalidRequest: If the array does not hold what it held then; it is untouched.
        """
        change = unpack(packed)
        self._require_fit(change.reversed if kind == "undo" else change)
        step = _Step(change.name, packed)
        if kind == "undo":
            self._step_back(step, change)
        elif kind == "redo":
            self._step_forward(step, change)
        else:
            self._write(change)
            self._push(step)

    def voxels_edited(self, values: Sequence[int] | None = None) -> dict[int, Edited]:
        """Voxels that each label gained and lost against the start.

        Args:
            values: Labels asked for; those of the history, or else those that changed.
        """
        if self.is_overlapping:
            counts = {
                value: _gained_and_lost(now, then)
                for value, now, then in zip(self.values or (), self.data, self._start, strict=True)
            }
        else:
            counts = self._edited_values()
        wanted = values if values is not None else self.values or sorted({*counts} - {0})
        return {value: counts.get(value, Edited(0, 0)) for value in wanted}

    def changed_slices(self, axis: int) -> NDArray[np.int64]:
        """Slices along array axis 0, 1 or 2 (i, j, k) that differ from the start, ascending."""
        found = np.zeros(self.data.shape[axis - 3], dtype=np.bool_)
        others = tuple(n for n in range(3) if n != axis)
        for now, then in zip(self._rows(self.data), self._rows(self._start), strict=True):
            if self.is_changed:
                found |= (now != then).any(axis=others)
        return np.flatnonzero(found)

    def _rows(self, array: NDArray[Any]) -> Sequence[NDArray[Any]]:
        return list(array) if self.is_overlapping else [array]

    def _edited_values(self) -> dict[int, Edited]:
        differs = np.flatnonzero(self.data != self._start)
        now, then = self.data.reshape(-1)[differs], self._start.reshape(-1)[differs]
        longest = int(max(now.max(initial=0), then.max(initial=0))) + 1
        added, removed = (np.bincount(side, minlength=longest) for side in (now, then))
        touched = np.flatnonzero(added + removed)
        return {int(value): Edited(int(added[value]), int(removed[value])) for value in touched}

    def _unlocked(self, change: Change) -> Change | None:
        if not self.is_overlapping:
            return change.without_values(self.locked)
        return change.without_rows(self._locked_rows(self.locked), self.data[0].size)

    def _locked_rows(self, locked: Collection[int]) -> list[int]:
        return [row for row, value in enumerate(self.values or ()) if value in locked]

    def _require_fit(self, change: Change) -> None:
        if not change.fits(self.data):
            raise InvalidRequest(
                f"{change.name!r} does not fit: the labels were changed by something else",
                cure="Open the case again.",
            )

    def _step_back(self, step: _Step, change: Change) -> None:
        self._write(change.reversed)
        if self._undo:  # a journal begun after the step does not know it as done
            self._undo.pop()
        self._redo.append(step)

    def _step_forward(self, step: _Step, change: Change) -> None:
        self._write(change)
        if self._redo:
            self._redo.pop()
        self._undo.append(step)

    def _write(self, change: Change) -> None:
        change.write(self.data)
        self._count(change)

    def _count(self, change: Change) -> None:
        """Follow how many voxels differ from the start."""
        start = self._start.reshape(-1)[change.where]
        self._differing += int(np.count_nonzero(change.after != start))
        self._differing -= int(np.count_nonzero(change.before != start))

    def _remember(self, change: Change) -> None:
        step = _Step(change.name, pack(change))
        self._push(step)
        self._keep("change", step)

    def _push(self, step: _Step) -> None:
        self._redo.clear()
        self._undo.append(step)
        held = sum(len(old.packed) for old in self._undo)
        while held > self._max_bytes and len(self._undo) > 1:
            held -= len(self._undo.pop(0).packed)

    def _keep(self, kind: Kind, step: _Step) -> None:
        if self.journal is not None:
            self.journal.append(kind, step.packed)


def _require_editable(data: NDArray[Any]) -> None:
    is_map = data.ndim == 3 and data.dtype.kind == "u"
    if not is_map and not (data.ndim == 4 and data.dtype == np.bool_):
        raise InvalidRequest(
            f"labels {data.dtype} {data.shape} cannot be edited; "
            "an unsigned (I, J, K) label map or bool (L, I, J, K) masks are needed"
        )
    if not (data.flags.c_contiguous and data.flags.writeable):
        raise InvalidRequest("labels cannot be edited in place", cure="Pass a copy of them.")


def _gained_and_lost(now: NDArray[Any], then: NDArray[Any]) -> Edited:
    return Edited(int(np.count_nonzero(now & ~then)), int(np.count_nonzero(then & ~now)))
