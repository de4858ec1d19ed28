"""3D medical image segmentation with transformer networks.

The public names are loaded on first use, so that importing the package imports neither torch nor
MONAI.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from unetr_app.version import __version__

if TYPE_CHECKING:
    from unetr_app.batch.outcome import Outcome
    from unetr_app.cases import Case, find_cases
    from unetr_app.errors import (
        Cancelled,
        DeviceMemory,
        InvalidRequest,
        UnetrError,
        UnfitInput,
        UnreadableInput,
        UnsafeGeometry,
        UnusableBundle,
        UnusableWeights,
        UnwritableOutput,
    )
    from unetr_app.geometry import Geometry
    from unetr_app.inference.segmenter import Segmenter
    from unetr_app.io import read_volume, write_segmentation
    from unetr_app.labels import Label, LabelSet
    from unetr_app.volume import Segmentation, Volume

__all__ = [
    "Cancelled",
    "Case",
    "DeviceMemory",
    "Geometry",
    "InvalidRequest",
    "Label",
    "LabelSet",
    "Outcome",
    "Segmentation",
    "Segmenter",
    "UnetrError",
    "UnfitInput",
    "UnreadableInput",
    "UnsafeGeometry",
    "UnusableBundle",
    "UnusableWeights",
    "UnwritableOutput",
    "Volume",
    "__version__",
    "find_cases",
    "read_volume",
    "write_segmentation",
]

_HOMES = {
    "batch.outcome": ("Outcome",),
    "cases": ("Case", "find_cases"),
    "errors": (
        "Cancelled", "DeviceMemory", "InvalidRequest", "UnetrError", "UnfitInput",
        "UnreadableInput", "UnsafeGeometry", "UnusableBundle", "UnusableWeights",
        "UnwritableOutput",
    ),
    "geometry": ("Geometry",),
    "inference.segmenter": ("Segmenter",),
    "io": ("read_volume", "write_segmentation"),
    "labels": ("Label", "LabelSet"),
    "volume": ("Segmentation", "Volume"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
