"""Rows: what the pages need to know of a thing to show it; any object with these will do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

DASH = "\N{EN DASH}"
"""What a table shows where there is no value."""


class CaseRow(Protocol):
    """A case of the worklist."""

    @property
    def case_id(self) -> str:
        """Unique in the list."""
        ...

    @property
    def bundle(self) -> str:
        """What segmented it; empty where nobody knows."""
        ...

    @property
    def flags(self) -> Sequence[Any]:
        """Quality flags: `flag_words` and `flag_sentence` tell how they are read."""
        ...

    @property
    def uncertainty(self) -> float | None:
        """Mean uncertainty; None where there is no map."""
        ...

    @property
    def status(self) -> str:
        """One of unreviewed, editing, accepted, rejected."""
        ...

    @property
    def flagged(self) -> bool:
        """Did a reviewer ask for another look?"""
        ...

    @property
    def grade(self) -> int:
        """1 to 5, 0 for none."""
        ...

    @property
    def comment(self) -> str:
        """Of the reviewer."""
        ...

    @property
    def reviewer(self) -> str:
        """Who looked last, or has it open."""
        ...

    @property
    def when(self) -> str:
        """When it was looked at last, for people."""
        ...

    @property
    def versions(self) -> int:
        """How many corrected versions there are."""
        ...

    @property
    def has_unsaved(self) -> bool:
        """Are there edits that are in no version yet?"""
        ...

    @property
    def problem(self) -> str:
        """Why it cannot be opened; empty where it can."""
        ...


class LabelRow(Protocol):
    """Statistics of one label."""

    @property
    def value(self) -> int:
        """Its integer in the label map."""
        ...

    @property
    def millilitres(self) -> float:
        """Its volume."""
        ...

    @property
    def mean(self) -> float | None:
        """Mean intensity; None without an image, or where the label is empty."""
        ...

    @property
    def standard_deviation(self) -> float | None:
        """Of the intensities; None like the mean."""
        ...

    @property
    def components(self) -> int:
        """Pieces that do not touch."""
        ...


class ComparisonRow(Protocol):
    """How two segmentations differ in one label."""

    @property
    def name(self) -> str:
        """The label."""
        ...

    @property
    def dice(self) -> float | None:
        """0 to 1; None where neither has the label."""
        ...

    @property
    def hd95_mm(self) -> float | None:
        """95th percentile of surface distances; None where one of them lacks the label."""
        ...

    @property
    def difference_ml(self) -> float:
        """Second less first."""
        ...

    @property
    def difference_percent(self) -> float | None:
        """Of the first; None where the first is empty."""
        ...


class VersionRow(Protocol):
    """A version of a case's segmentation."""

    @property
    def n(self) -> int:
        """Its number; 0 is the prediction."""
        ...

    @property
    def who(self) -> str:
        """The reviewer."""
        ...

    @property
    def when(self) -> str:
        """When it was saved, for people."""
        ...

    @property
    def voxels_edited(self) -> int:
        """How many differ from the version before."""
        ...

    @property
    def dice_before(self) -> float | None:
        """Mean Dice with the prediction before; None where there is none."""
        ...

    @property
    def dice_after(self) -> float | None:
        """Mean Dice with the prediction after."""
        ...

    @property
    def seconds(self) -> float | None:
        """Time spent on it."""
        ...


def flag_words(flag: Any) -> str:
    """The short words of a quality flag: its ``word``, else itself.

    Example:
        >>> flag_words("touches the border")
        'touches the border'
    """
    return str(getattr(flag, "word", flag))


def flag_sentence(flag: Any) -> str:
    """The sentence of a quality flag: its ``sentence``, else its short words."""
    return str(getattr(flag, "sentence", flag_words(flag)))
