"""Encoders small enough to know everything about them, for tests of explaining."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks import ENCODERS

# Options that make each family tiny; its input is 32 x 64 x 64.
ROI = (32, 64, 64)
TINY = {
    "vit": {"patch_size": (8, 16, 16), "embed_dim": 24, "depth": 2, "num_heads": 2},
    "timesformer": {"patch_size": (8, 16, 16), "embed_dim": 24, "depth": 2, "num_heads": 2},
    "segformer": {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "pvt": {"embed_dims": (8, 8, 16, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)},
    "mvit": {"embed_dims": (8, 16, 16, 32), "depths": (1, 1, 1, 1), "num_heads": (1, 2, 2, 4)},
    "swin": {"embed_dim": 12, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2), "window_size": 4},
    "xcit": {"embed_dim": 24, "depth": 2, "num_heads": 2},
    "mixer": {"embed_dim": 24, "depth": 2, "patch_size": 16},
    "convmixer": {"embed_dim": 12, "depth": 2, "patch_size": 8},
    "resnet": {},
}  # fmt: skip
OVER_PLACES = ("vit", "timesformer", "segformer", "pvt", "mvit")
NOT_OVER_PLACES = ("xcit", "mixer", "convmixer")


def tiny(name: str, **options: object) -> nn.Module:
    """An encoder of the zoo with random weights, no two runs different."""
    torch.manual_seed(0)
    build = ENCODERS[name]
    return build(1, ROI, spatial_dims=3, **{**TINY[name], **options})  # pyright: ignore


class Convolutions(nn.Module):
    """Convolutions in a row, padded, without anything between: one map, all weights 1."""

    def __init__(self, *kernels: tuple[int, ...], stride: int = 1):
        super().__init__()
        dims = len(kernels[0])
        kind = nn.Conv3d if dims == 3 else nn.Conv2d
        steps = [
            kind(1, 1, kernel, padding=tuple(n // 2 for n in kernel), bias=False)
            for kernel in kernels
        ]
        steps[0].stride = (stride,) * dims
        self.steps = nn.Sequential(*steps)
        self.channels = (1,)
        self.strides = ((stride,) * dims,)
        for parameter in self.parameters():
            nn.init.ones_(parameter)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [self.steps(x)]


class Means(nn.Module):
    """The mean of each block of voxels, as one map a block size."""

    def __init__(self, *strides: tuple[int, int, int]):
        super().__init__()
        self.strides = strides
        self.channels = (1,) * len(strides)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [functional.avg_pool3d(x, stride) for stride in self.strides]


class Looking(nn.Module):
    """One attention whose tokens each look at one key alone: token n at key ``target[n]``.

    Args:
        target: Key for each token of the grid, in flat order.
        stride: Of the tokens.
        pool: Tokens of a key along each axis.
    """

    def __init__(
        self, target: list[int], *, stride: tuple[int, int, int], pool: tuple[int, int, int]
    ):
        super().__init__()
        self.target = target
        self.pool = pool
        self.channels = (1,)
        self.strides = (stride,)

    def forward(self, x: Tensor) -> list[Tensor]:
        feature = functional.avg_pool3d(x, self.strides[0])
        pooled = functional.avg_pool3d(feature, self.pool)
        keys = torch.eye(pooled[0, 0].numel())[None, None]  # (1, 1, keys, keys)
        query = 1000.0 * keys[:, :, self.target]
        value = pooled.flatten(2)[..., None]  # (1, 1, keys, 1)
        mixed = functional.scaled_dot_product_attention(query, keys, value)
        return [mixed.reshape(feature.shape)]
