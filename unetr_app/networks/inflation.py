"""Inflation: weights for images put into the shape that volumes need.

The law of every rule here: on a volume that is constant along depth, the inflated layer gives in
every slice what the layer for images gives on that slice. Depth is the first spatial axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def repeat_over_depth(kernel: Tensor, depth: int) -> Tensor:
    """A kernel whose windows do not overlap, its mass spread evenly over depth.

    Carreira & Zisserman 2017 (arXiv:1705.07750, section 2.3). Right where no window reaches into
    padding.

    Args:
        kernel: (O, I, kh, kw).
        depth: Taps along depth.

    Returns:
        (O, I, depth, kh, kw).
    """
    return kernel.unsqueeze(2).repeat(1, 1, depth, 1, 1) / depth


def centre_tap(kernel: Tensor, depth: int) -> Tensor:
    """A kernel that reads the middle slice alone: right at padded borders too.

    Args:
        kernel: (O, I, kh, kw).
        depth: Taps along depth, odd.

    Returns:
        (O, I, depth, kh, kw), zero but for the middle tap.
    """
    inflated = kernel.new_zeros(*kernel.shape[:2], depth, *kernel.shape[2:])
    inflated[:, :, depth // 2] = kernel
    return inflated


def resize_kernel(kernel: Tensor, size: Sequence[int]) -> Tensor:
    """A patch embedding for patches of another size, by the pseudo-inverse of resizing.

    Beyer et al. 2022 (FlexiViT, arXiv:2212.08013, section 3.4, equation 3): with B the matrix that
    resizes a patch linearly, the new kernel is w' = (B^T)^+ w, so that a patch that is enlarged and
    embedded by w' gives the token that w gave. For smaller patches it is the closest in the sense
    of least squares.

    Args:
        kernel: (O, I, k...), one axis or more.
        size: Voxels of the new patch along those axes.

    Returns:
        (O, I, size...), in the kernel's data type.
    """
    shape = tuple(kernel.shape[2:])
    if shape == tuple(size):
        return kernel
    inverse = torch.linalg.pinv(_resize_matrix(shape, tuple(size)).T)  # (new taps, old taps)
    flat = kernel.to(torch.float64).flatten(2)  # (O, I, old taps)
    return (flat @ inverse.T).reshape(*kernel.shape[:2], *size).to(kernel.dtype)


def _resize_matrix(old: tuple[int, ...], new: tuple[int, ...]) -> Tensor:
    """(new taps, old taps): linear resizing of a patch, a column for each voxel of the old one."""
    count = math.prod(old)
    basis = torch.eye(count, dtype=torch.float64).reshape(count, 1, *old)
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(old)]
    return functional.interpolate(basis, new, mode=mode, align_corners=False).flatten(1).T


def resize_positions(positions: Tensor, grid: list[int]) -> Tensor:
    """Learned positions for another grid of tokens: bicubic in plane, linear over depth.

    In plane without antialiasing, which is what transformers' DINOv2 does; positions of an image
    are the same in every slice. TorchScript may call it.

    Args:
        positions: (1, C, h, w) or (1, C, d, h, w).
        grid: Tokens along (H, W) or (D, H, W); (D, H, W) for positions of an image too.

    Returns:
        (1, C, grid...).
    """
    flat = positions if positions.ndim == 4 else positions[0].transpose(0, 1)  # (d, C, h, w)
    plane = grid[-2:]
    if list(flat.shape[2:]) != plane:
        flat = functional.interpolate(flat, plane, mode="bicubic", align_corners=False)
    if len(grid) == 2:
        return flat
    slices = flat.permute(1, 2, 3, 0)  # (C, h, w, d)
    if slices.shape[3] == 1:
        slices = slices.expand(-1, -1, -1, grid[0])
    elif slices.shape[3] != grid[0]:
        lines = slices.reshape(slices.shape[0], -1, slices.shape[3])  # (C, hw, d)
        lines = functional.interpolate(lines, [grid[0]], mode="linear", align_corners=False)
        slices = lines.reshape(slices.shape[0], plane[0], plane[1], grid[0])
    return slices.permute(0, 3, 1, 2).unsqueeze(0)  # (1, C, D, H, W)


def adapt_channels(kernel: Tensor, channels: int) -> Tensor:
    """A stem for another number of image channels that answers alike to a grey image.

    One channel gets the sum over the old ones, as if the grey image were given in each of them.
    Several get the old ones in turn, scaled so that their sum stays what it is where the numbers
    divide (timm's rule).

    Args:
        kernel: (O, I, k...).
        channels: Image channels C wanted.

    Returns:
        (O, C, k...); the kernel itself where I is C.
    """
    have = kernel.shape[1]
    if channels == have:
        return kernel
    if channels == 1:
        return kernel.sum(dim=1, keepdim=True)
    chosen = [n % have for n in range(channels)]
    return kernel[:, chosen] * (have / channels)
