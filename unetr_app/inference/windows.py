"""Windows: how many there will be, and a network that reports each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from unetr_app.errors import Cancelled
from unetr_app.inference.blending import LogitsOf
from unetr_app.inference.window_plan import Member, Shape


def window_count(shape: tuple[int, ...], inferer: Any) -> int:
    """How many windows an inferer will put through the network; 0 where it does not say.

    Args:
        shape: Voxels of the image along each axis.
        inferer: A `monai.inferers.SlidingWindowInferer` or one like it.
    """
    roi = getattr(inferer, "roi_size", None)
    if roi is None:
        return 0
    roi = [roi] * len(shape) if isinstance(roi, int) else list(roi)
    overlap = getattr(inferer, "overlap", 0.25)
    overlaps = [overlap] * len(shape) if isinstance(overlap, float | int) else list(overlap)
    count = len(getattr(inferer, "flips", [()]))
    for size, window, share in zip(shape, roi, overlaps, strict=True):
        window = window if window > 0 else size
        step = max(int(window * (1 - share)), 1)
        count *= max(math.ceil((size - window) / step) + 1, 1)
    return count


def watched(
    logits_of: LogitsOf, total: int, progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> LogitsOf:  # fmt: skip
    """The same, but reporting each window, and raising `Cancelled` where asked to stop."""
    done = 0

    def watching(member: Member, start: Shape) -> Tensor:
        nonlocal done
        if should_stop is not None and should_stop():
            raise Cancelled("stopped before the case was finished")
        logits = logits_of(member, start)
        done += 1
        if progress is not None:
            progress(done, total)
        return logits

    return watching


class WatchedNetwork:
    """Calls a network, reports progress after each call and stops where asked.

    Args:
        network: The network.
        total: Windows in all, for the report.
        progress: Told (windows done, windows in all).
        should_stop: Asked before each call.
    """

    def __init__(
        self,
        network: nn.Module,
        total: int,
        progress: Callable[[int, int], None] | None,
        should_stop: Callable[[], bool] | None,
    ):
        self.network = network
        self.total = total
        self.done = 0
        self.progress = progress
        self.should_stop = should_stop

    def __getattr__(self, name: str) -> Any:
        return getattr(self.network, name)

    def __call__(self, windows: Tensor, *more: Any, **named: Any) -> Any:
        """(N, C, d, h, w), and what else an inferer gives a network, to what the network gives.

        Raises:
            Cancelled: If ``should_stop`` said so.
        """
        if self.should_stop is not None and self.should_stop():
            raise Cancelled("stopped before the case was finished")
        logits = self.network(windows, *more, **named)
        self.done += len(windows)
        if self.progress is not None:
            self.progress(self.done, max(self.total, self.done))
        return logits
