"""Predicting: a bundle applied to an image in the window, its network kept for the next one."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.bundle import PathLike, find_bundle, list_bundles, read_card, require_trusted
from unetr_app.napari.background.task import Post, ShouldStop, Task
from unetr_app.notice import NETWORK_ADVICE
from unetr_app.volume import Segmentation, Volume

MISSING = f"{NETWORK_ADVICE} Then start napari again. Everything else works without."
UNCERTAINTY = "uncertainty"


@dataclass(frozen=True)
class Opened:
    """The network is there; windows follow."""


@dataclass(frozen=True)
class Planned:
    """How much memory the image will take at most.

    Args:
        peak_bytes: Of the whole process.
    """

    peak_bytes: int


@dataclass(frozen=True)
class Windowed:
    """How many windows are done.

    Args:
        done: So many.
        of: In all.
    """

    done: int
    of: int


@dataclass(frozen=True, eq=False)
class Predicted:
    """What came out.

    Args:
        segmentation: On the image's own grid.
        maps: Further volumes on that grid, by name; ``uncertainty`` is the entropy, 0 to 1.
        seconds: From the start, opening the bundle among it.
    """

    segmentation: Segmentation
    maps: dict[str, Volume]
    seconds: float


@dataclass(frozen=True)
class Request:
    """What to predict with.

    Args:
        bundle: Name or folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``.
        uncertainty: Make a map of how undecided each voxel is?
    """

    bundle: str
    device: str = "auto"
    uncertainty: bool = True


def is_installed() -> bool:
    """Are torch and MONAI there? Neither is imported."""
    return all(find_spec(name) is not None for name in ("torch", "monai"))


def device_names() -> list[str]:
    """What can be chosen; GPUs are named where torch is imported already and sees them."""
    import sys

    torch = sys.modules.get("torch")
    count = torch.cuda.device_count() if torch is not None and torch.cuda.is_available() else 0
    return ["auto", "cpu", *(f"cuda:{n}" for n in range(count)), *([] if count else ["cuda"])]


def installed_bundles() -> list[str]:
    """Names of the bundles that ship with the package and have weights."""
    return [card.name for card in list_bundles() if card.weights is not None]


def open_segmenter(request: Request) -> Any:
    """The bundle's `unetr_app.inference.Segmenter`.

    Raises:
        InvalidRequest: If there is no such bundle or device, or it is not trusted.
        UnusableBundle: If it cannot be built.
    """
    from unetr_app.inference import Segmenter

    require_trusted(request.bundle)
    return Segmenter.open(request.bundle, device=request.device)


class Predictor:
    """Runs predictions one after another, in a thread; the newest network is kept.

    Args:
        opener: Opens what segments; for tests.
    """

    def __init__(self, opener: Callable[[Request], Any] = open_segmenter):
        self.task = Task()
        self._opener = opener
        self._kept: tuple[Any, Any] | None = None

    def start(self, volume: Volume, request: Request) -> None:
        """Predict; events are `Opened`, `Planned`, `Windowed`, and `Done` with `Predicted`.

        Raises:
            InvalidRequest: If a prediction is under way.
        """
        self.task.start(
            lambda post, should_stop: self._predict(volume, request, post, should_stop),
            "unetr-predict",
        )

    def forget(self) -> None:
        """Let go of the network, once no prediction is under way."""
        self._kept = None

    def _predict(
        self, volume: Volume, request: Request, post: Post, should_stop: ShouldStop
    ) -> Predicted:
        began = time.monotonic()
        segmenter = self._segmenter(request)
        post(Opened())
        with tempfile.TemporaryDirectory(prefix="unetr-") as folder:
            files = {UNCERTAINTY: Path(folder) / "map.npy"} if request.uncertainty else {}
            segmentation = segmenter.segment(
                volume, maps=files,
                on_plan=lambda plan: post(Planned(int(plan.peak))),
                progress=lambda done, of: post(Windowed(done, of)),
                should_stop=should_stop,
            )  # fmt: skip
            maps = {
                name: Volume(np.load(path)[None], volume.geometry, (name,))
                for name, path in files.items()
            }
        return Predicted(segmentation, maps, time.monotonic() - began)

    def _segmenter(self, request: Request) -> Any:
        """The one kept, where bundle, weights and device are the same; else a new one."""
        key = (_state_of(request.bundle), request.device)
        if self._kept is None or self._kept[0] != key:
            self._kept = None  # so that two networks are never held at once
            self._kept = (key, self._opener(request))
        return self._kept[1]


def _state_of(bundle: PathLike) -> tuple[Any, ...]:
    """Which bundle, and which weights: a folder's may have been replaced."""
    folder = find_bundle(bundle).resolve()
    weights = read_card(folder).weights
    if weights is None:
        return (folder,)
    stat = weights.stat()
    return folder, weights, stat.st_mtime_ns, stat.st_size
