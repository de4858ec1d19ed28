"""What the command line shows: lines, tables and errors, for people and for pipes.

On a terminal tables are drawn; elsewhere they are aligned plain lines, never wrapped, so that other
programs can search them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from unetr_app.errors import UnetrError


def clean(text: str) -> str:
    """Text without control characters, which a file name could carry to the terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def say(text: str) -> None:
    """Print a line of result."""
    print(clean(text), flush=True)


def note(text: str) -> None:
    """Print a line about the work itself, apart from the results."""
    print(clean(text), file=sys.stderr, flush=True)


def complain(error: UnetrError | str, *, program: str = "unetr") -> None:
    """Print one line for an error: what was found, and what to do."""
    note(f"{program}: {' '.join(str(error).split())}")


def counted(n: int, noun: str) -> str:
    """A number of things in words.

    Example:
        >>> counted(1, "case"), counted(2, "case")
        ('1 case', '2 cases')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to the standard output.

    Args:
        columns: Headings; those of numbers begin with ``">"`` and are set to the right.
        rows: Cells, as many a row as there are columns.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw_table(columns, cells)
    else:
        _print_table(columns, cells)


def _draw_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    head = [column.removeprefix(">") for column in columns]
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    for row in (head, *rows):
        padded = (
            cell.rjust(width) if column.startswith(">") else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        )
        print("  ".join(padded).rstrip())
