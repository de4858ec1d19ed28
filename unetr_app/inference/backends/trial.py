"""Trial: backends of one network tried side by side, for agreement with torch and for speed."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from unetr_app.errors import UnusableBundle
from unetr_app.inference.backends.backend import Runner, WindowShape, explaining
from unetr_app.inference.backends.parity import compare, sample_windows
from unetr_app.inference.backends.torch_backend import has_layouts, lay_out, torch_runner

TORCH = "torch"
_Done = TypeVar("_Done")


@dataclass(frozen=True)
class Entrant:
    """A backend that agrees with torch.

    Args:
        name: Of the backend.
        seconds: Of one window.
        channels_last: For torch, the layout of the weights that it needs.
        streams: Windows that it runs at a time.
    """

    name: str
    seconds: float
    channels_last: bool = False
    streams: int = 1

    @property
    def words(self) -> str:
        """The name, with the layout."""
        return f"{self.name}, channels last" if self.channels_last else self.name


@dataclass
class Trial:
    """Knows the fastest of those that were tried, and why it is not one of the others.

    It holds none of the libraries' networks: they would fill the memory side by side.

    Args:
        network: In evaluation mode, on the CPU; its weights get the layout that is tried.
        window: (1, C, d, h, w).
    """

    network: nn.Module
    window: WindowShape
    best: Entrant | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.samples = sample_windows(self.window)
        self._torch = torch_runner(self.network, torch.device("cpu"))
        lay_out(self.network, channels_last=False)
        self._logits, self._seconds = _timed(self._torch, self.samples)

    @property
    def logits_bytes(self) -> int:
        """Of the logits of one window."""
        return self._logits[0].numel() * self._logits[0].element_size()

    def enter_torch(self, *, channels_last: bool = False) -> None:
        """Try torch itself; channels last only where the network has that layout."""
        if not channels_last:
            self._enter(Entrant(TORCH, self._seconds))
        elif has_layouts(self.network):
            lay_out(self.network, channels_last=True)
            _, seconds = _timed(self._torch, self.samples)
            lay_out(self.network, channels_last=False)
            self._enter(Entrant(TORCH, seconds, channels_last=True))

    def enter(self, name: str, run: Runner, streams: int = 1) -> None:
        """Try a library.

        Args:
            name: Of the library.
            run: Runs a window.
            streams: Windows that it runs at a time.

        Raises:
            UnusableBundle: If it fails, or differs from torch.
        """
        with explaining(f"{name} cannot run the network"):
            logits, seconds = _timed(run, self.samples, streams)
        for found, wanted in zip(logits, self._logits, strict=True):
            parity = compare(found, wanted)
            if not parity.holds:
                raise UnusableBundle(
                    f"{name} does not give the logits that torch gives: {parity}",
                    cure="Use --backend auto or torch.",
                )
        self._enter(Entrant(name, seconds, streams=streams))

    def _enter(self, entrant: Entrant) -> None:
        """The slower of two is noted."""
        fast, slow = entrant, self.best
        if slow is not None and slow.seconds <= fast.seconds:
            fast, slow = slow, fast
        self.best = fast
        if slow is not None:
            self.notes.append(
                f"{slow.words} is slower: {slow.seconds:.2g} s a window, {fast.words} "
                f"{fast.seconds:.2g} s"
            )


def _timed(
    run: Runner, windows: tuple[Tensor, ...], streams: int = 1
) -> tuple[tuple[Tensor, ...], float]:
    """Logits of all windows, and the seconds that one takes at best, after a warm-up."""
    if streams == 1:
        run(windows[0])
        done = [_clocked(lambda window=window: run(window)) for window in windows]
        return tuple(logits for logits, _ in done), min(seconds for _, seconds in done)
    with ThreadPoolExecutor(streams) as pool:

        def run_all() -> tuple[Tensor, ...]:
            return tuple(pool.map(run, windows))

        run_all()
        done = [_clocked(run_all) for _ in range(2)]
    return done[0][0], min(seconds for _, seconds in done) / len(windows)


def _clocked(work: Callable[[], _Done]) -> tuple[_Done, float]:
    begun = time.perf_counter()
    return work(), time.perf_counter() - begun
