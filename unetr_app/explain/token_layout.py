"""TokenLayout: where the tokens of an attention lie on a grid of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

_MOST_PREFIXES = 9  # class and register tokens; published networks have 5

Grid = tuple[int, ...]


@dataclass(frozen=True)
class TokenLayout:
    """Tokens that are cells of a grid, all in one group or dealt to several that never meet.

    In TimeSformer's attention within slices, each slice is a group; in its attention over depth,
    each line along depth.

    Args:
        grid: Cells along each axis.
        axes: Axes along which tokens of one group lie; the groups lie along the others.
        prefix: Tokens before those of the grid: class and register tokens.
    """

    grid: Grid
    axes: tuple[int, ...]
    prefix: int = 0

    @property
    def is_joint(self) -> bool:
        """Are all tokens in one group?"""
        return self.groups == 1

    @property
    def groups(self) -> int:
        """Number of groups."""
        return prod(n for axis, n in enumerate(self.grid) if axis not in self.axes)

    @property
    def tokens(self) -> int:
        """Tokens of a group, prefix tokens included."""
        return prod(self.grid[axis] for axis in self.axes) + self.prefix

    def locate(self, cell: Sequence[int]) -> tuple[int, int]:
        """Group and token of a cell."""
        others = [axis for axis in range(len(self.grid)) if axis not in self.axes]
        return self._flat(cell, others), self._flat(cell, self.axes) + self.prefix

    def place(self, group: int, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """One group's values on the whole grid.

        Args:
            group: Which group.
            values: (..., tokens).

        Returns:
            (..., grid), 0 where other groups are; prefix tokens have no place on it.
        """
        lead = values.shape[:-1]
        placed = np.zeros((*lead, *self.grid), dtype=np.float32)
        others = [axis for axis in range(len(self.grid)) if axis not in self.axes]
        where = dict(
            zip(others, np.unravel_index(group, [self.grid[a] for a in others]), strict=True)
            if others
            else ()
        )
        index = tuple(where.get(axis, slice(None)) for axis in range(len(self.grid)))
        inner = values[..., self.prefix :].reshape(*lead, *(self.grid[a] for a in self.axes))
        placed[(..., *index)] = inner
        return placed

    def _flat(self, cell: Sequence[int], axes: Sequence[int]) -> int:
        flat = 0
        for axis in axes:
            flat = flat * self.grid[axis] + int(cell[axis])
        return flat


def find_layout(
    groups: int, tokens: int, seen: Sequence[Grid], *, prefix: int | None = None
) -> TokenLayout | None:
    """The layout that so many tokens have, among the grids that the network has made.

    Groups are tried as slices and as lines along the first axis, the only ways that encoders deal
    tokens out; where both fit, nobody can tell.

    Args:
        groups: Groups of tokens in the batch of one image.
        tokens: Tokens of a group, prefix tokens included.
        seen: Grids, the latest last.
        prefix: Prefix tokens, where they are known.

    Returns:
        The layout with fewest prefix tokens on the latest grid; None where none fits.

    Example:
        >>> find_layout(1, 65, [(8, 8, 8), (4, 4, 4)])
        TokenLayout(grid=(4, 4, 4), axes=(0, 1, 2), prefix=1)
    """
    latest = list(dict.fromkeys(reversed(seen)))
    for before in range(_MOST_PREFIXES + 1) if prefix is None else (prefix,):
        for grid in latest:
            every = tuple(range(len(grid)))
            dealt = [every] if len(grid) < 3 else [every, every[1:], every[:1]]
            found = [TokenLayout(grid, axes, before) for axes in dealt]
            fits = [one for one in found if (one.groups, one.tokens) == (groups, tokens)]
            if len(fits) == 1 or (fits and fits[0].axes == every):
                return fits[0]
    return None
