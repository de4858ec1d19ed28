"""LoadReport: what became of every tensor of a checkpoint and of an encoder."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

Status = Literal["loaded", "inflated", "resized", "missing", "skipped"]

STATUSES: tuple[Status, ...] = ("loaded", "inflated", "resized", "missing", "skipped")

FILLED: tuple[Status, ...] = ("loaded", "inflated", "resized")

_SCREEN = 100  # columns
_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


@dataclass(frozen=True)
class TensorRecord:
    """One tensor.

    Args:
        name: Ours; the checkpoint's for a skipped one.
        status: ``loaded`` as it was, ``inflated`` (given depth, or other image channels),
            ``resized`` (interpolated), ``missing`` (left as it was initialised) or ``skipped``
            (of the checkpoint, without use here).
        shape: Of our tensor; of the checkpoint's for a skipped one.
        source: The checkpoint's name or names; "" where there is none.
        note: What was done to it, or why it was left out.
        is_parameter: Does it count for the coverage?
    """

    name: str
    status: Status
    shape: tuple[int, ...]
    source: str = ""
    note: str = ""
    is_parameter: bool = True

    @property
    def count(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class LoadReport:
    """What became of every tensor when a checkpoint filled an encoder.

    Args:
        layout: Whose key names the checkpoint has.
        encoder: The encoder's name in `ENCODERS`.
        records: One for each tensor of the encoder, and each of the checkpoint without use.
        input_note: What the encoder expects of its input, as far as the checkpoint says it.
        overruled: Options that the caller wants otherwise than the checkpoint has them, in words.
    """

    layout: str
    encoder: str
    records: tuple[TensorRecord, ...]
    input_note: str = ""
    overruled: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the encoder's parameters that the checkpoint filled, 0 to 1."""
        ours = [r for r in self.records if r.status != "skipped" and r.is_parameter]
        total = sum(r.count for r in ours)
        return sum(r.count for r in ours if r.status in FILLED) / total if total else 0.0

    def of(self, status: Status) -> tuple[TensorRecord, ...]:
        """The records of one status.

        Example:
            >>> LoadReport("a", "vit", (TensorRecord("norm.bias", "missing", (3,)),)).of("loaded")
            ()
        """
        return tuple(r for r in self.records if r.status == status)

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Tensors of one kind in one row, so that it fits a screen.

        Of one kind are tensors with the same note of one module, and of all modules that differ by
        a block's number alone; of what is skipped, all whose names begin alike.

        Returns:
            Status, tensors, name with ``*`` for numbers, shape, note; in the order of `STATUSES`.
            Where shapes differ the largest stands, after "to".
        """
        groups: dict[tuple[str, str, str], list[TensorRecord]] = {}
        for record in sorted(self.records, key=lambda r: STATUSES.index(r.status)):
            key = (record.status, _kind(record), record.note)
            groups.setdefault(key, []).append(record)
        return [
            (status, str(len(found)), _name_all(found, kind), _shape_all(found), note)
            for (status, kind, note), found in groups.items()
        ]

    def summary(self) -> str:
        """One line: what was loaded into what, and how much of it."""
        counts = ", ".join(
            f"{len(self.of(status))} {status}" for status in STATUSES if self.of(status)
        )
        return f"{self.layout} into {self.encoder}: {self.coverage:.1%} covered; {counts}"

    def notes(self) -> list[str]:
        """Sentences that a reader of the summary should know as well."""
        against = "; ".join(self.overruled)
        found = (self.input_note, f"Otherwise than the checkpoint: {against}." if against else "")
        return [note for note in found if note]

    def table(self) -> str:
        """The summary and the rows as plain text, for a screen of 100 columns.

        A note that finds no room beside its row stands below it.
        """
        lines = [line for text in (self.summary(), *self.notes()) for line in wrap(text, _SCREEN)]
        header = ("status", "count", "name", "shape", "note")
        rows = [header, *self.rows()]
        widths = [max(len(row[n]) for row in rows) for n in range(4)]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)]
            line, note = "  ".join((*cells, row[4])).rstrip(), row[4]
            if note and len(line) > _SCREEN:
                indent = " " * (sum(widths[:2]) + 4)
                below = wrap(note, _SCREEN, initial_indent=indent, subsequent_indent=indent)
                lines += ["  ".join(cells).rstrip(), *below]
            else:
                lines.append(line)
        return "\n".join(lines)

    __str__ = table


def _kind(record: TensorRecord) -> str:
    """What records of one row have in common: the module's name, or the first part of one."""
    if record.status == "skipped":
        return record.name.partition(".")[0]
    return _NUMBER.sub("*", record.name).rpartition(".")[0] or record.name


def _name_all(records: Sequence[TensorRecord], kind: str) -> str:
    """``blocks.*.norm.weight, bias`` for two of one module, ``head.*`` for more or others."""
    names = list(dict.fromkeys(_NUMBER.sub("*", record.name) for record in records))
    if len(names) == 1:
        return names[0]
    if len(names) == 2 and records[0].status != "skipped":
        return f"{names[0]}, {names[1].rpartition('.')[2]}"
    return f"{kind}.*"


def _shape_all(records: Sequence[TensorRecord]) -> str:
    largest = max(records, key=lambda record: record.count)
    shape = " x ".join(str(n) for n in largest.shape) or "1"
    return shape if len({record.shape for record in records}) == 1 else f"to {shape}"


def name_some(names: Iterable[str], most: int = 8) -> str:
    """A list for a sentence: the first few names, and how many more there are.

    Example:
        >>> name_some(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    listed = list(names)
    shown = ", ".join(listed[:most])
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"
