"""Carries: parts of sums that wait for windows to come, in memory or, beyond a limit, on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from unetr_app.errors import UnwritableOutput


class Carries:
    """Tensors by key, each put once and taken once.

    Args:
        limit: Bytes that are kept in memory; what is beyond them goes to files in a temporary
            folder until `close`, or the end of a ``with``. None for no limit.
    """

    def __init__(self, limit: int | None = None):
        self.limit = limit
        self.bytes = 0
        self._kept: dict[Hashable, Tensor] = {}
        self._files: dict[Hashable, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._count = 0

    def __enter__(self) -> Carries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything, and remove the files."""
        self._kept.clear()
        self._files.clear()
        self.bytes = 0
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def put(self, key: Hashable, tensor: Tensor) -> None:
        """Keep a copy.

        Raises:
            UnwritableOutput: If it must go to disk and finds no room there.
        """
        size = tensor.numel() * tensor.element_size()
        if self.limit is None or self.bytes + size <= self.limit:
            self._kept[key] = tensor.clone(memory_format=torch.contiguous_format)
            self.bytes += size
        else:
            self._files[key] = self._write(tensor)

    def pop(self, key: Hashable) -> Tensor | None:
        """Take what was put there; None where there is nothing."""
        if (tensor := self._kept.pop(key, None)) is not None:
            self.bytes -= tensor.numel() * tensor.element_size()
            return tensor
        if (path := self._files.pop(key, None)) is not None:
            tensor = torch.from_numpy(np.load(path))
            path.unlink()
            return tensor
        return None

    def _write(self, tensor: Tensor) -> Path:
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="unetr-carries-")
            self._count += 1
            path = Path(self._folder.name) / f"{self._count}.npy"
            np.save(path, tensor.numpy())
        except OSError as error:
            size = tensor.numel() * tensor.element_size() // 2**20 + 1
            raise UnwritableOutput(
                f"sums that wait for windows to come find no room there ({size} MiB at a time)",
                cure="Free some space, or name a folder on another disk by TMPDIR; or allow more "
                "memory with --memory-limit.",
                path=Path(tempfile.gettempdir()),
            ) from error
        return path
