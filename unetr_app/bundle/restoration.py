"""Restoration: how a bundle's postprocessing turns logits into labels on the native grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["exclusive", "overlapping", "other"]
Activation = Literal["softmax", "sigmoid", "none"]
Grid = Literal["model", "native"]


@dataclass(frozen=True)
class LabelStep:
    """One transform that a bundle applies to its labels.

    Args:
        transform: A MONAI dictionary transform. It takes float32 labels under the bundle's
            ``result_key``: (1, ...) where labels exclude each other, (L, ...) masks where they
            overlap.
        grid: Where the labels stand when it is applied.
    """

    transform: Any
    grid: Grid

    @property
    def name(self) -> str:
        """Its class."""
        return type(self.transform).__name__


@dataclass(frozen=True)
class Restoration:
    """How logits (L, i, j, k) become labels.

    Args:
        kind: ``exclusive``, the channel with the largest value is the label; ``overlapping``, one
            mask a channel; ``other``, it is not understood, and the bundle's own postprocessing has
            to be applied as it is.
        threshold: Logit from which on a voxel belongs to a mask, where labels overlap.
        discrete_first: Labels are made on the model grid and go home by nearest neighbour; where
            not, the result of ``activation`` goes home by linear interpolation.
        restores: A step undoes the preprocessing; else labels stay on the model grid, and go home
            by where its voxels lie.
        activation: What is applied to logits before they go home.
        steps: Applied to the labels, in order.
        values: Label value of each channel where labels overlap, 0 for a background that is no
            label; empty where the bundle does not name its channels: 1, 2, ... then.
        merges: The last step makes one label map (1, ...) out of the masks.
        reason: One sentence that names what is not understood, where the kind is ``other``.
    """

    kind: Kind
    threshold: float = 0.0
    discrete_first: bool = False
    restores: bool = True
    activation: Activation = "none"
    steps: tuple[LabelStep, ...] = ()
    values: tuple[int, ...] = ()
    merges: bool = False
    reason: str = ""
