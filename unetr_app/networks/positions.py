"""Positions of tokens that nothing is learned for: sinusoids and axial rotations.

Both are made from the grid of tokens alone, so any input size is taken as it is. Tokens are in the
order of a flattened (D, H, W) or (H, W) grid.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sinusoidal_positions(width: int, grid: list[int], like: Tensor) -> Tensor:
    """Sines and cosines of each axis' index (Vaswani et al. 2017, arXiv:1706.03762, section 3.5).

    The channels are shared out evenly among the axes; channels that do not divide stay zero.

    Args:
        width: Channels C.
        grid: Tokens along each axis.
        like: A tensor whose data type and device are taken.

    Returns:
        (1, N, C), N the tokens of the grid.
    """
    pairs = width // (2 * len(grid))
    angles = _axial_angles(grid, pairs, 10000.0, like.device)  # (N, axes * pairs)
    table = torch.cat([angles.sin(), angles.cos()], dim=1)  # (N, <= C)
    left = width - table.shape[1]
    return torch.nn.functional.pad(table, [0, left]).unsqueeze(0).to(like.dtype)


def axial_rotation(head_width: int, grid: list[int], prefix: int, like: Tensor) -> Tensor:
    """Cosines and sines that turn pairs of channels by a token's place along each axis.

    Rotary positions (Su et al. 2021, arXiv:2104.09864, section 3.2.2), their channels shared out
    among the axes (Heo et al. 2024, arXiv:2403.13298, section 3.1, base 100 as there). Attention
    then depends on the distance of two tokens along each axis. Prefix tokens are not turned.

    Args:
        head_width: Channels of a head.
        grid: Tokens along each axis.
        prefix: Tokens before those of the grid.
        like: A tensor whose data type and device are taken.

    Returns:
        (2, prefix + N, head_width): cosines, then sines.
    """
    pairs = head_width // (2 * len(grid))
    angles = _axial_angles(grid, pairs, 100.0, like.device)  # (N, axes * pairs)
    still = head_width // 2 - angles.shape[1]  # pairs left over are not turned
    angles = torch.nn.functional.pad(angles, [0, still, prefix, 0])  # (prefix + N, head_width / 2)
    angles = torch.cat([angles, angles], dim=1)
    return torch.stack([angles.cos(), angles.sin()]).to(like.dtype)


def rotate(channels: Tensor, rotation: Tensor) -> Tensor:
    """Turn channel k with channel k + C / 2 of every token.

    Args:
        channels: (..., N, C).
        rotation: (2, N, C), see `axial_rotation`.

    Returns:
        (..., N, C).
    """
    first, second = channels.chunk(2, dim=-1)
    return channels * rotation[0] + torch.cat([-second, first], dim=-1) * rotation[1]


def _axial_angles(grid: list[int], pairs: int, base: float, device: torch.device) -> Tensor:
    """(N, axes * pairs): index along each axis times falling frequencies."""
    steps = torch.arange(pairs, device=device, dtype=torch.float32) / max(pairs, 1)
    frequencies = torch.exp(-math.log(base) * steps)  # (pairs,)
    lines = [torch.arange(n, device=device, dtype=torch.float32) for n in grid]
    places = torch.stack(torch.meshgrid(lines, indexing="ij"), dim=-1)  # (grid..., axes)
    places = places.reshape(-1, len(grid), 1)  # (N, axes, 1)
    return (places * frequencies).flatten(1)
