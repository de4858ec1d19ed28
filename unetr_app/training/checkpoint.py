"""Training state on disk: written whole or not at all, the last two kept, resumed exactly."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor, nn

from unetr_app.errors import UnusableWeights, UnwritableOutput
from unetr_app.networks.pretrained.files import read_torch
from unetr_app.training.device import is_first_process

_log = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]


def save_whole(value: Any, path: PathLike) -> None:
    """`torch.save` to a temporary file, flushed to disk, then moved to its name.

    Raises:
        UnwritableOutput: If the disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            torch.save(value, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        refused = _refusal(error)
        if refused is None:
            raise
        raise UnwritableOutput(
            f"it could not be written: {refused.strerror or type(refused).__name__}", path=path,
            cure="Free some space, or give a folder that can be written to.",
        ) from error  # fmt: skip
    finally:
        temporary.unlink(missing_ok=True)


def _refusal(error: BaseException | None) -> OSError | None:
    """The operating system's own error, over which torch raises another as it closes its file."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


def save_weights(network: nn.Module, path: PathLike, *, dtype: str = "float16") -> None:
    """A plain state dict for inference, its floating-point tensors stored as ``dtype``.

    A tensor with values that ``dtype`` cannot hold keeps its own type.
    """
    stored = getattr(torch, dtype)
    save_whole({name: _stored(value, stored) for name, value in network.state_dict().items()}, path)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.detach().cpu()
    if not tensor.is_floating_point():
        return tensor
    smaller = tensor.to(dtype)
    return smaller if bool(torch.isfinite(smaller).all()) else tensor


class TrainingState:
    """Saves everything that a run needs to go on, and loads it again.

    ``last.pt`` is the newest epoch, ``previous.pt`` the one before: a damaged ``last.pt`` costs
    one save, not the run.

    Args:
        folder: Where the two files live.
        parts: What to keep, by name: objects with ``state_dict`` and ``load_state_dict``; the
            trainer's engine is added under ``trainer``, its gradient scaler under ``scaler``.
        every: Save after every so many epochs, and after the last.
        resume: Load at the start of the run, where there is something to load.
    """

    def __init__(
        self, folder: PathLike, parts: Mapping[str, Any], *, every: int = 1, resume: bool = False
    ):
        self.folder = Path(folder)
        self.parts = {name: _bare(part) for name, part in parts.items()}
        self.every = every
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Load when ``engine`` starts, save as its epochs complete."""
        self.parts["trainer"] = engine
        if getattr(engine, "scaler", None) is not None:
            self.parts["scaler"] = engine.scaler  # pyright: ignore[reportAttributeAccessIssue]
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def save(self, engine: Engine) -> None:
        """Save if it is this epoch's turn; of several processes the first alone."""
        if not is_first_process():
            return
        last_epoch = engine.state.epoch == engine.state.max_epochs
        if engine.state.epoch % self.every and not last_epoch:
            return
        last = self.folder / "last.pt"
        if last.is_file():
            last.replace(self.folder / "previous.pt")
        save_whole({name: part.state_dict() for name, part in self.parts.items()}, last)

    def load(self, engine: Engine) -> None:
        """Put the newest readable state into the parts; the wanted number of epochs stays.

        Raises:
            UnusableWeights: If no file can be read, or it belongs to another run.
        """
        if not self.resume:
            return
        names = [n for n in ("last.pt", "previous.pt") if (self.folder / n).is_file()]
        if not names:
            _log.info("nothing to resume in %s: starting anew", self.folder.name)
            return
        for name in names:
            try:
                state = read_torch(self.folder / name)
            except UnusableWeights:
                _log.warning("%s is damaged: trying the one before", name)
                continue
            self._restore(state, name, engine)
            return
        raise UnusableWeights(
            "neither last.pt nor previous.pt can be read",
            cure="Remove them, or start with --resume False.",
            path=self.folder,
        )

    def _restore(self, state: Mapping[str, Any], name: str, engine: Engine) -> None:
        wanted = engine.state.max_epochs
        try:
            for kind, part in self.parts.items():
                part.load_state_dict(state[kind])
        except (UnusableWeights, KeyError, RuntimeError, ValueError, TypeError) as error:
            what = error.what if isinstance(error, UnusableWeights) else error
            raise UnusableWeights(
                f"this is the state of another network or recipe: {what}",
                cure="Give another --output_dir, or start with --resume False.",
                path=self.folder / name,
            ) from error
        engine.state.max_epochs = wanted
        _log.info("resumed after epoch %d from %s", engine.state.epoch, name)


def _bare(part: Any) -> Any:
    """Without `DistributedDataParallel`, so that one process resumes what several began."""
    return part.module if isinstance(part, nn.parallel.DistributedDataParallel) else part


class SaveWeights:
    """Saves weights for inference when the run completes.

    Args:
        network: What to save; the averaged network where there is one.
        path: File to write.
        dtype: How floating-point tensors are stored.
    """

    def __init__(self, network: nn.Module, path: PathLike, *, dtype: str = "float16"):
        self.network = network
        self.path = path
        self.dtype = dtype

    def attach(self, engine: Engine) -> None:
        """Run when ``engine`` completes."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Save; of several processes the first alone."""
        if is_first_process():
            save_weights(self.network, self.path, dtype=self.dtype)
