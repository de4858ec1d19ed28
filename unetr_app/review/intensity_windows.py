"""IntensityWindow: which intensities a view shows between black and white."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from unetr_app.planes import intensity_window, looks_like_ct
from unetr_app.volume import Volume

if TYPE_CHECKING:
    from unetr_app.io.dicom.window import StatedWindow

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Limits = tuple[float, float]

_PIXELS = 1000.0  # of a drag that go through the whole range of an image
_FINE = 4.0  # a window this many times narrower than the range is dragged more finely ...
_FINEST = 20.0  # ... at most this many times
_NARROWEST = 1e-4  # of the range of an image
_SAMPLE = 500_000  # voxels that a range is estimated from
_BLACK_IS_BELOW = 1e-6  # of the level: as near as black and white come


@dataclass(frozen=True)
class IntensityWindow:
    """A window with a name, for a menu.

    Args:
        name: Shown to the user.
        level: Its middle, in the values of the volume (HU for CT).
        width: How far it reaches, above 0.
        function: What level and width mean, see `window_limits`.
        is_stated: Does the image itself state it?
    """

    name: str
    level: float
    width: float
    function: Function = "LINEAR_EXACT"
    is_stated: bool = False

    @property
    def limits(self) -> Limits:
        """Black and white intensity."""
        return window_limits(self.level, self.width, self.function)


CT_PRESETS = (
    IntensityWindow("Abdomen", 40.0, 400.0),
    IntensityWindow("Lung", -600.0, 1500.0),
    IntensityWindow("Bone", 500.0, 2000.0),
    IntensityWindow("Brain", 40.0, 80.0),
    IntensityWindow("Mediastinum", 50.0, 350.0),
    IntensityWindow("Liver", 30.0, 150.0),
)


def window_limits(level: float, width: float, function: Function = "LINEAR") -> Limits:
    """Black and white intensity of a window.

    After DICOM PS3.3 C.11.2.1.2: LINEAR reaches from ``level - 0.5 - (width - 1) / 2`` to
    ``level - 0.5 + (width - 1) / 2``, LINEAR_EXACT from ``level - width / 2`` to
    ``level + width / 2``. A SIGMOID has no ends; it is shown by the straight line that touches it
    in the middle, which is that of LINEAR_EXACT.

    Args:
        level: Window Center.
        width: Window Width; 1 or more for LINEAR, above 0 for others. A LINEAR window of width 1
            is a threshold: white lies just above black then.
        function: VOI LUT Function; where DICOM states none it is LINEAR.

    Returns:
        Low and high; low is below high.

    Example:
        >>> window_limits(40, 400), window_limits(40, 400, "LINEAR_EXACT")
        ((-160.0, 239.0), (-160.0, 240.0))
    """
    if function == "LINEAR":
        level, width = level - 0.5, width - 1.0
    half = max(width / 2, _BLACK_IS_BELOW * max(1.0, abs(level)))
    return level - half, level + half


def window_of(low: float, high: float, function: Function = "LINEAR_EXACT") -> tuple[float, float]:
    """Level and width of the window from black to white: the reverse of `window_limits`.

    Example:
        >>> window_of(-160, 240), window_of(-160, 239, "LINEAR")
        ((40.0, 400.0), (40.0, 400.0))
    """
    level, width = (low + high) / 2, float(high - low)
    return (level + 0.5, width + 1.0) if function == "LINEAR" else (level, width)


def windows_for(volume: Volume, stated: Sequence[StatedWindow] = ()) -> tuple[IntensityWindow, ...]:
    """The windows to offer for an image, the one to begin with first.

    The image's own come first, as long as they show something of it; then one made of its
    intensities, unless it is a preset; then, for CT alone, the presets.

    Args:
        volume: Shown by its first channel.
        stated: The image's own, from `unetr_app.io.read_windows`.
    """
    low, high = intensity_range(volume)
    own = [
        IntensityWindow(_name(n, one, len(stated)), one.level, one.width, one.function, True)
        for n, one in enumerate(stated)
    ]
    own = [w for w in own if w.limits[0] < high and w.limits[1] > low]
    level, width = window_of(*intensity_window(volume))
    automatic = IntensityWindow("Automatic", level, width)
    presets = CT_PRESETS if looks_like_ct(volume) else ()
    if any((preset.level, preset.width) == (level, width) for preset in presets):
        return (*own, *presets)
    return (*own, automatic, *presets)


def intensity_range(volume: Volume) -> Limits:
    """From where to where an image's intensities run, but for 0.1 % at either end.

    Args:
        volume: Its first channel counts.

    Returns:
        Low and high; low is below high, also where all voxels are alike.
    """
    data = volume.data[0]
    step = max(1, round((data.size / _SAMPLE) ** (1 / 3)))
    low, high = (float(p) for p in np.percentile(data[::step, ::step, ::step], (0.1, 99.9)))
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def drag(
    level: float, width: float, dx: float, dy: float, *, image_range: Limits
) -> tuple[float, float]:
    """Level and width while the mouse is dragged: to the right wider, downwards a higher level.

    A thousand pixels go through the whole range of the image; where the window is narrow, steps
    are finer, so that a brain's 80 HU can be set as well as a lung's 1500.

    Args:
        level: Where the drag began.
        width: Where the drag began.
        dx: Pixels to the right since it began, not since the last movement: so a drag that ends
            where it began changes nothing.
        dy: Pixels downwards since it began.
        image_range: From `intensity_range`.

    Returns:
        Level and width; the width stays above 0.

    Example:
        >>> drag(40.0, 400.0, 100, 0, image_range=(-1000.0, 3000.0))
        (40.0, 560.0)
    """
    span = max(image_range[1] - image_range[0], math.ulp(1.0))
    step = min(span, max(_FINE * width, span / _FINEST)) / _PIXELS
    narrowest = min(width, _NARROWEST * span)
    return level + dy * step, max(width + dx * step, narrowest)


def _name(number: int, window: StatedWindow, count: int) -> str:
    if window.name:
        return f"DICOM: {window.name}"
    return "DICOM" if count == 1 else f"DICOM {number + 1}"
