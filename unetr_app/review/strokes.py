"""Strokes: the journal of edits that are in no version yet, and which labels they began with."""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnwritableOutput
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.journal import StrokeJournal, base_hash
from unetr_app.volume import Segmentation

_HEAD = struct.Struct("<8sHH")  # of a StrokeJournal: mark, version, length of what follows
_CRC_BYTES = 4


def holds_steps(path: Path) -> bool:
    """Is there more in a journal than its head? Reads a few bytes."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(_HEAD.size)
    except OSError:
        return False
    if len(head) < _HEAD.size:
        return False
    return size > _HEAD.size + _HEAD.unpack(head)[2] + _CRC_BYTES


def begin(start: Segmentation) -> EditHistory:
    """A history around a writable copy of labels."""
    return EditHistory(start.data.copy(), start.labels.values, start=start.data)


def restored(
    path: Path, start: Segmentation, history: EditHistory, before: Segmentation | None = None
) -> tuple[str, ...]:
    """Do the strokes of a journal again, and keep further ones there.

    Strokes that began with other labels are never applied: their journal is set aside under
    another name, and a new one begun.

    Args:
        path: The journal; it need not exist.
        start: The labels that the history began with.
        history: Fresh; it is journaled from here on.
        before: The version (or prediction) that ``start`` was saved from: where a process was
            killed just after it saved, the journal still begins with it.

    Returns:
        What the reviewer should know.

    Raises:
        UnwritableOutput: If a journal cannot be set aside.
    """
    base = base_hash(start.data)
    try:
        journal = StrokeJournal.open(path, base)
    except UnreadableInput as problem:
        return _begin_anew(path, base, history, problem.what)
    except InvalidRequest:
        if before is not None and _leads_to(path, before, start):
            journal = StrokeJournal(path, base)
            journal.clear(base)
            journal.replay(history)
            return ()
        return _begin_anew(path, base, history, "they were made on other labels than these")
    steps = journal.steps
    done = journal.replay(history)
    told = [f"edits that were in no version yet are there again ({done} steps)"] if done else []
    if journal.damage or done < steps:
        told.append(journal.damage or "the last edits could not be done again")
    return tuple(told)


def _leads_to(path: Path, before: Segmentation, start: Segmentation) -> bool:
    """Are the labels what the journal's strokes make of those before?"""
    if before.data.shape != start.data.shape or before.data.dtype != start.data.dtype:
        return False
    history = begin(before)
    try:
        StrokeJournal.open(path, base_hash(before.data)).replay(history)
    except UnetrError:
        return False
    return base_hash(history.data) == base_hash(start.data)


def _begin_anew(path: Path, base: str, history: EditHistory, why: str) -> tuple[str, ...]:
    told = set_aside(path)
    StrokeJournal.open(path, base).replay(history)
    return (f"edits of an earlier day were set aside as {told.name}, not applied: {why}",)


def set_aside(path: Path) -> Path:
    """Rename a journal; what is in it is never lost.

    Returns:
        Its new name.

    Raises:
        UnwritableOutput: If that is not possible.
    """
    number = 1
    while (aside := path.with_name(f"aside-{number:04d}.journal")).exists():
        number += 1
    try:
        os.rename(path, aside)
    except OSError as error:
        raise UnwritableOutput(
            f"the journal of edits cannot be set aside: {error.strerror}",
            cure="Check that you may write to the folder of reviews.", path=path,
        ) from error  # fmt: skip
    return aside


def remove(path: Path) -> None:
    """Remove a journal whose strokes are all in a version."""
    with suppress(OSError):
        path.unlink()
    with suppress(OSError):
        path.parent.rmdir()
