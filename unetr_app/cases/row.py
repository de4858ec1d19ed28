"""Row: what a list says of one case."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """What a list says of one case.

    Args:
        where: Its place in the list, such as ``line 3``.
        id: As written; empty where none is.
        images: As written, one for each channel; relative ones start from the list's folder.
        channels: What the columns call the images; empty where they do not.
        problem: What is wrong with the row; empty where nothing is.
    """

    where: str
    id: str = ""
    images: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    problem: str = ""


class NoList(ValueError):
    """A text that is no list of cases.

    Args:
        what: What was found and what was expected, the line where it is known.
        cure: What the user can do next.
    """

    def __init__(self, what: str, cure: str):
        self.what = what
        self.cure = cure
        super().__init__(what)
