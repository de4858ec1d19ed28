"""Request: what is to be explained, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from unetr_app.errors import InvalidRequest
from unetr_app.explain.features import Points
from unetr_app.labels import LabelSet

WHAT = ("erf", "attention", "tsne")


@dataclass(frozen=True)
class Request:
    """What is to be explained.

    Args:
        what: Of `WHAT`.
        lenient: Is what this encoder cannot show left out with a note? Otherwise it is an error.
        at: Index, on the native grid of each image, of the voxel whose attention is shown; absent,
            the class token's is shown where there is one, else that of the image's middle.
        points: What a point of t-SNE stands for: ``voxels`` of a map, the mean of each of a case's
            ``labels``, or the mean of whole ``cases``.
        count: Points sampled of each image, where they are voxels.
        seed: Of noise, signs, samples and t-SNE.
        references: A label map by case id, to tell the labels of points.
        names: What the values of the label maps mean, as far as that is known.

    Raises:
        InvalidRequest: If a word is none of those known, or a number makes no sense.
    """

    what: tuple[str, ...] = WHAT
    lenient: bool = False
    at: tuple[int, int, int] | None = None
    points: Points = "voxels"
    count: int = 200
    seed: int = 0
    references: Mapping[str, Path] = field(default_factory=dict[str, Path])
    names: LabelSet = field(default_factory=lambda: LabelSet(()))

    def __post_init__(self) -> None:
        unknown = [word for word in self.what if word not in WHAT]
        if unknown or not self.what:
            raise InvalidRequest(
                f"{', '.join(map(repr, unknown)) or 'nothing'} cannot be explained",
                cure=f"Choose from {', '.join(WHAT)}.",
            )
        if self.points not in get_args(Points):
            raise InvalidRequest(
                f"points cannot be {self.points!r}", cure=f"Use {', '.join(get_args(Points))}."
            )
        if self.count < 1:
            raise InvalidRequest(f"{self.count} points of each image leave nothing to show")
        if not 0 <= self.seed < 2**32:
            raise InvalidRequest(f"the seed {self.seed} is not from 0 to {2**32 - 1}")
