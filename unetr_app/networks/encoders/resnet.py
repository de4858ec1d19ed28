"""A residual convolutional network as an encoder: the baseline that transformers must beat.

The residual encoder of nnU-Net (Isensee et al. 2024, arXiv:2404.09556): stages of basic residual
blocks (He et al. 2015, arXiv:1512.03385, figure 5, left), each stage at a coarser stride, their
shortcut pooled by averaging (He et al. 2018, arXiv:1812.01187, section 4.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, compress
from typing import Any

import torch
from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import DropPath, LayerScale
from unetr_app.networks.patches import require_input
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.tuples import as_tuple

Sizes = int | Sequence[int]  # a number for all axes, or one an axis
Norm = str | Sequence[Any]  # in MONAI's words

_SLOPE = 0.01  # of the leaky rectifiers, as in nnU-Net
_LEAST = 4  # voxels that an axis keeps at least when it is halved, as in nnU-Net


class ResidualBlock(nn.Module):
    """Convolution, norm, rectifier, convolution, norm; the shortcut added; rectifier.

    Args:
        channels_in: Channels of the map that comes in.
        channels_out: Channels of the map that goes out.
        kernel: Taps along each axis, odd.
        stride: Of the first convolution, along each axis.
        norm: Normalisation in MONAI's words.
        drop_path: Chance to drop the branch in training.
        layer_scale: Starting factor of the branch; None for no factor.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, ...],
        stride: tuple[int, ...], *, norm: Norm, drop_path: float, layer_scale: float | None,
        recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        dims = len(kernel)
        self.conv1 = _convolution(channels_in, channels_out, kernel, stride)
        self.norm1 = _norm(norm, dims, channels_out)
        self.conv2 = _convolution(channels_out, channels_out, kernel)
        self.norm2 = _norm(norm, dims, channels_out)
        self.scaled = layer_scale is not None
        self.scale = nn.Identity() if layer_scale is None else LayerScale(channels_out, layer_scale)
        self.drop_path = DropPath(drop_path)
        self.rectify = nn.LeakyReLU(_SLOPE)
        shortcut: list[nn.Module] = []
        if max(stride) > 1:
            pool: Any = nn.AvgPool3d if dims == 3 else nn.AvgPool2d
            shortcut.append(pool(stride, stride))
        if channels_in != channels_out:
            shortcut.append(_convolution(channels_in, channels_out, (1,) * dims))
            shortcut.append(_norm(norm, dims, channels_out))
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, fine...) to (B, channels_out, coarse...)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._residual, x)
        return self._residual(x)

    def _residual(self, x: Tensor) -> Tensor:
        branch = self.rectify(self.norm1(self.conv1(x)))
        branch = self.norm2(self.conv2(branch))
        if self.scaled:  # layer scale has the channels last
            branch = self.scale(branch.movedim(1, -1)).movedim(-1, 1)
        return self.rectify(self.shortcut(x) + self.drop_path(branch))


class ResidualEncoder(nn.Module):
    """Residual convolutional encoder: stages of residual blocks, each coarser than the last.

    Every stage at a stride above 1 gives a map. A first stage at full resolution gives none, for
    there decoders read the image themselves.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the strides are laid out for; inputs of other sizes
            that the coarsest stride divides are taken too.
        spatial_dims: 2 or 3.
        widths: Channels of each stage, finest first; their number is the number of stages.
        depths: Residual blocks of each stage: a number for all stages, or one a stage.
        stage_strides: How much coarser each stage is than the one before: a number for all, or for
            each stage a number or one an axis, such as ``(1, 2, 2)`` for thick slices; the first is
            relative to the image. Where absent, by nnU-Net's rule: the first stage is as fine as
            the image, and each further one halves the axes that are even and keep at least 4
            voxels of ``roi_size``; stages for which no such axis is left are left out.
        kernel_size: Taps of the convolutions, odd: a number for all, or for each stage a number or
            one an axis, such as ``(1, 3, 3)`` for thick slices.
        norm: Normalisation in MONAI's words, such as ``"batch"`` or ``("group", {...})``.
        drop_path: Chance to drop the last block's branch in training; rises linearly from 0.
        layer_scale: Starting factor of residual branches; None for no factor.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If there are not as many sizes as stages, a kernel is even, the strides do
            not divide ``roi_size``, or they leave a single voxel to an instance norm.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        widths: Sequence[int] = (32, 64, 128, 256, 320, 320),
        depths: int | Sequence[int] = (1, 3, 4, 6, 6, 6),
        stage_strides: int | Sequence[Sizes] | None = None,
        kernel_size: int | Sequence[Sizes] = 3,
        norm: Norm = ("instance", {"affine": True}),
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        dims = spatial_dims
        counts = [int(n) for n in _one_a_stage(depths, len(widths), "depths")]
        if min(counts, default=0) < 1 or min(widths, default=0) < 1:
            raise InvalidRequest(f"widths {widths} and depths {depths} must be positive")
        kernels = _one_a_stage(kernel_size, len(widths), "kernel_size", dims)
        if any(taps % 2 == 0 for kernel in kernels for taps in kernel):
            raise InvalidRequest(f"kernel_size {kernel_size} must be odd along every axis")
        roi = as_tuple(roi_size, dims, "roi_size")
        if stage_strides is None:
            steps = _halvings(roi, len(widths))
            counts = counts[: len(steps)]
        else:
            steps = _one_a_stage(stage_strides, len(widths), "stage_strides", dims)
        strides = list(accumulate(steps, _product))
        self.coarsest = list(strides[-1])
        self.needs_spread = "instance" in str(norm if isinstance(norm, str) else norm[0]).lower()
        _check_roi(roi, self.coarsest, needs_spread=self.needs_spread)
        self.gives_map = [max(stride) > 1 for stride in strides]
        self.in_channels = in_channels
        self.channels = tuple(compress(widths, self.gives_map))
        self.strides = tuple(compress(strides, self.gives_map))

        self.stem = nn.Sequential(
            _convolution(in_channels, widths[0], kernels[0]),
            _norm(norm, dims, widths[0]),
            nn.LeakyReLU(_SLOPE),
        )
        rates = iter(torch.linspace(0, drop_path, sum(counts)).tolist())
        self.stages = nn.ModuleList()
        width = widths[0]
        for n, count in enumerate(counts):
            stage = nn.Sequential()
            for m in range(count):
                stage.append(
                    ResidualBlock(
                        width, widths[n], kernels[n], (1,) * dims if m else steps[n], norm=norm,
                        drop_path=next(rates), layer_scale=layer_scale,
                        recompute=gradient_checkpointing,
                    )
                )  # fmt: skip
                width = widths[n]
            self.stages.append(stage)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, spatial...) to one map a stage that is coarser than the image, finest first."""
        require_input(x, self.in_channels, self.coarsest)
        voxels = 1
        for n, stride in enumerate(self.coarsest):
            voxels *= x.shape[2 + n] // stride
        if self.needs_spread and voxels == 1:
            raise ValueError(
                f"input of {x.shape[2:]} voxels leaves the coarsest stage one voxel, which has no "
                "spread to norm: pad it"
            )
        x = self.stem(x)
        maps: list[Tensor] = []
        for n, stage in enumerate(self.stages):
            x = stage(x)
            if self.gives_map[n]:
                maps.append(x)
        return maps


