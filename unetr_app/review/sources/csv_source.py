"""CsvSource: the cases of a table with a line for each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from unetr_app.cases.case_list import content_of_list
from unetr_app.errors import UnreadableInput
from unetr_app.labels import LabelSet
from unetr_app.review.sources.entry import Entry, Listed
from unetr_app.review.sources.ids import identified, seen_from
from unetr_app.review.sources.listed_case import WORDS, listed_case, refused
from unetr_app.review.stamps import stamp_of

_CURE = (
    "Give it a header with image and labels (id, second, uncertainty and bundle if wanted) and a "
    "line for each case."
)


def read_csv_source(path: Path, labels: LabelSet | None = None) -> Listed:
    """The cases of a list; a line that is torn costs no other.

    Args:
        path: Separated by commas, semicolons or tabs; a case is one line.
        labels: What values mean.

    Raises:
        UnreadableInput: If it is no such list, or names no case.
    """
    stamp = stamp_of([path])
    entries = list(_entries(read_text(path), path, labels))
    if not entries:
        raise UnreadableInput("the list names no case", cure=_CURE, path=path)
    return listed(path, entries, stamp)


def listed(path: Path, entries: list[Entry], stamp: str, title: str = "") -> Listed:
    """All cases of a list; what tells those of one id apart is their files, else their place."""
    texts = [seen_from(path.parent, e.labels.paths) or str(n) for n, e in enumerate(entries)]
    reviews = path.with_name(f"{path.stem}.reviews")
    return Listed(title or path.stem, identified(entries, texts), reviews, (), (path,), stamp)


def read_text(path: Path) -> str:
    """The text of a list; what is no UTF-8 in it spoils its own line only.

    Raises:
        UnreadableInput: If it cannot be read, or is far too long for a list.
    """
    return content_of_list(path).decode("utf-8-sig", errors="replace")


def _entries(text: str, path: Path, labels: LabelSet | None) -> Iterator[Entry]:
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        return
    separator = max(",;\t", key=lines[0][1].count)
    header = [name.strip().casefold().replace(" ", "_") for name in _cells(lines[0][1], separator)]
    known = {*WORDS["labels"], *WORDS["second"]}
    if known.isdisjoint(header):
        shown = ", ".join(name[:40] for name in header[:12])
        raise UnreadableInput(f"no column holds labels; the columns are {shown}", cure=_CURE,
                              path=path)  # fmt: skip
    for number, line in lines[1:]:
        where = f"line {number}"
        try:
            cells = _cells(line, separator)
            if "\0" in line or "\N{REPLACEMENT CHARACTER}" in line:
                raise csv.Error("it holds what is no text in UTF-8")
        except csv.Error as error:
            problem = UnreadableInput(
                f"{where} cannot be read: {error}",
                cure='Put cells that hold separators or quotes in "quotes".', path=path,
            )  # fmt: skip
            yield refused(where, problem)
            continue
        if len(cells) > len(header) and any(cells[len(header) :]):
            what = f"{where} has {len(cells)} cells, where the header has {len(header)}"
            yield refused(where, UnreadableInput(what, cure="Correct the line.", path=path))
            continue
        yield listed_case(dict(zip(header, cells, strict=False)), path.parent, where, labels)


def _cells(line: str, separator: str) -> list[str]:
    (cells,) = csv.reader([line], delimiter=separator, strict=True)
    return [cell.strip() for cell in cells]
