"""Prepared: a volume after a bundle's preprocessing, before its network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from unetr_app.volume import Volume


@dataclass(frozen=True)
class Prepared:
    """What `unetr_app.inference.segmenter.Segmenter.prepare` made of a volume; for one use.

    Args:
        volume: As it was read.
        data: What the preprocessing gave, by key.
    """

    volume: Volume
    data: dict[str, Any]
