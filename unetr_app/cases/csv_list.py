"""CsvList: a list of cases as a table; a header, then a line for each case."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Generator, Sequence

from unetr_app.cases.row import NoList, Row

_CASE = "case"
_SEPARATORS = ",;\t"
_NUMBERED = re.compile(r"image_(\d{1,4})", re.ASCII)
_LONGEST_SHOWN = 40
_MOST_SHOWN = 12

Columns = list[tuple[str, int]]  # name of the channel and number of the column, in channel order


def read_csv(text: str, channels: tuple[str, ...], is_image: Callable[[str], bool]) -> list[Row]:
    """The rows of a table.

    Args:
        text: Separated by commas, semicolons or tabs, cells quoted where needed.
        channels: Names of the bundle's channels; empty where no bundle is known.
        is_image: Whether a cell names an image; asked where neither bundle nor header tell which
            columns hold some.

    Raises:
        NoList: If the text is no table, or its header does not name the channels.
    """
    lines = _lines(text)
    header = next((cells for _, cells in lines), None)
    if header is None:
        raise NoList("the list is empty", cure="Give it a header and a line for each case.")
    keys = [_key(name) for name in header]
    twice = next((key for key in keys if key and keys.count(key) > 1), None)
    if twice is not None:
        raise NoList(f"two columns are named {_shown(twice)!r}", cure="Rename one of them.")
    records = list(lines)
    columns = _columns(header, keys, channels)
    if columns is None and not channels:
        columns = _columns_of_images(header, records, is_image)
    if not columns:
        raise NoList(
            f"no column holds images; the columns are {_listed(header)}", cure=_wanted(channels)
        )
    case = keys.index(_CASE) if _CASE in keys else None
    return [_row(line, cells, len(header), case, columns) for line, cells in records]


def _lines(text: str) -> Generator[tuple[int, list[str]]]:
    """Number and cells of each line that is not blank."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    line = 1
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                yield line, stripped
            line = reader.line_num + 1
    except csv.Error as error:
        raise NoList(
            f"line {line} cannot be read as a line of a table: {error}",
            cure='Put cells that hold separators or quotes in "quotes", and double the quotes.',
        ) from error


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _columns(
    header: Sequence[str], keys: Sequence[str], channels: tuple[str, ...]
) -> Columns | None:
    """The columns that the header says to be channels; None where it says nothing."""
    named = {name: keys.index(_key(name)) for name in channels if _key(name) in keys}
    if channels and len(named) == len(channels):
        return list(named.items())
    if named:
        missing = [name for name in channels if name not in named]
        raise NoList(
            f"there is no column for {_listed(missing)}; the columns are {_listed(header)}",
            cure=_wanted(channels),
        )
    numbered = {int(m[1]): n for n, key in enumerate(keys) if (m := _NUMBERED.fullmatch(key))}
    if numbered:
        count = len(channels) or len(numbered)
        if sorted(numbered) != list(range(count)):
            have = ", ".join(f"image_{n}" for n in sorted(numbered)[:_MOST_SHOWN])
            need = "image_0" if count == 1 else f"image_0 to image_{count - 1}"
            raise NoList(f"there are columns {have}; needed are {need}", cure=_wanted(channels))
        return [(channels[n] if channels else f"channel_{n}", numbered[n]) for n in range(count)]
    return [("", keys.index("image"))] if "image" in keys else None


def _columns_of_images(
    header: Sequence[str],
    records: Sequence[tuple[int, Sequence[str]]],
    is_image: Callable[[str], bool],
) -> Columns:
    """The columns with a cell that names an image, the labels' left out."""
    left_out = {_CASE, "label", "labels"}
    return [
        (name or f"channel_{n}", n)
        for n, name in enumerate(header)
        if _key(name) not in left_out
        and any(n < len(cells) and is_image(cells[n]) for _, cells in records)
    ]


def _row(
    line: int, cells: Sequence[str], width: int, case: int | None, columns: Columns
) -> Row:  # fmt: skip
    filled = [*cells, *[""] * (width - len(cells))]
    names = tuple(name for name, _ in columns if name)
    images = tuple(filled[n] for _, n in columns)
    problem = ""
    if any(filled[width:]):
        problem = f"has {len(cells)} cells, where the header has {width}"
    elif not all(images):
        empty = [name or "image" for (name, _), image in zip(columns, images, strict=True)
                 if not image]  # fmt: skip
        problem = f"names no image for {_listed(empty)}"
    return Row(f"line {line}", "" if case is None else filled[case], images, names, problem)


def _wanted(channels: Sequence[str]) -> str:
    if len(channels) > 1:
        return (f"Name one column for each channel: {_listed(channels)}, or image_0 to "
                f"image_{len(channels) - 1}.")  # fmt: skip
    return "Name the column of the images: image."


def _listed(names: Sequence[str]) -> str:
    shown = [_shown(name) for name in names[:_MOST_SHOWN]]
    return ", ".join(shown) + (", ..." if len(names) > _MOST_SHOWN else "")


def _shown(name: str) -> str:
    text = "".join(c if c.isprintable() else "?" for c in name)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
