"""Tokens: maps as lists of tokens, and back. TorchScript may call both."""

from __future__ import annotations

from torch import Tensor


def to_tokens(features: Tensor) -> Tensor:
    """A map as a list of its voxels: (B, C, grid...) to (B, N, C).

    Example:
        >>> import torch
        >>> to_tokens(torch.zeros(1, 4, 2, 3, 5)).shape
        torch.Size([1, 30, 4])
    """
    return features.flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, grid: list[int]) -> Tensor:
    """The map that a list of tokens came from: (B, N, C) to (B, C, grid...).

    Args:
        tokens: One for each voxel of the grid, the last axis running fastest.
        grid: Tokens along each axis.
    """
    return tokens.transpose(1, 2).reshape([tokens.shape[0], tokens.shape[2]] + grid)  # noqa: RUF005 (TorchScript)
