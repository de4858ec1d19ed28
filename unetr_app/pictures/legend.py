"""Legend: names, colours and amounts below a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from unetr_app.labels import Label
from unetr_app.pictures.canvas import FONT, GREY, WIDTH, height_of, rgb, write

ROW = 20  # px
_MARGIN = 12  # px
_MOST_ENTRIES = 24
_NAME_BY_COLUMNS = {4: 20, 3: 32, 2: 60}  # longest name, in letters, for so many columns


@dataclass(frozen=True)
class Entry:
    """A row of the legend.

    Args:
        label: Its name and colour are shown.
        amount: What is written behind the name.
    """

    label: Label
    amount: str


def kept_entries(entries: Sequence[Entry]) -> list[Entry | str]:
    """Entries for the legend; of very many, the first ones and how many more there are."""
    if len(entries) <= _MOST_ENTRIES:
        return list(entries) or ["No label in this segmentation"]
    left_out = len(entries) - _MOST_ENTRIES + 1
    return [*entries[: _MOST_ENTRIES - 1], f"and {left_out} more labels"]


def legend_height(kept: Sequence[Entry | str]) -> int:
    """Px that the legend takes."""
    return ROW * -(-len(kept) // columns_of(kept))


def draw_legend(figure: Figure, kept: Sequence[Entry | str], *, top: float) -> None:
    """Draw the legend with its upper edge at ``top`` px."""
    columns = columns_of(kept)
    column = (WIDTH - 2 * _MARGIN) / columns
    rows = -(-len(kept) // columns)
    tall = height_of(figure)
    for n, entry in enumerate(kept):
        x, y = _MARGIN + (n // rows) * column, top + (n % rows + 0.5) * ROW
        if isinstance(entry, str):
            write(figure, x, y, entry, size=9, color=GREY)
            continue
        swatch = Rectangle(
            (x / WIDTH, 1 - (y + 5) / tall), 14 / WIDTH, 10 / tall,
            transform=figure.transFigure, facecolor=rgb(entry.label.colour),
        )  # fmt: skip
        figure.add_artist(swatch)
        name = _short(entry.label.name, _NAME_BY_COLUMNS[columns])
        write(figure, x + 20, y, f"{name}  {entry.amount}", size=9)


def columns_of(kept: Sequence[Entry | str]) -> int:
    """How many columns the legend has: as many as its longest name allows."""
    longest = max(len(e.label.name) if isinstance(e, Entry) else 0 for e in kept)
    return next((n for n, most in _NAME_BY_COLUMNS.items() if longest <= most), 2)


def _short(name: str, most: int) -> str:
    """A name on one line, in the font's letters, with its middle left out where it is long."""
    line = " ".join(name.split())
    line = "".join(c if ord(c) in _glyphs() else "?" for c in line)
    half = (most - 1) // 2
    return line if len(line) <= most else f"{line[:half].rstrip()}\u2026{line[-half:].lstrip()}"


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FontProperties(family=FONT))).get_charmap())
