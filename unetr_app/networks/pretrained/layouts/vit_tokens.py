"""Positions and prefix tokens of a vision transformer's checkpoint, as our encoders keep them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def positions_as_map(positions: Tensor, grid: Sequence[int], before: int = 0) -> Tensor:
    """Positions of tokens as a map.

    Args:
        positions: (1, before + N, E).
        grid: Tokens along each axis, N in all.
        before: Positions of prefix tokens, left out.

    Returns:
        (1, E, grid...).
    """
    return positions[:, before:].transpose(1, 2).reshape(1, -1, *grid)


def with_their_positions(prefixes: Sequence[Tensor], positions: Tensor, before: int) -> Tensor:
    """Prefix tokens with their positions added, which is the same sum as in the network.

    Args:
        prefixes: One or more, (1, k, E) each, in their order.
        positions: (1, before + N, E).
        before: How many of the prefix tokens, the first ones, have a position.

    Returns:
        (1, P, E), float32.
    """
    tokens = torch.cat(list(prefixes), dim=1).float()
    tokens[:, :before] += positions[:, :before].float()
    return tokens
