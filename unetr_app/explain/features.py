"""Features: what an encoder's map holds at places of an image, with the labels of these places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.explain.evaluating import evaluating
from unetr_app.explain.explainer import Explainer
from unetr_app.explain.window import Window, cell_geometry
from unetr_app.resample import resample_labels
from unetr_app.volume import Segmentation, Volume

Points = Literal["voxels", "labels", "cases"]

_LEAST_BACKGROUND = 20  # places of an image, where others are labelled


@dataclass(frozen=True, eq=False)
class Features:
    """Feature vectors of one map of the encoder.

    Args:
        vectors: (points, channels).
        labels: (points,) label value of each; 0 where it is background, or nothing is labelled.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]


def case_features(
    explainer: Explainer,
    image: Volume,
    labels: Segmentation | None = None,
    *,
    points: Points = "voxels",
    count: int = 200,
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> list[Features]:
    """Features of one prepared image: the whole of it is looked at, window by window.

    A place is a voxel of the map; its label is that of the nearest voxel of the label map.

    Args:
        explainer: Whose encoder.
        image: On the model grid.
        labels: On any grid.
        points: ``"cases"``: the mean of all places; ``"labels"``: the mean of each label's places;
            ``"voxels"``: some places, as many of each label where there are enough, and no more
            of background than of all labels (but 20 at least).
        count: How many places are sampled for ``"voxels"``.
        seed: Of the sampling.
        should_stop: Asked before each window.

    Returns:
        One a map, finest first.

    Raises:
        Cancelled: If ``should_stop`` said so.
    """
    windows = list(explainer.windows(image))
    grids = _grids(explainer)
    found = [[_labels(window, grid, labels) for window in windows] for grid in grids]
    random = np.random.default_rng(seed)
    chosen = [_choose(np.concatenate(one), points, count, random) for one in found]
    rows: list[list[NDArray[np.float32]]] = [[] for _ in grids]
    starts = [np.cumsum([0, *map(len, one)]) for one in found]
    for n, window in enumerate(windows):
        if should_stop is not None and should_stop():
            raise Cancelled("stopped before the features were finished")
        for level, vectors in enumerate(_encode(explainer, window)):
            low, high = starts[level][n], starts[level][n + 1]
            here = chosen[level]
            here = here[(here >= low) & (here < high)] - low
            rows[level].append(vectors[here])
    tables = zip(rows, chosen, found, strict=True)
    return [
        _reduced(Features(np.concatenate(row), np.concatenate(one)[here]), points)
        for row, here, one in tables
    ]


def _grids(explainer: Explainer) -> list[tuple[int, ...]]:
    """Shape of each map."""
    strides: list[tuple[int, ...]] = explainer.encoder.strides  # pyright: ignore[reportAssignmentType]
    pairs = (zip(explainer.roi_size, stride, strict=True) for stride in strides)
    grids = [tuple(n // s for n, s in pair) for pair in pairs]
    if any(min(grid) < 1 for grid in grids):
        raise InvalidRequest(f"{explainer.name} takes larger inputs than {explainer.roi_size}")
    return grids


def _labels(
    window: Window, grid: tuple[int, ...], labels: Segmentation | None
) -> NDArray[np.int64]:
    """Label of each cell of a window in flat order; -1 where the cell is not this window's."""
    values = np.zeros(grid, dtype=np.int64)
    if labels is not None:
        values += resample_labels(labels, cell_geometry(window.geometry, grid)).label_map
    return np.where(window.own_cells(grid), values, -1).reshape(-1)


def _choose(
    labels: NDArray[np.int64], points: Points, count: int, random: np.random.Generator
) -> NDArray[np.intp]:
    """Indices of the cells to keep, ascending."""
    if points != "voxels":
        return np.flatnonzero(labels >= 0)
    labelled = int((labels > 0).sum())
    kept: list[NDArray[np.intp]] = []
    groups = [np.flatnonzero(labels == value) for value in np.unique(labels[labels >= 0])]
    for n, group in enumerate(sorted(groups, key=len)):
        share = min(len(group), (count - sum(map(len, kept))) // (len(groups) - n))
        if labelled and labels[group[0]] == 0:
            share = min(share, max(labelled, _LEAST_BACKGROUND))
        kept.append(random.choice(group, share, replace=False))
    return np.sort(np.concatenate(kept)) if kept else np.array([], dtype=np.intp)


def _encode(explainer: Explainer, window: Window) -> list[NDArray[np.float32]]:
    """The maps of one window as (cells, channels)."""
    with evaluating(explainer.encoder), torch.no_grad():
        maps = explainer.encoder(explainer.tensor(window))
    shapes = [tuple(feature.shape[2:]) for feature in maps]
    if shapes != _grids(explainer):
        raise InvalidRequest(
            f"{explainer.name} gives maps of {shapes}, where its strides promise "
            f"{_grids(explainer)}"
        )
    return [feature[0].flatten(1).T.float().cpu().numpy() for feature in maps]


def _reduced(features: Features, points: Points) -> Features:
    if points == "voxels" or not len(features.labels):
        return features
    labels = np.zeros_like(features.labels) if points == "cases" else features.labels
    values = np.unique(labels)
    means = [features.vectors[labels == v].mean(axis=0, dtype=np.float64) for v in values]
    return Features(np.asarray(means, dtype=np.float32), values)
