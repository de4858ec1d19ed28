"""ReceptiveField: which input voxels one position of an encoder's map really depends on.

Luo et al. 2016 (Understanding the effective receptive field, arXiv:1701.04128, section 3.1): the
gradient of the map's centre with respect to the input, in absolute value, averaged over inputs;
SegFormer's figure 3 (arXiv:2105.15203) shows it stage by stage.

The channels of the position are summed with random signs, drawn anew for each gradient. With equal
signs nothing would be left of a map that ends in a layer norm: its channels sum to a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unetr_app.errors import Cancelled, InvalidRequest, UnusableWeights
from unetr_app.explain.evaluating import evaluating

_ROUNDING = 1e-6  # of a share; masses are 32-bit floats


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """The effective receptive field of one position of one map.

    Args:
        level: Which map of the encoder, counted from 0, the finest.
        stride: Input voxels per voxel of the map, one number an axis.
        channels: Channels of the map.
        position: The position on the map.
        mass: Input shape; not negative, sums to 1.
    """

    level: int
    stride: tuple[int, ...]
    channels: int
    position: tuple[int, ...]
    mass: NDArray[np.float32]

    @property
    def centre(self) -> tuple[float, ...]:
        """Input index of the middle of the voxels that the position stands for."""
        pairs = zip(self.position, self.stride, strict=True)
        return tuple((at + 0.5) * stride - 0.5 for at, stride in pairs)

    @property
    def extent(self) -> tuple[int, ...]:
        """Voxels along each axis from the first to the last that the position depends on at all."""
        there = (np.flatnonzero(profile) for profile in self._profiles())
        return tuple(int(found[-1] - found[0]) + 1 for found in there)

    def radius(self, share: float) -> tuple[float, ...]:
        """Half the length, along each axis, of the shortest run of voxels that holds a share.

        Args:
            share: Of the mass, 0 < share <= 1.

        Returns:
            Voxels; one convolution of kernel 3 has a radius of 1.5 for the share 1.
        """
        if not 0 < share <= 1:
            raise InvalidRequest(f"the share {share:g} is not above 0 and at most 1")
        return tuple(_shortest_run(profile, share) / 2 for profile in self._profiles())

    def _profiles(self) -> list[NDArray[np.float64]]:
        """The mass of each slice, for each axis."""
        axes = range(self.mass.ndim)
        others = (tuple(other for other in axes if other != axis) for axis in axes)
        return [self.mass.sum(axis=rest, dtype=np.float64) for rest in others]


class FieldMean:
    """The mean receptive fields of an encoder over inputs that come one by one.

    Args:
        encoder: Keeps the encoders' contract; its parameters and its mode are left as they are.
        draws: Gradients taken for each input and map, each with other signs.
        seed: Of the signs.
        should_stop: Asked before each gradient.

    Example:
        >>> from unetr_app.networks import ENCODERS
        >>> vit = ENCODERS["vit"](1, (32, 32, 32), patch_size=8, embed_dim=12, depth=2, num_heads=2)
        >>> mean = FieldMean(vit)
        >>> mean.add(torch.randn(1, 1, 32, 32, 32))
        >>> mean.fields()[-1].extent
        (32, 32, 32)
    """

    def __init__(
        self, encoder: nn.Module, *, draws: int = 4, seed: int = 0,
        should_stop: Callable[[], bool] | None = None,
    ):  # fmt: skip
        self._encoder = encoder
        self._draws = draws
        self._random = torch.Generator().manual_seed(seed)
        self._should_stop = should_stop or (lambda: False)
        self._sums: list[Tensor] = []  # one a map, of the input's shape
        self._of: list[tuple[int, tuple[int, ...]]] = []  # channels and position of each map

    @property
    def is_empty(self) -> bool:
        """Was nothing added yet?"""
        return not self._sums

    def add(self, x: Tensor) -> None:
        """Add one input.

        Args:
            x: (1, C, spatial...), of the same shape each time.

        Raises:
            Cancelled: If ``should_stop`` said so; nothing is added then.
            InvalidRequest: If a map does not depend on the input.
            UnusableWeights: If a gradient is not finite.
        """
        with evaluating(self._encoder), torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            maps: list[Tensor] = self._encoder(x)
            gradients = [self._mean_gradient(n, feature, x) for n, feature in enumerate(maps)]
        of = [(feature.shape[1], _middle(feature)) for feature in maps]
        if self._sums and [s.shape for s in self._sums] != [g.shape for g in gradients]:
            raise InvalidRequest("inputs of several shapes have no mean receptive field")
        sums = self._sums or [torch.zeros_like(gradient) for gradient in gradients]
        self._sums = [total + one for total, one in zip(sums, gradients, strict=True)]
        self._of = of

    def fields(self) -> list[ReceptiveField]:
        """One a map, finest first.

        Raises:
            InvalidRequest: If nothing was added.
        """
        if self.is_empty:
            raise InvalidRequest("there is no input to take a receptive field from")
        strides: Sequence[Sequence[int]] = self._encoder.strides  # pyright: ignore[reportAssignmentType]
        return [
            ReceptiveField(level, tuple(strides[level]), channels, position, _as_mass(total))
            for level, (total, (channels, position)) in enumerate(
                zip(self._sums, self._of, strict=True)
            )
        ]

    def _mean_gradient(self, level: int, feature: Tensor, x: Tensor) -> Tensor:
        """Mean absolute gradient (spatial...) of the map's middle, summed over input channels."""
        centre = feature[(0, slice(None), *_middle(feature))]  # (C,)
        total = torch.zeros(x.shape[2:], dtype=torch.float64)
        for _ in range(self._draws):
            if self._should_stop():
                raise Cancelled("stopped before the receptive fields were finished")
            signs = torch.randint(0, 2, centre.shape, generator=self._random) * 2.0 - 1.0
            (gradient,) = torch.autograd.grad(
                centre, x, signs.to(centre), retain_graph=True, allow_unused=True
            )
            if gradient is not None:
                total += gradient[0].abs().sum(dim=0).double().cpu()
        if not bool(torch.isfinite(total).all()):
            raise UnusableWeights(f"the gradient of map {level} is not finite")
        if not bool(total.any()):
            raise InvalidRequest(f"map {level} of the encoder does not depend on the input")
        return total


def receptive_fields(
    encoder: nn.Module, inputs: Iterable[Tensor], *, draws: int = 4, seed: int = 0
) -> list[ReceptiveField]:
    """The effective receptive fields of an encoder's maps, averaged over inputs.

    Args:
        encoder: Keeps the encoders' contract.
        inputs: Each (1, C, spatial...), all of one shape: images or noise.
        draws: Gradients taken for each input and map.
        seed: Of the random signs of the channels.

    Returns:
        One a map, finest first.
    """
    mean = FieldMean(encoder, draws=draws, seed=seed)
    for x in inputs:
        mean.add(x)
    return mean.fields()


def _middle(feature: Tensor) -> tuple[int, ...]:
    return tuple(n // 2 for n in feature.shape[2:])


def _as_mass(total: Tensor) -> NDArray[np.float32]:
    return (total / total.sum()).numpy().astype(np.float32)


def _shortest_run(profile: NDArray[np.float64], share: float) -> int:
    sums = np.concatenate([[0.0], np.cumsum(profile)])
    wanted = sums[-1] * share * (1 - _ROUNDING)
    lengths = range(1, len(profile) + 1)
    return next(n for n in lengths if (sums[n:] - sums[:-n]).max() >= wanted)
