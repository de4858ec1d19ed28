"""Decomposed relative positions: what attention adds for the distance between two tokens.

Li et al. 2022 (MViTv2, arXiv:2112.01526, section 4.1, equation 4): instead of one learned vector
for each displacement in the plane or in space there is one for each displacement along each axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class AxisPositions(nn.Module):
    """A learned vector for each displacement along one axis.

    Args:
        length: Tokens L along the axis, of queries or of keys, whichever are more.
        width: Channels C of a head.
    """

    def __init__(self, length: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.empty(2 * length - 1, width))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, queries: int, keys: int) -> Tensor:
        """The vector for each query and key along the axis, (queries, keys, C).

        Where one of the two is pooled, its steps count as many of the other's, and a displacement
        between two entries of the table is rounded down.
        """
        length = max(queries, keys)
        table = resize_table(self.table, 2 * length - 1)
        at_query = torch.arange(queries, device=table.device) * length // queries
        after_key = (keys - 1 - torch.arange(keys, device=table.device)) * length // keys
        return table[at_query.unsqueeze(1) + after_key.unsqueeze(0)]

    @torch.jit.unused
    def adopt(self, name: str, tensor: Tensor) -> Tensor:
        """A checkpoint's ``table`` (2 L' - 1, C) of another length, put to this one's."""
        if name != "table" or tensor.ndim != 2 or len(tensor) % 2 == 0:  # 2 L' - 1 is odd
            return tensor
        return resize_table(tensor, len(self.table))


class RelativePositions(nn.ModuleList):
    """The positions of all axes, and the bias that they give to attention.

    Args:
        query_grid: Tokens along each axis that queries lie on.
        key_grid: The same for keys.
        width: Channels C of a head.
    """

    def __init__(self, query_grid: Sequence[int], key_grid: Sequence[int], width: int):
        super().__init__(
            AxisPositions(max(queries, keys), width)
            for queries, keys in zip(query_grid, key_grid, strict=True)
        )

    def forward(self, query: Tensor, query_grid: list[int], key_grid: list[int]) -> Tensor:
        """What is added to each logit of attention.

        Args:
            query: (B, heads, N, C), the first axis of its grid slowest, without a class token.
            query_grid: Tokens along each axis; their product is N.
            key_grid: Tokens along each axis; their product is K.

        Returns:
            (B, heads, N, K).
        """
        batch, heads, count, width = query.shape
        bias = query.new_zeros(1, 1, 1, 1)
        before = 1
        for n, axis in enumerate(self):
            positions = axis(query_grid[n], key_grid[n]).to(query.dtype)  # (L, K', C)
            lines = query.reshape(batch, heads, before, query_grid[n], -1, width)
            along = torch.einsum("bhxlyc,lkc->bhxlyk", lines, positions)
            along = along.reshape(batch, heads, count, key_grid[n])  # (B, heads, N, K')
            bias = (bias.unsqueeze(-1) + along.unsqueeze(-2)).flatten(-2)  # (..., K so far x K')
            before = before * query_grid[n]
        return bias


def resize_table(table: Tensor, length: int) -> Tensor:
    """(L', C) to (length, C), linearly; TorchScript may call it."""
    if table.shape[0] == length:
        return table
    lines = table.transpose(0, 1).unsqueeze(0)  # (1, C, L')
    return functional.interpolate(lines, [length], mode="linear")[0].transpose(0, 1)
