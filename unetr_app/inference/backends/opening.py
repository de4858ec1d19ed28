"""Opening: from a backend's name to a backend that agrees with torch."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unetr_app.errors import DeviceMemory, InvalidRequest, UnusableBundle
from unetr_app.inference.backends.backend import (
    Backend,
    Library,
    Runner,
    WindowShape,
    explaining,
    one_by_one,
)
from unetr_app.inference.backends.cache import Cache, cache_folder
from unetr_app.inference.backends.conversion import Conversion
from unetr_app.inference.backends.fingerprint import hash_of, network_fingerprint, processor
from unetr_app.inference.backends.torch_backend import has_layouts, lay_out, torch_runner
from unetr_app.inference.backends.trial import TORCH, Trial
from unetr_app.inference.memory_plan import in_gib
from unetr_app.version import __version__

AUTO = "auto"
_CONVERSION = 6  # times the weights: what converting takes at most
_CONVERTED = 3  # times the weights: what a converted network and its making take on disk
_ROOM = 2**24  # bytes on disk beside
_LOGITS = 8  # times a window's logits: what trying takes at most
_log = logging.getLogger(__name__)


class Opening:
    """Opens backends of one network on the CPU, for windows of one shape.

    Args:
        network: In evaluation mode, on the CPU. Its weights may get another memory layout.
        window: (1, C, d, h, w).
        weights_hash: Of its weights and of all that decides what it computes; where empty, nothing
            is kept.
        libraries: Those to try beside torch, with their versions.
        streams: Windows that a library computes at a time.
    """

    def __init__(
        self, network: nn.Module, window: WindowShape, weights_hash: str,
        libraries: Mapping[Library, str], streams: int,
    ):  # fmt: skip
        self._network = network
        self._window = window
        self._streams = streams
        self._libraries = {library.name: library for library in libraries}
        self._versions = {library.name: found for library, found in libraries.items()}
        self._torch = torch_runner(network, torch.device("cpu"))
        self._threads = torch.get_num_threads()
        self._weights = sum(p.numel() * p.element_size() for p in network.parameters())
        self._only_here: dict[str, Runner] = {}
        self._cache = Cache(cache_folder() if weights_hash else None)
        self._facts = {
            "weights": weights_hash, "network": network_fingerprint(network), "window": window,
            "torch": torch.__version__, "monai": version("monai"), "unetr-app": __version__,
        }  # fmt: skip

    @torch.inference_mode()
    def open(self, name: str, room: int | None = None) -> Backend:
        """The backend, as it was chosen last time, or chosen and remembered now.

        Args:
            name: ``"auto"``, ``"torch"``, or that of a library.
            room: Bytes that may be used beyond those in use; None for any number.

        Raises:
            DeviceMemory: If there is no room to convert the network for the one that is named.
            UnusableBundle: If the one that is named cannot run the network or differs from torch.
        """
        if name == TORCH and not has_layouts(self._network):
            return Backend(TORCH, self._torch)
        key = hash_of({**self._facts, "wanted": name, "libraries": self._versions,
                       "processor": processor(), "threads": self._threads,
                       "streams": self._streams})  # fmt: skip
        if found := self._open_again(self._cache.recall(key) or {}):
            return found
        return self._choose(name, key, room)

    def _unconverted(self, name: str, room: int, needed: int) -> Backend:
        """Torch, where a conversion finds no room; a named library is refused."""
        what = (
            f"to convert the network once takes about {in_gib(needed)}, and {in_gib(max(room, 0))} "
            "are left"
        )
        if name != AUTO:
            raise DeviceMemory(what, cure="Allow more with --memory-limit, or use --backend torch.")
        return Backend(TORCH, self._torch, (f"torch alone: {what}",))

    def _open_again(self, record: dict[str, Any]) -> Backend | None:
        """What a record says, without a trial; None where that cannot be."""
        name, notes = record.get("backend"), record.get("notes")
        if not isinstance(notes, list):
            return None
        said = tuple(str(note) for note in notes)
        if name == TORCH:
            lay_out(self._network, channels_last=record.get("channels_last") is True)
            return Backend(TORCH, self._torch, said)
        if name not in self._libraries:
            return None
        try:
            run = self._load(str(name), None)
            return Backend(str(name), run, said, self._streams)
        except UnusableBundle:
            return None

    def _choose(self, name: str, key: str, room: int | None) -> Backend:
        """The fastest of those that are wanted; the choice is remembered."""
        trial = Trial(self._network, self._window)
        needed = _CONVERSION * self._weights
        needed += _LOGITS * trial.logits_bytes
        if name != TORCH and room is not None and room < needed:
            return self._unconverted(name, room, needed)
        with tempfile.TemporaryDirectory(prefix="unetr-", ignore_cleanup_errors=True) as folder:
            conversion = Conversion(self._network, trial.samples[0], Path(folder))
            if name in (AUTO, TORCH):
                self._enter_all(trial, conversion)
            else:
                self._enter(name, trial, conversion)
            best = trial.best
            assert best is not None  # torch, or the one that is wanted
            run = self._torch if best.name == TORCH else self._load(best.name, conversion)
        lay_out(self._network, channels_last=best.channels_last)
        record = {
            "backend": best.name, "channels_last": best.channels_last, "notes": trial.notes,
        }  # fmt: skip
        self._cache.remember(key, record)
        return Backend(best.name, run, tuple(trial.notes), best.streams)

    def _enter_all(self, trial: Trial, conversion: Conversion) -> None:
        """Torch, the libraries there are, and torch in its other layout."""
        trial.enter_torch()
        for library in self._libraries:
            try:
                self._enter(library, trial, conversion)
            except UnusableBundle as error:
                trial.notes.append(f"{library} is left out: {error.what}")
        trial.enter_torch(channels_last=True)

    def _enter(self, name: str, trial: Trial, conversion: Conversion) -> None:
        trial.enter(name, self._load(name, conversion), self._streams)

    def _load(self, name: str, conversion: Conversion | None) -> Runner:
        """A library's runner, from the cache where it is there.

        Raises:
            UnusableBundle: If the network must be converted and cannot, or may not, be.
        """
        library = self._libraries[name]
        key = hash_of({**self._facts, "library": name, "version": self._versions[name]})

        def fill(folder: Path) -> None:
            if conversion is None:
                raise UnusableBundle("the converted network is not there any more")
            _log.info("converting the network for %s, once", name)
            library.convert(conversion, folder)

        if (found := self._only_here.get(name)) is not None:
            return found
        entry = self._cache.entry(key, fill, _CONVERTED * self._weights + _ROOM)
        with explaining(f"{name} cannot load the network"), entry as folder:
            run = one_by_one(library.load(folder, self._threads, self._streams), self._window)
        if not self._cache.holds(key):  # to convert it again takes longer than to keep it
            self._only_here[name] = run
        return run


def open_beside_cpu(name: str, network: nn.Module, device: torch.device) -> Backend:
    """Torch on a device that the other libraries do not use.

    Raises:
        InvalidRequest: If another one is named.
    """
    if name not in (AUTO, TORCH):
        raise InvalidRequest(
            f"{name} runs on the CPU, and the device is {device}",
            cure="Use --backend torch, or --device cpu.",
        )
    return Backend(TORCH, torch_runner(network, device))
