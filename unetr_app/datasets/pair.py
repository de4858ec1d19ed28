"""Pair: an image and the labels that were drawn on it."""

from __future__ import annotations

from dataclasses import dataclass, field

from unetr_app.cases import Case
from unetr_app.datasets.label_file import LabelFile
from unetr_app.errors import UnetrError


@dataclass(frozen=True)
class Pair:
    """An image and its labels: one case of a data set.

    Args:
        id: Unique, safe as a file name, nothing of a patient in it.
        image: The image.
        labels: Files of labels; several where each holds some of them.
        subject: Tells whose the image is; images of one subject stay in one fold. Never shown.
        problem: Why it cannot be used, where that is known already.
    """

    id: str
    image: Case
    labels: tuple[LabelFile, ...]
    subject: str = field(default="", repr=False)
    problem: UnetrError | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All its files."""
        return (*self.image.paths, *(label.path for label in self.labels))


@dataclass(frozen=True)
class Unmatched:
    """Labels without their image, or a row of a list that cannot be read.

    Args:
        path: The file.
        problem: Why it belongs to nothing.
    """

    path: str
    problem: UnetrError


@dataclass(frozen=True)
class FoundPairs:
    """What a search for images with labels came upon.

    Args:
        pairs: In the order of their ids.
        unmatched: Labels whose image is not there.
        unlabelled: Number of images without labels.
    """

    pairs: tuple[Pair, ...]
    unmatched: tuple[Unmatched, ...] = ()
    unlabelled: int = 0
