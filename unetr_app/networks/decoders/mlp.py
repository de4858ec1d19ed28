"""SegFormer's decoder: linear layers alone, built from an encoder's channels and strides alone.

Xie et al. 2021 (arXiv:2105.15203, section 3.2, equation 4). Every map gets the same channels by a
linear layer, all are up-sampled to the finest map's stride and fused. Its features have that
stride: the head works there, and its logits are up-sampled to the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.networks.layers.utils import get_norm_layer
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.tokens import to_map, to_tokens


class MlpDecoder(nn.Module):
    """All-MLP decoder for any encoder.

    What it publishes first is the fused map. The levels below are the encoder's other maps after
    their linear layer, at their own strides: supervised there, each stage of the encoder learns
    from the labels by the shortest way, and the linear layers are those that inference uses.

    Args:
        spatial_dims: 2 or 3.
        in_channels: Channels of the image; unused, for the image itself does not join.
        channels: The encoder's channels, finest map first.
        strides: The encoder's strides, finest map first.
        width: Channels of every level; the paper's is 256 for B0 and B1, 768 for B2 to B5.
        dropout: Chance that a value of the fused map is dropped in training.
        norm: Normalisation of the fused map in MONAI's words; the paper's is ``"batch"``.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, channels: Sequence[int],
        strides: Sequence[tuple[int, ...]], *, width: int = 256, dropout: float = 0.1,
        norm: str | tuple = "batch",
    ):  # fmt: skip
        super().__init__()
        self.channels = (width,) * len(channels)
        self.strides = tuple(tuple(stride) for stride in strides)
        self.width = width
        self.mode = "trilinear" if spatial_dims == 3 else "bilinear"
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.linears = nn.ModuleList(nn.Linear(count, width) for count in channels)
        # Its input is the concatenation of all maps, the coarsest first, as in SegFormer's code.
        self.fuse = convolution(len(channels) * width, width, 1, bias=False)
        self.norm = get_norm_layer(norm, spatial_dims, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, image: Tensor, maps: list[Tensor]) -> list[Tensor]:
        """Image (B, C, spatial...) and the encoder's maps to one map a level, finest first.

        A 1 x 1 convolution of a concatenation is a sum, and it may come before the up-sampling,
        for both are linear: so the concatenation at the finest stride is never in memory.
        """
        finest: list[int] = list(maps[0].shape[2:])
        features: list[Tensor] = []
        fused = image  # replaced by the first share
        for n, linear in enumerate(self.linears):
            grid: list[int] = list(maps[n].shape[2:])
            tokens = linear(to_tokens(maps[n]))  # (B, N, W)
            share = to_map(functional.linear(tokens, self._share_of(n)), grid)  # (B, W, grid...)
            features.append(to_map(tokens, grid))
            fused = share if n == 0 else fused + self._upsampled(share, finest)
        features[0] = self.dropout(functional.relu(self.norm(fused)))
        return features

    def _share_of(self, level: int) -> Tensor:
        """The part of the fusing matrix that one level meets, (W, W)."""
        start = (len(self.linears) - 1 - level) * self.width
        return self.fuse.weight.flatten(1)[:, start : start + self.width]

    def _upsampled(self, share: Tensor, grid: list[int]) -> Tensor:
        if list(share.shape[2:]) == grid:
            return share
        return functional.interpolate(share, grid, mode=self.mode, align_corners=False)
