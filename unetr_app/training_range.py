"""TrainingRange: what a bundle was trained on, and whether an image is like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from unetr_app.errors import UnfitInput, UnusableBundle
from unetr_app.volume import Volume

Bounds = tuple[tuple[float, float, float], tuple[float, float, float]]

_AIR_OR_FAT_HU = -50.0  # below soft tissue; MR intensities do not go there
_CT_SHARE = 0.005  # this share of voxels below it makes an image look like CT
_AXES = ("left-right", "back-front", "foot-head")


@dataclass(frozen=True)
class Range:
    """Lowest and highest value along the RAS axes: seen in training, and accepted at most.

    Args:
        trained: What the training data had; outside it is a warning.
        accepted: What is still tried; outside it is a refusal.
    """

    trained: Bounds
    accepted: Bounds


@dataclass(frozen=True)
class TrainingRange:
    """What a bundle was trained on.

    Args:
        modality: ``"MR"``, ``"CT"``, or empty for any.
        extent_mm: Field of view along the left-right, back-front and foot-head axes.
        spacing_mm: Spacing along the same axes.
    """

    modality: str
    extent_mm: Range
    spacing_mm: Range

    @classmethod
    def from_metadata(cls, values: Mapping[str, Any]) -> TrainingRange:
        """Build from the ``training_range`` of a bundle's ``metadata.json``.

        Raises:
            UnusableBundle: If it is not of the form that docs/bundles.md gives.
        """
        try:
            return cls(
                str(values["modality"]),
                _range(values["extent_mm"]),
                _range(values["spacing_mm"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UnusableBundle(
                f"training_range in metadata.json is incomplete: {error}"
            ) from error

    def check(self, volume: Volume, *, force: bool = False) -> list[str]:
        """Compare an image with what the bundle was trained on.

        Args:
            volume: The image.
            force: Turn refusals into warnings.

        Returns:
            One sentence for each thing that lies outside the training range.

        Raises:
            UnfitInput: If something lies far outside and ``force`` is off.
        """
        warnings, refusals = [], []
        if problem := self._modality_problem(volume):
            refusals.append(problem)
        upright = volume.geometry.reoriented("RAS")
        for name, unit, values, allowed in (
            ("field of view", "mm", upright.extent_mm, self.extent_mm),
            ("spacing", "mm", upright.spacing, self.spacing_mm),
        ):
            for axis, value in enumerate(values):
                low, high = allowed.trained[0][axis], allowed.trained[1][axis]
                said = f"{name} {value:.4g} {unit} {_AXES[axis]}; the bundle was trained on " + (
                    f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
                )
                if not allowed.accepted[0][axis] <= value <= allowed.accepted[1][axis]:
                    refusals.append(said)
                elif not low * 0.99 <= value <= high * 1.01:
                    warnings.append(said)
        if refusals and not force:
            raise UnfitInput(
                "the image is far outside what the bundle was trained on: " + "; ".join(refusals),
                cure="Give the bundle an image of its kind (see its docs), or add --force.",
            )
        return refusals + warnings

    def _modality_problem(self, volume: Volume) -> str:
        if not self.modality:
            return ""
        if volume.modality and volume.modality != self.modality:
            return f"modality {volume.modality}; the bundle was trained on {self.modality}"
        if volume.modality:
            return ""
        share = float(np.mean(volume.data[0] < _AIR_OR_FAT_HU))
        if self.modality == "MR" and share > _CT_SHARE:
            return (
                f"{share:.0%} of the voxels lie below {_AIR_OR_FAT_HU:g}, as in CT; "
                "the bundle was trained on MR"
            )
        if self.modality == "CT" and share <= _CT_SHARE:
            return (
                f"hardly a voxel lies below {_AIR_OR_FAT_HU:g}, where CT in Hounsfield units has "
                "air and fat; the bundle was trained on CT"
            )
        return ""


def _range(values: Mapping[str, Any]) -> Range:
    return Range(_bounds(values["trained"]), _bounds(values["accepted"]))


def _bounds(values: Any) -> Bounds:
    (a, b, c), (d, e, f) = values
    return (float(a), float(b), float(c)), (float(d), float(e), float(f))
