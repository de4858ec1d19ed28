"""GatheredFields: receptive fields over many images, or noise, and the grid they are shown on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from unetr_app.explain.explainer import Explainer
from unetr_app.explain.files import write_receptive_fields
from unetr_app.explain.receptive_field import FieldMean, ReceptiveField
from unetr_app.explain.window import Window
from unetr_app.geometry import Geometry

_NOISE = 8  # inputs, where there are no images
_SAME_MM = 1e-3


class GatheredFields:
    """Gathers receptive fields.

    Args:
        explainer: Whose encoder.
        seed: Of noise and of the channels' signs.
        should_stop: Asked before each gradient.
    """

    def __init__(self, explainer: Explainer, *, seed: int, should_stop: Callable[[], bool]):
        self._explainer = explainer
        self._seed = seed
        self._mean = FieldMean(explainer.encoder, seed=seed, should_stop=should_stop)
        self._grids: list[Geometry] = []

    @property
    def is_empty(self) -> bool:
        """Was nothing added?"""
        return self._mean.is_empty

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Of all images; None where there are none, or they differ."""
        spacings = np.array([grid.spacing for grid in self._grids])
        if not len(spacings) or np.ptp(spacings, axis=0).max() > _SAME_MM:
            return None
        return self._grids[0].spacing

    @property
    def geometry(self) -> Geometry:
        """The place of the only image's window; of several, or of noise, a grid round the origin.

        Without a known spacing it is 1 mm.
        """
        if len(self._grids) == 1:
            return self._grids[0]
        shape = self._explainer.roi_size
        spacing = np.array(self.spacing_mm or (1.0, 1.0, 1.0))
        return Geometry.from_parts(shape, spacing, np.eye(3), -spacing * (np.array(shape) - 1) / 2)

    def add(self, window: Window) -> None:
        """Add what one image gives."""
        self._mean.add(self._explainer.tensor(window))
        self._grids.append(window.geometry)

    def add_noise(self) -> None:
        """Add what noise gives."""
        for x in self._explainer.noise(_NOISE, seed=self._seed):
            self._mean.add(x)

    def write(self, out: Path) -> tuple[list[ReceptiveField], list[Path]]:
        """Write pictures, table and arrays; the fields, and the files to look at."""
        fields = self._mean.fields()
        count = len(self._grids)
        of = f"{count} image{'s' * (count > 1)}" if count else f"{_NOISE} inputs of noise"
        name = self._explainer.name
        written = write_receptive_fields(
            fields, self.geometry, out, in_mm=self.spacing_mm is not None,
            said=f"Mean absolute gradient of each map's middle (cross), {name}, {of}",
        )  # fmt: skip
        return fields, written
