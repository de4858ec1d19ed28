"""Backend: a network behind one callable, whichever library runs it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest, UnetrError, UnusableBundle

if TYPE_CHECKING:
    from unetr_app.inference.backends.conversion import Conversion

WindowShape = tuple[int, ...]
_STREAMS = 2  # windows that a library computes at a time, where there are threads for them
_LARGE = 2**27  # bytes of a window's logits of which one at a time is enough
_LONGEST = 300  # letters of what a library said
Runner = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Backend:
    """Runs a network on windows.

    Args:
        name: ``"torch"``, or a name in `unetr_app.inference.backends.LIBRARIES`.
        run: Window (N, C, d, h, w) to logits (N, L, d, h, w) float32; on the CPU but for torch,
            which leaves them on its device.
        notes: What there is to say of the choice: which others were left out, and why.
        streams: Windows that it runs at a time, each asked for by a thread of its own.
    """

    name: str
    run: Runner
    notes: tuple[str, ...] = ()
    streams: int = 1

    def __call__(self, window: Tensor) -> Tensor:
        """(N, C, d, h, w) to logits (N, L, d, h, w) float32."""
        return self.run(window)


@dataclass(frozen=True)
class Library:
    """A library that runs converted networks on the CPU.

    Args:
        name: Of the backend, and of what Python imports.
        extra: The extra of this package that installs it.
        convert: Writes all that ``load`` needs into an empty folder.
        load: From such a folder, a number of threads and of windows at a time to what runs a
            window.
    """

    name: str
    extra: str
    convert: Callable[[Conversion, Path], None]
    load: Callable[[Path, int, int], Runner]

    def require(self) -> str:
        """Its version.

        Raises:
            InvalidRequest: If it is not installed or does not load; the cure is what to install.
        """
        cure = f'Use --backend auto, or install it: pip install "unetr-app[{self.extra}]".'
        if find_spec(self.name) is None:
            raise InvalidRequest(f"{self.name} is not installed", cure=cure)
        try:
            return str(import_module(self.name).__version__)
        except (ImportError, OSError, AttributeError) as error:  # its own libraries may be missing
            raise InvalidRequest(f"{self.name} does not load ({error})", cure=cure) from error


def streams_for(window: WindowShape, labels: int) -> int:
    """Windows that a library computes at a time: two on a thread each are faster than one on two.

    Args:
        window: (1, C, d, h, w).
        labels: Channels of the logits; 0 where they are not known.
    """
    large = labels * prod(window[2:]) * 4 > _LARGE
    return 1 if large else min(_STREAMS, torch.get_num_threads())


def require_logits(logits: object) -> Tensor:
    """What a network gave, if it is one tensor, or a list of one.

    Raises:
        UnusableBundle: If it is something else.
    """
    if isinstance(logits, (list, tuple)) and len(logits) == 1:
        logits = logits[0]
    if not isinstance(logits, Tensor):
        raise UnusableBundle(
            f"the network gives a {type(logits).__name__}, not one tensor of logits",
            cure="Have its config give the logits alone.",
        )
    return logits


def one_by_one(run: Runner, shape: WindowShape) -> Runner:
    """Any number of windows, each run alone.

    Args:
        run: Takes one window of that shape, float32 and contiguous, on the CPU.
        shape: (1, C, d, h, w).
    """

    def run_all(windows: Tensor) -> Tensor:
        if tuple(windows.shape[1:]) != tuple(shape[1:]):
            raise InvalidRequest(
                f"the network was converted for windows of {tuple(shape[1:])}, and one of "
                f"{tuple(windows.shape[1:])} came",
                cure="Use --backend torch.",
            )
        plain = windows.as_subclass(Tensor).to("cpu", torch.float32).contiguous()
        logits = [run(window[None]) for window in plain]
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    return run_all


@contextmanager
def explaining(what: str) -> Generator[None]:
    """An error of a library becomes one sentence of ours; lack of memory is left as it is.

    Args:
        what: What could not be done, in words.
    """
    try:
        yield
    except (UnetrError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # libraries raise anything
        raise UnusableBundle(
            f"{what}: {first_sentence(error)}", cure="Use --backend auto or torch."
        ) from error


def first_sentence(error: Exception) -> str:
    """What a library said, without the graph or the traceback that may follow."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = lines[0].partition("[Caused by")[0].strip() if lines else type(error).__name__
    return "".join(c for c in said if c.isprintable())[:_LONGEST].rstrip(".")
