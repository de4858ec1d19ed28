"""Parity: do two runs of one network agree?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unetr_app.inference.backends.backend import WindowShape

LARGEST_DIFFERENCE = 5e-3  # of the largest logit; OpenVINO's on one thread was seen at 1.7e-3
LEAST_AGREEMENT = 0.9995  # of the voxels; random weights leave many all but equal
_TIE = 1e-4  # of the largest logit: where the best two are closer, rounding decides


@dataclass(frozen=True)
class Parity:
    """How logits compare with those of torch.

    Args:
        difference: The largest, as a share of the largest logit; NaN where a logit is none.
        agreement: Share of the voxels with the same label, ties by rounding among them.
    """

    difference: float
    agreement: float

    @property
    def holds(self) -> bool:
        """Are they the same but for rounding?"""
        return self.difference < LARGEST_DIFFERENCE and self.agreement >= LEAST_AGREEMENT

    def __str__(self) -> str:
        return (
            f"largest difference {self.difference:.1e} of the largest logit, "
            f"{self.agreement:.3%} of the labels equal"
        )


def sample_windows(shape: WindowShape) -> tuple[Tensor, Tensor]:
    """Two windows that differ in all that a network could tell apart, always the same.

    Returns:
        Noise around 0; and bright noise that is absent from half of the voxels.
    """
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise, 10 * noise.relu()


def compare(logits: Tensor, reference: Tensor) -> Parity:
    """Logits with those of torch, both (N, L, d, h, w); of one label its sign counts.

    Example:
        >>> reference = torch.tensor([[[[[1.0]]], [[[0.0]]]]])
        >>> compare(reference.clone(), reference).holds, compare(-reference, reference).holds
        (True, False)
    """
    if logits.shape != reference.shape:
        return Parity(torch.inf, 0.0)
    scale = reference.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    difference = float((logits - reference).abs().max() / scale)
    if reference.shape[1] == 1:
        same = (logits > 0) == (reference > 0)
        tie = reference.abs() < _TIE * scale
    else:
        label = logits.argmax(dim=1, keepdim=True)
        best = reference.amax(dim=1, keepdim=True)
        behind = best - reference.gather(1, label)
        same = behind == 0
        tie = behind < _TIE * scale
    return Parity(difference, float((same | tie).float().mean()))