def _convolution(
    channels_in: int, channels_out: int, kernel: Sequence[int], stride: Sequence[int] | None = None
) -> nn.Module:
    """A convolution, padded so that sizes are divided by the stride exactly."""
    kind: Any = nn.Conv3d if len(kernel) == 3 else nn.Conv2d
    padding = tuple(taps // 2 for taps in kernel)
    return kind(channels_in, channels_out, kernel, stride=stride or 1, padding=padding)


def _norm(norm: Norm, dims: int, channels: int) -> nn.Module:
    try:
        return get_norm_layer(norm, dims, channels)  # pyright: ignore[reportArgumentType]
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidRequest(
            f"norm {norm!r} cannot be built for {channels} channels: {error}",
            cure="Name one of MONAI's: instance, batch, group with its num_groups, or layer.",
        ) from error


def _one_a_stage(value: Any, stages: int, name: str, dims: int = 0) -> list[Any]:
    """A number for every stage, or a sequence of one a stage; with ``dims`` one an axis each."""
    values = [value] * stages if isinstance(value, int) else list(value)
    if not values or len(values) != stages:
        raise InvalidRequest(
            f"{name} {value} has {len(values)} entries; widths has {stages}",
            cure=f"Give {name} one entry a stage.",
        )
    return [as_tuple(each, dims, name) for each in values] if dims else values


def _halvings(roi_size: tuple[int, ...], stages: int) -> list[tuple[int, ...]]:
    """How much coarser each stage is: see ``stage_strides``."""
    steps, grid = [(1,) * len(roi_size)], roi_size
    while len(steps) < stages:
        step = tuple(2 if n % 2 == 0 and n >= 2 * _LEAST else 1 for n in grid)
        if max(step) == 1:
            break
        steps.append(step)
        grid = tuple(n // s for n, s in zip(grid, step, strict=True))
    return steps


def _product(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a * b for a, b in zip(one, other, strict=True))


def _check_roi(roi_size: tuple[int, ...], stride: list[int], *, needs_spread: bool) -> None:
    if max(stride) == 1:
        raise InvalidRequest(
            f"no stage is coarser than the image of {roi_size} voxels: there would be no map",
            cure="Give a larger, even roi_size, more stages, or stage_strides above 1.",
        )
    if any(n % s for n, s in zip(roi_size, stride, strict=True)):
        raise InvalidRequest(
            f"roi_size {roi_size} is no multiple of the coarsest stride {tuple(stride)}",
            cure="Choose another roi_size, fewer stages, or stage_strides with 1 along short axes.",
        )
    if list(roi_size) == stride and needs_spread:
        raise InvalidRequest(
            f"roi_size {roi_size} leaves the coarsest stage one voxel, which has no spread to norm",
            cure="Choose a larger roi_size, fewer stages, or another norm.",
        )


def _initialise(module: nn.Module) -> None:
    """He et al. 2015 (arXiv:1502.01852, equation 15)."""
    if isinstance(module, nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, a=_SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
