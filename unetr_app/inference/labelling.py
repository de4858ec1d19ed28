"""Labelling: labels on the native grid, made as a bundle's restoration says."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.bundle.restoration import LabelStep, Restoration
from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.homecoming import Homecoming
from unetr_app.inference.nearest import nearest_home
from unetr_app.inference.reductions import LabelMap, Masks, probabilities
from unetr_app.inference.streaming import Route
from unetr_app.inference.way_home import WayHome
from unetr_app.inference.window_plan import Shape
from unetr_app.labels import LabelSet


class Labelling:
    """Keeps labels while blocks come, and finishes them when all have come.

    Args:
        restoration: How logits become labels; of a kind that is understood.
        way: From the model grid to the native grid.
        order: Axes of the model grid in which blocks come.
        result_key: Under which the bundle's steps expect the labels.
    """

    def __init__(
        self, restoration: Restoration, way: WayHome, order: Shape, *, result_key: str = "pred"
    ):
        self._how, self._way = restoration, way
        self._model, self._native = way.model, way.native
        self._result_key = result_key
        self.exclusive = restoration.kind == "exclusive"
        if restoration.discrete_first:  # what is decided there comes home in the end
            way = WayHome.plain(way.model, way.model)
        grid = way.native
        self._home = Homecoming(way, order)
        self._kept = LabelMap(grid.shape) if self.exclusive else Masks(grid.shape, self._threshold)
        self.route: Route = (self._home, (self._kept,))

    def bytes_needed(self, channels: int) -> int:
        """Of labels, and of what `finish` makes on the way to them, at most.

        Args:
            channels: Of the logits.
        """
        masks, grids = (1 if self.exclusive else channels), [self._native]
        if self._how.discrete_first:
            grids.append(self._model)
        kept = math.prod(grids[-1].shape) * masks * (1 + (channels > 256))
        on_the_way = [self._way.resampled, self._way.before] if self._how.discrete_first else []
        voxels = max(math.prod(grid.shape) for grid in (*grids, *on_the_way))
        if not self.exclusive:
            kept += voxels * masks  # in the order of the label table
        if self._how.discrete_first:
            kept += voxels * (masks + 6)  # taken home one by one, askew ones as uint16
        if self._how.steps:
            kept += voxels * masks * (4 + 4 + 2)  # float32 in and out, labels
        return kept

    @property
    def activation(self) -> Callable[[Tensor], Tensor] | None:
        """What is applied to logits before they go home; None for nothing."""
        kind = self._how.activation
        if kind == "none" or self._how.discrete_first or self._home.is_exact:
            return None  # where nothing is interpolated it changes no label
        return lambda logits: probabilities(logits, exclusive=kind == "softmax")

    @property
    def _threshold(self) -> float:
        logit = self._how.threshold
        return 1 / (1 + math.exp(-logit)) if self.activation is not None else logit

    def finish(self, labels: LabelSet) -> NDArray[Any]:
        """The labels: (I, J, K) where they exclude each other, else masks (labels, I, J, K).

        Args:
            labels: The label table, for the order of masks.

        Raises:
            UnusableBundle: If a step of the bundle gives what are no labels on their grid.
        """
        array: NDArray[Any] = self._kept.array
        grid = self._model if self._how.discrete_first else self._native
        array = array[None] if self.exclusive else array
        steps = self._how.steps
        if self._how.discrete_first:
            array = self._stepped(array, grid, [step for step in steps if step.grid == "model"])
            array = np.stack([nearest_home(mask, self._way) for mask in array])
            steps = [step for step in steps if step.grid == "native"]
        array = self._stepped(array, self._native, steps)
        if self.exclusive or self._how.merges:
            return array[0].astype(np.uint8 if array.max(initial=0) < 256 else np.uint16)
        values = self._how.values or tuple(range(1, len(array) + 1))
        masks = {value: mask for value, mask in zip(values, array, strict=True) if value}
        return np.stack([masks[value] for value in labels.values]).astype(bool, copy=False)

    def _stepped(
        self, array: NDArray[Any], grid: Geometry, steps: Sequence[LabelStep]
    ) -> NDArray[Any]:
        """After the bundle's own transforms of labels, on one grid."""
        affine = torch.from_numpy(grid.affine.copy())
        for step in steps:
            given = MetaTensor(torch.from_numpy(array.astype(np.float32)), affine=affine)
            found = np.asarray(step.transform({self._result_key: given})[self._result_key])
            if found.shape[1:] != array.shape[1:]:
                raise UnusableBundle(
                    f"{step.name} made labels of shape {found.shape} out of {array.shape}",
                    cure="Take it out of the bundle's postprocessing, or mend it.",
                )
            array = found if found.dtype == bool else label_values(found, step.name)
        return array


def label_values(found: NDArray[Any], made_by: str) -> NDArray[np.uint16]:
    """Numbers as labels, rounded.

    Args:
        found: Of any shape.
        made_by: Name of the step that made them, for the message.

    Raises:
        UnusableBundle: If one is no label: below 0 or above 65535.
    """
    low, high = float(found.min(initial=0)), float(found.max(initial=0))
    if not (low > -0.5 and high < 2**16 - 0.5):
        wrong = low if low < 0 else high
        raise UnusableBundle(
            f"{made_by} made {wrong:g}, which is no label: they are 0 to 65535",
            cure="Take it out of the bundle's postprocessing, or mend it.",
        )
    return np.rint(found).astype(np.uint16)


def ready_for_logits(restoration: Restoration) -> Restoration:
    """The finer way home: logits are interpolated, and decided upon where they arrive."""
    return replace(restoration, discrete_first=False, activation="none")
