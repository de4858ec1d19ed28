"""MemoryPlan: how much memory a case will take, before it does."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from unetr_app.errors import DeviceMemory

if TYPE_CHECKING:
    from unetr_app.inference.window_plan import WindowPlan

_FLOAT = 4  # bytes
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
        waiting: By sums that wait for windows to come; they may go to disk.
        results: By what is kept of the whole native grid.
        limit: What the user allows; None for no limit.
    """

    held: int
    network: int
    blending: int
    waiting: int
    results: int
    limit: int | None = None

    @property
    def least(self) -> int:
        """With all that can wait on disk there."""
        return self.held + self.network + self.blending + self.results

    @property
    def peak(self) -> int:
        """What the process is expected to hold at most."""
        return self.least + self.kept

    @property
    def kept(self) -> int:
        """Waiting sums that stay in memory."""
        if self.limit is None:
            return self.waiting
        return max(0, min(self.waiting, self.limit - self.least))

    def require_room(self) -> None:
        """Refuse what does not fit.

        Raises:
            DeviceMemory: If the limit is below the least; the message says what would do.
        """
        if self.limit is not None and self.least > self.limit:
            raise DeviceMemory(
                f"{in_gib(self.limit)} are allowed and {in_gib(self.least)} are needed "
                f"({in_gib(self.held)} held already, {in_gib(self.network)} for one window)",
                cure=f"Allow --memory-limit {self.least / 2**30 * 1.02 + 0.005:.2f}GiB, or take a "
                "bundle with a smaller window.",
            )


def plan_memory(
    plan: WindowPlan, channels: int, native: tuple[int, ...], network: int, limit: int | None
) -> MemoryPlan:
    """What a case will need, as things are now.

    Args:
        plan: Where windows lie.
        channels: Of the logits.
        native: Shape of the native grid.
        network: Bytes of one window in the network.
        limit: What the user allows.
    """
    return MemoryPlan(
        held=held_bytes(), network=network, blending=blending_bytes(plan, channels, native),
        waiting=waiting_bytes(plan, channels), results=prod(native) * (1 + (channels > 256)),
        limit=limit,
    )  # fmt: skip


def waiting_bytes(plan: WindowPlan, channels: int) -> int:
    """Bytes of sums that wait for windows to come, at most."""
    slow, middle, fast = plan.order
    over = [_overlap(plan, axis) for axis in range(3)]
    layer = over[slow] * plan.shape[middle] * plan.shape[fast]
    strip = plan.extent[slow] * over[middle] * plan.shape[fast]
    window = plan.extent[slow] * plan.extent[middle] * over[fast]
    edges = plan.shape[middle] * plan.shape[fast] + plan.extent[slow] * plan.shape[fast]
    return channels * _FLOAT * (layer + strip + window + edges)


def blending_bytes(plan: WindowPlan, channels: int, native: tuple[int, ...]) -> int:
    """Bytes of one window's logits twice, its weights, and of pieces on their way home.

    Interpolation to a finer native grid has two axes of a block done before it cuts the third.
    """
    growth = prod(native) / prod(plan.shape)
    finer = growth ** (2 / 3) * channels if growth > 1 else 0
    return int((2 * channels + 8 + finer) * _FLOAT * prod(plan.extent)) + _PIECES


def measured_growth(work: Callable[[], object]) -> int:
    """By how many bytes the process grows at most while it works; 0 where that cannot be seen.

    Looked at every few milliseconds: the system's own mark of the peak knows no earlier state.
    """
    before = most = held_bytes()
    done = threading.Event()

    def look() -> None:
        nonlocal most
        while not done.wait(_PATIENCE):
            most = max(most, held_bytes())

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        work()
        most = max(most, held_bytes())
    finally:
        done.set()
        watcher.join()
    return most - before


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


def _overlap(plan: WindowPlan, axis: int) -> int:
    """Voxels by which a window reaches over the start of the next, at most."""
    nodes = plan.nodes[axis]
    reach = (a + plan.extent[axis] - b for a, b in itertools.pairwise(nodes))
    return max(reach, default=0)
