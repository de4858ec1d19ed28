"""PointClouds: features of many cases, gathered map by map, and what their points stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import Cancelled
from unetr_app.explain.embedding import FEWEST, embed
from unetr_app.explain.features import Features
from unetr_app.explain.files import evenly
from unetr_app.labels import Label, LabelSet
from unetr_app.pictures.scatter import Cloud

_MOST_MAPS = 4  # shown side by side
_BACKGROUND: Any = (140, 140, 140)
_NO_LABEL = 65535  # stands for background, whose own value no label may have


@dataclass(frozen=True, eq=False)
class Arranged:
    """Points of all cases in the plane.

    Args:
        arrays: By name, for an .npz file.
        clouds: For a picture, one a map.
        labels: What the values of the clouds mean.
        left_out: Maps with too few points.
    """

    arrays: dict[str, NDArray[Any]]
    clouds: list[Cloud]
    labels: list[Label]
    left_out: list[int]


class PointClouds:
    """Gathers features.

    Args:
        names: What label values mean, as far as that is known.
        by_label: Are points coloured by label? Otherwise by case.
    """

    def __init__(self, names: LabelSet, *, by_label: bool):
        self._names = names
        self._by_label = by_label
        self._cases: list[str] = []
        self._features: list[list[Features]] = []

    def add(self, case_id: str, features: list[Features]) -> None:
        """Add a case: its features, one a map."""
        self._cases.append(case_id)
        self._features.append(features)

    def arranged(
        self, strides: Sequence[Sequence[int]], *, seed: int, should_stop: Callable[[], bool]
    ) -> Arranged:
        """Arrange the points of each map by t-SNE; of many maps, of four.

        Maps that are so coarse that they have fewer than five points are left out.

        Args:
            strides: Of the maps, for the titles.
            seed: Of t-SNE.
            should_stop: Asked before each map.

        Raises:
            InvalidRequest: If all maps have too few points.
            Cancelled: If ``should_stop`` said so.
        """
        arrays: dict[str, NDArray[Any]] = {"case_ids": np.asarray(self._cases)}
        clouds: list[Cloud] = []
        counts = [sum(len(f[n].labels) for f in self._features) for n in range(len(strides))]
        enough = [level for level, count in enumerate(counts) if count >= FEWEST]
        for level in evenly(enough or range(len(strides)), _MOST_MAPS):
            if should_stop():
                raise Cancelled("stopped before t-SNE was finished")
            of = [features[level] for features in self._features]
            vectors = np.concatenate([one.vectors for one in of])
            labels = np.concatenate([one.labels for one in of])
            cases = np.repeat(np.arange(len(of)), [len(one.labels) for one in of])
            points = embed(vectors, seed=seed)
            arrays |= {f"points_{level}": points, f"features_{level}": vectors,
                       f"labels_{level}": labels, f"cases_{level}": cases}  # fmt: skip
            values = np.where(labels == 0, _NO_LABEL, labels) if self._by_label else cases + 1
            stride = " x ".join(map(str, strides[level]))
            clouds.append(Cloud(f"Map {level}, stride {stride}", points, values))
        left_out = [level for level in range(len(strides)) if level not in enough]
        return Arranged(arrays, clouds, self._meanings(clouds), left_out)

    def _meanings(self, clouds: Sequence[Cloud]) -> list[Label]:
        """Name and colour of each value."""
        if not self._by_label:
            return [Label(n + 1, case_id) for n, case_id in enumerate(self._cases)]
        values = np.unique(np.concatenate([cloud.values for cloud in clouds])).tolist()
        known = {label.value: label for label in self._names}
        known[_NO_LABEL] = Label(_NO_LABEL, "background", _BACKGROUND)
        return [known.get(value, Label(value, f"label_{value}")) for value in values]
