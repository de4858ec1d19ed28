"""InferenceOptions: what a user decides about inference, beside the bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.checksum import sha256_of
from unetr_app.errors import InvalidRequest

BACKENDS = ("auto", "torch", "openvino", "onnxruntime")
RESTORES = ("bundle", "logits")
_UNITS = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class InferenceOptions:
    """What a user decides about inference; None keeps what the bundle says.

    Args:
        backend: What computes the network: ``auto`` takes the fastest that is installed and gives
            torch's answer.
        overlap: Share of a window that the next one covers, 0 <= o < 1.
        flips: Axes (0, 1, 2) of the model grid along which mirror images are averaged too.
        weights: Files of weights for the bundle's network, in place of its own; the logits of
            several are averaged.
        skip: Compute windows of one constant value once instead of each time?
        memory_limit: Bytes that the process may hold; sums that find no room wait on disk.
        localise: Look at half the resolution first, and finely only where something was found?
        restore: ``bundle`` takes labels home as the bundle does; ``logits`` always takes logits
            home and decides there, which is finer at borders.

    Raises:
        InvalidRequest: If a value is out of its range.
    """

    backend: str = "torch"
    overlap: float | None = None
    flips: tuple[int, ...] | None = None
    weights: tuple[str, ...] = ()
    skip: bool = True
    memory_limit: int | None = None
    localise: bool = False
    restore: str = "bundle"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InvalidRequest(
                f"there is no backend {self.backend!r}", cure=f"There are: {', '.join(BACKENDS)}."
            )
        if self.restore not in RESTORES:
            raise InvalidRequest(
                f"there is no way {self.restore!r} to restore",
                cure=f"There are: {', '.join(RESTORES)}.",
            )
        if self.overlap is not None and not 0 <= self.overlap < 1:
            raise InvalidRequest(f"overlap {self.overlap} must be at least 0 and less than 1")
        if self.flips is not None and not {*self.flips} <= {0, 1, 2}:
            raise InvalidRequest(f"flips {self.flips} must be of the axes 0, 1 and 2")
        for path in self.weights:
            if not Path(path).is_file():
                raise InvalidRequest("there is no such file of weights", path=path)
        if self.memory_limit is not None and self.memory_limit < 1:
            raise InvalidRequest(f"memory_limit {self.memory_limit} must be above 0")

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that change results by more than rounding, where they differ from the bundle's."""
        chosen = {"overlap": self.overlap, "flips": self.flips}
        found = {name: value for name, value in chosen.items() if value is not None}
        if self.weights:
            found["weights"] = [sha256_of(path) for path in self.weights]
        found |= {"localise": True} if self.localise else {}
        return found | ({"restore": self.restore} if self.restore != "bundle" else {})


def parse_bytes(text: str) -> int:
    """A size in words, in bytes; k, M, G and T are powers of 1024, with or without "iB".

    Raises:
        InvalidRequest: If it is no size.

    Example:
        >>> parse_bytes("4GiB"), parse_bytes("1.5 G"), parse_bytes("512m")
        (4294967296, 1610612736, 536870912)
    """
    found = _SIZE.fullmatch(text)
    if not found or float(found[1]) <= 0:
        raise InvalidRequest(f"{text!r} is no size", cure="Write 4GiB or 600M.")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def parse_axes(text: str) -> tuple[int, ...]:
    """Axes in words: "i", "j" and "k" with commas between, or "none".

    Raises:
        InvalidRequest: If it is something else.

    Example:
        >>> parse_axes("i,k"), parse_axes("none")
        ((0, 2), ())
    """
    words = [] if text.strip() == "none" else [word.strip() for word in text.split(",")]
    if not {*words} <= {"i", "j", "k"}:
        raise InvalidRequest(f"{text!r} are no axes", cure="Write i,j or none.")
    return tuple(sorted({"ijk".index(word) for word in words}))
