"""Prepared: a volume after a bundle's preprocessing, before its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unetr_app.inference.way_home import Step
from unetr_app.volume import Volume


@dataclass(frozen=True)
class Prepared:
    """What `unetr_app.inference.segmenter.Segmenter.prepare` made of a volume; for one use.

    Args:
        volume: As it was read.
        data: What the preprocessing gave, by key.
        steps: Where the image was before it, and after each of its steps.
        peak_bytes: What the process held at most meanwhile; 0 where memory is not limited.
    """

    volume: Volume
    data: dict[str, Any]
    steps: Sequence[Step]
    peak_bytes: int = 0
