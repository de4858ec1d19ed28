"""ConvMixer as an encoder of volumes.

Trockman & Kolter 2022 (arXiv:2201.09792, section 2): after a patch embedding, depth-wise
convolutions with a large kernel mix places and point-wise ones mix channels, at one stride.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.choices import require_choice
from unetr_app.networks.layers import DropPath
from unetr_app.networks.patches import require_input, token_grid
from unetr_app.networks.recomputing import recompute
from unetr_app.networks.taps import checked_taps
from unetr_app.networks.tuples import as_tuple

_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class ConvMixerBlock(nn.Module):
    """Depth-wise convolution with a residual, then a point-wise one (arXiv:2201.09792, eq. 2, 3).

    Each is followed by the activation and a batch norm.

    Args:
        width: Channels C.
        kernel: Taps of the depth-wise convolution, one number an axis; where it is even, the
            window reaches one voxel further behind than before.
        activation: "gelu" or "relu".
        drop_path: Chance to drop the residual branch in training.
        layer_scale: Starting factor of the residual branch; None for 1.
        norm_eps: Epsilon of the batch norms.
        recompute: Compute again in the backward pass instead of keeping activations.
    """

    def __init__(
        self, width: int, kernel: tuple[int, ...], *, activation: str, drop_path: float,
        layer_scale: float | None, norm_eps: float, recompute: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.recompute = recompute
        convolution, norm = _layers(len(kernel))
        reach = tuple((k - 1) // 2 for k in kernel)
        self.margin = [n for k in reversed(kernel) for n in (0, (k - 1) % 2)]  # W first
        self.spatial = convolution(width, width, kernel, padding=reach, groups=width)
        self.spatial_norm = norm(width, eps=norm_eps)
        self.pointwise = convolution(width, width, 1)
        self.pointwise_norm = norm(width, eps=norm_eps)
        self.activation = _ACTIVATIONS[activation]()
        self.drop_path = DropPath(drop_path)
        if layer_scale is not None:  # the norm that ends the branch has a factor a channel
            nn.init.constant_(self.spatial_norm.weight, layer_scale)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, grid...) to (B, C, grid...)."""
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.recompute and self.training:  # pyright: ignore
            return recompute(self, self._mixed, features)
        return self._mixed(features)

    def _mixed(self, features: Tensor) -> Tensor:
        padded = functional.pad(features, self.margin) if max(self.margin) > 0 else features
        branch = self.spatial_norm(self.activation(self.spatial(padded)))
        features = features + self.drop_path(branch)
        return self.pointwise_norm(self.activation(self.pointwise(features)))


class ConvMixer(nn.Module):
    """ConvMixer encoder: every map has the stride of the patch, and sees as far as its kernels.

    Args:
        in_channels: Channels of the input.
        roi_size: Input shape in voxels that the patch must divide; other such inputs are taken too.
        spatial_dims: 2 or 3.
        patch_size: Voxels of a token along each axis; a number, or one an axis.
        embed_dim: Channels of every map.
        depth: Blocks.
        kernel_size: Taps of the depth-wise convolutions along each axis; a number, or one an axis.
        activation: "gelu", or "relu" as in the published ConvMixer-768/32.
        taps: After how many blocks a map is taken, ascending; the last is ``depth``. Four at even
            distances where absent (fewer if depth is less).
        drop_path: Chance to drop the last block's residual branch in training; rises linearly
            from 0.
        layer_scale: Starting factor of residual branches; None for 1. It is the weight of the
            batch norm that ends the branch.
        norm_eps: Epsilon of the batch norms.
        gradient_checkpointing: Recompute blocks in the backward pass to save memory.

    Raises:
        InvalidRequest: If sizes do not divide, taps do not fit the depth, or the activation is
            unknown.
    """

    def __init__(
        self,
        in_channels: int,
        roi_size: Sequence[int],
        *,
        spatial_dims: int = 3,
        patch_size: int | Sequence[int] = 8,
        embed_dim: int = 768,
        depth: int = 32,
        kernel_size: int | Sequence[int] = 7,
        activation: str = "gelu",
        taps: Sequence[int] | None = None,
        drop_path: float = 0.0,
        layer_scale: float | None = None,
        norm_eps: float = 1e-5,
        gradient_checkpointing: bool = False,
    ):
        super().__init__()
        patch = as_tuple(patch_size, spatial_dims, "patch_size")
        kernel = as_tuple(kernel_size, spatial_dims, "kernel_size")
        require_choice(activation, _ACTIVATIONS, "activation")
        token_grid(as_tuple(roi_size, spatial_dims, "roi_size"), patch)
        self.in_channels = in_channels
        self.patch_size = list(patch)
        self.taps = checked_taps(taps, depth)
        self.channels = (embed_dim,) * len(self.taps)
        self.strides = (patch,) * len(self.taps)

        convolution, norm = _layers(spatial_dims)
        self.embed = convolution(in_channels, embed_dim, patch, stride=patch)
        self.activation = _ACTIVATIONS[activation]()
        self.embed_norm = norm(embed_dim, eps=norm_eps)
        self.blocks = nn.ModuleList(
            ConvMixerBlock(
                embed_dim, kernel, activation=activation,
                drop_path=drop_path * n / max(depth - 1, 1), layer_scale=layer_scale,
                norm_eps=norm_eps, recompute=gradient_checkpointing,
            )
            for n in range(depth)
        )  # fmt: skip

    def forward(self, x: Tensor) -> list[Tensor]:
        """(B, C, D, H, W) or (B, C, H, W) to one (B, embed_dim, grid...) map a tap."""
        require_input(x, self.in_channels, self.patch_size)
        features = self.embed_norm(self.activation(self.embed(x)))  # (B, E, grid)
        maps: list[Tensor] = []
        for n, block in enumerate(self.blocks):
            features = block(features)
            if n + 1 in self.taps:
                maps.append(features)
        return maps


def _layers(spatial_dims: int) -> tuple[Any, Any]:
    """Convolution and batch norm for as many axes."""
    return (nn.Conv3d, nn.BatchNorm3d) if spatial_dims == 3 else (nn.Conv2d, nn.BatchNorm2d)
