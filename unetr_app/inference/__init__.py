"""From a volume to labels on its own grid; names are loaded on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unetr_app.inference.exact_writer import ExactWriter
    from unetr_app.inference.flips import FlipInferer
    from unetr_app.inference.options import InferenceOptions
    from unetr_app.inference.restore import RestoreLabelsd, ResultFolders
    from unetr_app.inference.segmenter import Segmenter

_HOMES = {
    "ExactWriter": "exact_writer",
    "FlipInferer": "flips",
    "InferenceOptions": "options",
    "RestoreLabelsd": "restore",
    "ResultFolders": "restore",
    "Segmenter": "segmenter",
}

__all__ = [
    "ExactWriter",
    "FlipInferer",
    "InferenceOptions",
    "RestoreLabelsd",
    "ResultFolders",
    "Segmenter",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
