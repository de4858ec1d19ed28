"""Entry: one case as its source names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from unetr_app.cases import Case
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.review.stamps import stamp_of
from unetr_app.volume import Segmentation, Volume


class Labels(Protocol):
    """Labels in files of some kind."""

    @property
    def paths(self) -> tuple[str, ...]:
        """The files; where there are none, reading says so."""
        ...

    def read(self, case: Case | None, volume: Volume | None) -> Segmentation:
        """Read them, onto the grid of the image where that is needed.

        Args:
            case: The image's files; None where they are not to be had.
            volume: The image; None where it could not be read.

        Raises:
            UnetrError: If they cannot be read.
        """
        ...


def no_image() -> Case:
    """For entries without an image.

    Raises:
        UnreadableInput: Always.
    """
    raise UnreadableInput("the list names no image for this case")


@dataclass(frozen=True)
class Entry:
    """One case as its source names it; nothing was read yet.

    Args:
        id: Unique without regard to case, safe as a file name.
        labels: What is reviewed; it is never changed.
        find_image: Looks for the image; raises a `UnetrError` where it is not to be had.
        kind: What the image is; empty where unknown.
        modality: DICOM modality code; empty where unknown.
        second: A second reader's labels.
        uncertainty: A map of it, 0 to 1.
        mean_uncertainty: Where the source states it.
        bundle: Name, version and hashes of what made the labels.
        seg: The DICOM SEG that holds them too, which a corrected one refers to.
        subject: Tells whose the image is; images of one subject stay in one fold. Never shown.
        source_hash: Of the image that the labels were made from; empty where unknown.
        problem: Why it cannot be opened.
        warnings: What the user should know.
    """

    id: str
    labels: Labels
    find_image: Callable[[], Case] = no_image
    kind: str = ""
    modality: str = ""
    second: Labels | None = None
    uncertainty: Path | None = None
    mean_uncertainty: float | None = None
    bundle: Mapping[str, str] = field(default_factory=dict[str, str])
    seg: Path | None = None
    subject: str = field(default="", repr=False)
    source_hash: str = ""
    problem: UnetrError | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Listed:
    """All that a source names.

    Args:
        title: What it is called.
        entries: In order of their ids, numbers in them counted as numbers.
        reviews: Where its reviews lie unless another place is chosen.
        notes: What else the user should know: what was left out, and why.
        files: Files that it was read from; when they change, it may name other cases.
        stamp: `stamp_of` these files, before they were read.
    """

    title: str
    entries: tuple[Entry, ...]
    reviews: Path
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    stamp: str = ""

    @property
    def is_outdated(self) -> bool:
        """Were the files changed since?"""
        return bool(self.files) and stamp_of(self.files) != self.stamp
