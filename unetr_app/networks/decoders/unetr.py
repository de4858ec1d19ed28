"""UNETR's convolutional decoder, built from an encoder's channels and strides alone.

Hatamizadeh et al. 2021 (arXiv:2103.10504, section 3.1, figure 2). Every map of the encoder has a
level of the decoder that it joins. A map that is coarser than its level climbs an up-sampling
ladder to it; a map that already has its level's stride passes a residual block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.networks.blocks.dynunet_block import UnetBasicBlock, UnetResBlock, get_conv_layer
from torch import Tensor, nn

from unetr_app.networks.tuples import ladder, next_finer

Stride = tuple[int, ...]


def level_strides(strides: Sequence[Stride]) -> list[Stride]:
    """The stride of the level at which each map joins the decoder, finest first.

    The coarsest map keeps its own. Each finer map joins one step further up, or at its own stride
    if that is finer still; no map joins at stride 1, which belongs to the image.

    Example:
        >>> level_strides([(16, 16, 16)] * 4)
        [(2, 2, 2), (4, 4, 4), (8, 8, 8), (16, 16, 16)]
    """
    levels = [tuple(strides[-1])]
    for stride in reversed(strides[:-1]):
        finer = next_finer(levels[0])
        if max(finer) == 1:
            finer = levels[0]
        levels.insert(0, tuple(min(a, b) for a, b in zip(finer, stride, strict=True)))
    return levels


def _upsample(dims: int, channels_in: int, channels_out: int, factor: Stride) -> nn.Module:
    return get_conv_layer(
        dims, channels_in, channels_out, kernel_size=factor, stride=factor, is_transposed=True
    )


class SkipPath(nn.Module):
    """Brings one map of the encoder to the stride and width of its level.

    Args:
        block: Makes a convolutional block from channels in and out.
        dims: 2 or 3.
        channels_in: Channels of the map.
        channels_out: Channels of the level.
        steps: Up-sampling factors to climb; none for a map that has its level's stride.
        conv_block: Is there a convolutional block after each step but the first?
    """

    def __init__(
        self, block, dims: int, channels_in: int, channels_out: int, steps: list[Stride], *,
        conv_block: bool,
    ):  # fmt: skip
        super().__init__()
        layers: list[nn.Module] = []
        for n, factor in enumerate(steps):
            layers.append(_upsample(dims, channels_out if n else channels_in, channels_out, factor))
            if n and conv_block:
                layers.append(block(channels_out, channels_out))
        self.layers = nn.Sequential(*(layers or [block(channels_in, channels_out)]))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, coarse...) to (B, channels_out, fine...)."""
        return self.layers(x)


class FuseLevel(nn.Module):
    """Up-samples the level below and fuses it with this level's skip.

    Args:
        block: Makes a convolutional block from channels in and out.
        dims: 2 or 3.
        channels_in: Channels of the level below.
        channels_out: Channels of this level.
        steps: Up-sampling factors from the level below; none where it has the same stride.
    """

    def __init__(self, block, dims: int, channels_in: int, channels_out: int, steps: list[Stride]):
        super().__init__()
        steps = steps or [(1,) * dims]
        self.up = nn.Sequential(
            *(
                _upsample(dims, channels_out if n else channels_in, channels_out, factor)
                for n, factor in enumerate(steps)
            )
        )
        self.fuse = block(2 * channels_out, channels_out)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """(B, channels_in, coarse...), (B, channels_out, fine...) to (B, channels_out, fine...)."""
        return self.fuse(torch.cat((self.up(below), skip), dim=1))


class UnetrDecoder(nn.Module):
    """Convolutional decoder for any encoder.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image, which joins at stride 1.
        channels: The encoder's channels, finest map first.
        strides: The encoder's strides, finest map first.
        feature_size: Channels at stride 1; each level below has twice as many.
        norm: Normalisation in MONAI's words, such as ``"instance"`` or ``("group", {...})``.
        res_block: Residual blocks, or plain ones?
        conv_block: Is there a block after each step of a ladder but its first?
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: Sequence[int],
        strides: Sequence[Stride], *, feature_size: int = 16, norm: str | tuple = "instance",
        res_block: bool = True, conv_block: bool = True,
    ):  # fmt: skip
        super().__init__()
        block_type = UnetResBlock if res_block else UnetBasicBlock

        def block(channels_in: int, channels_out: int) -> nn.Module:
            return block_type(spatial_dims, channels_in, channels_out, 3, 1, norm)

        levels = [(1,) * spatial_dims, *level_strides(strides)]  # of the image and of each map
        widths = [feature_size * 2**n for n in range(len(channels))] + [channels[-1]]
        self.strides = tuple(levels)
        self.channels = tuple(widths)
        self.stem = block(in_channels, feature_size)
        self.skips = nn.ModuleList(
            SkipPath(
                block, spatial_dims, channels[n], widths[n + 1],
                ladder(tuple(strides[n]), levels[n + 1]), conv_block=conv_block,
            )
            for n in range(len(channels) - 1)
        )  # fmt: skip
        self.levels = nn.ModuleList(  # coarsest first: the order in which they run
            FuseLevel(
                block, spatial_dims, widths[n + 1], widths[n], ladder(levels[n + 1], levels[n])
            )
            for n in reversed(range(len(channels)))
        )

    def forward(self, image: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """Image (B, C, spatial...) and the encoder's maps to one map a level, finest first."""
        skips = [self.stem(image)]
        for n, skip in enumerate(self.skips):
            skips.append(skip(maps[n]))
        features = [maps[-1]]
        for level in self.levels:
            features.insert(0, level(features[0], skips.pop()))
        return features
