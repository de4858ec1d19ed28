"""Fingerprints: hashes that tell whether a result still belongs to its input and bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unetr_app.batch.options import BatchOptions
from unetr_app.batch.segmenting import Card
from unetr_app.checksum import sha256_of
from unetr_app.errors import UnreadableInput
from unetr_app.version import __version__

_CONFIGS = ("configs/metadata.json", "configs/inference.*", "scripts/*.py")


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces.

    Raises:
        UnreadableInput: If the file cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise UnreadableInput(
            f"the file cannot be read: {error.strerror or type(error).__name__}",
            cure="Check that it exists and that you may read it.",
            path=path,
        ) from error


def content_hash(paths: Iterable[str | Path]) -> str:
    """One hash for the content of several files, whatever their names and order.

    Raises:
        UnreadableInput: If a file cannot be read.
    """
    hashes = sorted(file_hash(Path(path)) for path in paths)
    return hashes[0] if len(hashes) == 1 else _hash_of(hashes)


def _hash_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Recipe:
    """Everything but the input that decides what the outputs are.

    Args:
        bundle: Name, version and hashes of weights and configuration.
        parameters: The options that matter to the outputs.
        tool_version: The package's version.
    """

    bundle: dict[str, str]
    parameters: dict[str, Any]
    tool_version: str = field(default=__version__)

    @classmethod
    def of(cls, card: Card, options: BatchOptions) -> Recipe:
        """The recipe of a bundle run with these options."""
        configs = sorted(path for pattern in _CONFIGS for path in Path(card.path).glob(pattern))
        bundle = {
            "name": card.name,
            "version": card.version,
            "weights_hash": card.weights_hash,
            "config_hash": _hash_of([[path.name, file_hash(path)] for path in configs]),
        }
        return cls(bundle, options.parameters)

    def key(self, input_hash: str, *, forced: bool = False) -> str:
        """The hash that a finished case must still have to be left as it is.

        Args:
            input_hash: `content_hash` of the case's files.
            forced: Was the input accepted against the bundle's training range?
        """
        return _hash_of([input_hash, self.bundle, self.parameters, self.tool_version, forced])
