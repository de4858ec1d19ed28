"""MemoryPlan: how much memory a case will take, before it does."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from unetr_app.errors import DeviceMemory

if TYPE_CHECKING:
    from unetr_app.inference.cells import Cells

MOST_WAITING = 2**29  # bytes of sums that wait in memory where no limit is named
_FLOAT = 4  # bytes
_SLACK = 2**26  # what Python, its threads and its libraries take beside
_PIECES = 2**26  # what goes home at a time, with its winners
_STATM = Path("/proc/self/statm")
_PATIENCE = 0.003  # seconds between two looks


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes that a case needs at most.

    Args:
        held: By the process already: weights, libraries, the image.
        network: By the network for one window, its logits among it.
        blending: By sums that can wait nowhere else: a window, pieces on their way home.
        waiting: By sums that wait for windows to come; beyond `MOST_WAITING` or the limit they go
            to disk.
        results: By what is kept of the whole native grid.
        limit: What the user allows; None for no limit.
        preparing: What the process held at most while the image was preprocessed.
    """

    held: int
    network: int
    blending: int
    waiting: int
    results: int
    limit: int | None = None
    preparing: int = 0

    @property
    def least(self) -> int:
        """With all that can wait on disk there."""
        return max(self._streaming, self.preparing)

    @property
    def _streaming(self) -> int:
        """While windows are computed, with no sums that wait in memory."""
        return self.held + self.network + self.blending + self.results

    @property
    def peak(self) -> int:
        """What the process is expected to hold at most."""
        return max(self._streaming + self.kept, self.preparing)

    @property
    def kept(self) -> int:
        """Waiting sums that stay in memory."""
        if self.limit is None:
            return min(self.waiting, MOST_WAITING)
        return max(0, min(self.waiting, self.limit - self._streaming))

    @property
    def lacks_room(self) -> bool:
        """Is the limit below the least?"""
        return self.limit is not None and self.least > self.limit

    def require_room(self) -> None:
        """Refuse what does not fit.

        Raises:
            DeviceMemory: If the limit is below the least; the message says what would do.
        """
        if self.limit is not None and self.lacks_room:
            raise DeviceMemory(
                f"{in_gib(self.limit)} are allowed and {in_gib(self.least)} are needed "
                f"({in_gib(self.held)} held already, {in_gib(self.network)} for one window; "
                f"{in_gib(self.preparing)} to preprocess the image)",
                cure=f"Allow --memory-limit {self.least / 2**30 * 1.02 + 0.005:.2f}GiB, or take a "
                "bundle with a smaller window.",
            )


def plan_memory(
    cells: Cells, channels: int, native: tuple[int, ...], network: int, limit: int | None, *,
    results: int, ahead: int = 0, preparing: int = 0,
) -> MemoryPlan:  # fmt: skip
    """What a case will need, as things are now.

    Args:
        cells: Where windows lie.
        channels: Of the logits.
        native: Shape of the native grid.
        network: Bytes of the network for the windows that are computed at a time.
        limit: What the user allows.
        results: Bytes of what is kept of the whole native grid.
        ahead: Windows that are computed while others are blended.
        preparing: What was held at most while the image was preprocessed.
    """
    return MemoryPlan(
        held=held_bytes(), network=network,
        blending=blending_bytes(cells, channels, native, ahead=ahead),
        waiting=cells.waiting * channels * _FLOAT,
        results=results, limit=limit, preparing=preparing,
    )  # fmt: skip


def blending_bytes(cells: Cells, channels: int, native: tuple[int, ...], *, ahead: int = 0) -> int:
    """Bytes of a cell's sums, of windows' logits and weights, and of pieces on their way home.

    Interpolation to a finer native grid has two axes of a block done before it cuts the third.
    """
    plan = cells.plan
    window, cell = prod(plan.extent), cells.largest
    sums = cell if cell > window else 0  # a window alone is its own sum
    growth = prod(native) / prod(plan.shape)
    finer = growth ** (2 / 3) * cell if growth > 1 else 0
    logits = (2 + ahead) * window + sums + finer + cells.edges
    return int((channels * logits + 8 * window) * _FLOAT) + _PIECES + _SLACK


def measured_growth(work: Callable[[], object]) -> int:
    """How many bytes more the process holds while it works than after; 0 where none can be seen.

    Looked at every few milliseconds: the system's own mark of the peak knows no earlier state.
    """
    most = held_bytes()
    done = threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(_PATIENCE):
            most = max(most, held_bytes())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        work()
        after = held_bytes()
    finally:
        done.set()
        watcher.join()
    return max(most - after, 0)


def held_bytes() -> int:
    """Bytes that the process holds now; 0 where that cannot be seen."""
    try:
        return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):  # not Linux
        return 0


def in_gib(count: int) -> str:
    """Bytes in words.

    Example:
        >>> in_gib(1610612736)
        '1.50 GiB'
    """
    return f"{count / 2**30:.2f} GiB"
