"""The exception tree: everything the package raises on purpose.

::

    UnetrError                 base: catch this one
    ├── UnreadableInput        a file that is empty, damaged, or not an image we read
    ├── UnsafeGeometry         voxels whose place in the patient is unknown or contradictory
    │   └── UnevenSlices       slices at distances that differ, which can be resampled
    ├── UnfitInput             an image far outside what the bundle was trained on
    ├── UnusableBundle         a bundle folder that is incomplete or cannot be opened
    │   └── UnusableWeights    weights that are missing, damaged or of another network
    ├── UnwritableOutput       a result that could not be written whole
    ├── CaseInUse              a case that another reviewer has open
    ├── InvalidRequest         arguments that contradict each other or name nothing
    ├── RemoteFailure          a server that cannot be reached, refuses, or answers nonsense
    ├── DeviceMemory           the device ran out of memory
    └── Cancelled              the caller asked to stop
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar


class UnetrError(Exception):
    """An error that helps: what was found, in which file, and what to do about it.

    Args:
        what: What was found and what was expected, without a full stop at the end.
        cure: What the user can do next; empty where there is nothing to do.
        path: The file or folder concerned. Its own name is shown, never its parents, because
            folders are often named after people.
    """

    code: ClassVar[str] = "error"

    def __init__(self, what: str, *, cure: str = "", path: str | os.PathLike[str] | None = None):
        self.what = what
        self.cure = cure
        self.path = None if path is None else os.fspath(path)
        super().__init__(what)

    @property
    def cause(self) -> str:
        """What happened and to which file, without the cure."""
        if self.path is None:
            return self.what
        path = Path(self.path)
        return f"{path.name or path.resolve().name}: {self.what}"

    def __str__(self) -> str:
        return f"{self.cause}. {self.cure}".rstrip() if self.cure else self.cause


class UnreadableInput(UnetrError):
    """A file is empty, damaged, or not an image that we read."""

    code = "unreadable-input"


class UnsafeGeometry(UnetrError):
    """The place of the voxels in the patient is unknown, contradictory or impossible."""

    code = "unsafe-geometry"


class UnevenSlices(UnsafeGeometry):
    """Slices are missing, or lie at distances that differ; resampling is possible if asked for."""

    code = "uneven-slices"


class UnfitInput(UnetrError):
    """The image is far outside what the bundle was trained on."""

    code = "unfit-input"


class UnusableBundle(UnetrError):
    """A bundle folder is incomplete or cannot be opened."""

    code = "unusable-bundle"


class UnusableWeights(UnusableBundle):
    """Weights are missing, damaged or belong to another network."""

    code = "unusable-weights"


class UnwritableOutput(UnetrError):
    """A result could not be written whole."""

    code = "unwritable-output"


class CaseInUse(UnetrError):
    """Another reviewer, or another window, has the case open."""

    code = "case-in-use"


class InvalidRequest(UnetrError):
    """Arguments contradict each other or name something that does not exist."""

    code = "invalid-request"


class RemoteFailure(UnetrError):
    """A server cannot be reached, refuses, or answers what it should not."""

    code = "remote-failure"


class DeviceMemory(UnetrError):
    """The device ran out of memory."""

    code = "device-memory"


class Cancelled(UnetrError):
    """The caller asked to stop."""

    code = "cancelled"
