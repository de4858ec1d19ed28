"""StatedWindow: the intensity windows that DICOM files bring along (PS3.3 C.11.2.1.2).

Windows are stated in rescaled values (after the modality LUT), which are the values of our volumes:
HU for CT. Volumes of PET are SUV where the headers allow it and so may have other values than the
windows; windows of PET are left aside. MONOCHROME1 is turned over when it is read, and so are its
windows. A VOI LUT Sequence is not read.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# (the library states few types)

from __future__ import annotations

import math
import statistics
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

import pydicom
from pydicom.tag import Tag

from unetr_app.errors import UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.dicom.deflated import open_dicom
from unetr_app.io.dicom.enhanced import group_of
from unetr_app.io.dicom.slice import PYDICOM_ERRORS, numbers_of, text_of

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]

_FUNCTIONS: dict[str, Function] = {
    "": "LINEAR", "LINEAR": "LINEAR", "LINEAR_EXACT": "LINEAR_EXACT", "SIGMOID": "SIGMOID",
}  # fmt: skip
_TAGS: list[int] = [
    Tag(keyword)
    for keyword in (
        "Modality", "PhotometricInterpretation", "BitsStored", "PixelRepresentation",
        "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth",
        "WindowCenterWidthExplanation", "VOILUTFunction", "NumberOfFrames",
        "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
    )
]  # fmt: skip
_ENOUGH = 64  # slices that are asked; the rest of a series says much the same
_LONGEST_NAME = 24


@dataclass(frozen=True)
class StatedWindow:
    """An intensity window as DICOM states it.

    Args:
        level: Window Center, in the values of the volume.
        width: Window Width, 1 or more for LINEAR, above 0 for others.
        function: VOI LUT Function: what center and width mean, see
            `unetr_app.review.intensity_windows.window_limits`.
        name: What the file calls it; empty where it does not say.
    """

    level: float
    width: float
    function: Function = "LINEAR"
    name: str = ""


def read_windows(
    paths: Sequence[PathLike], *, frames: Sequence[tuple[str, int]] = ()
) -> tuple[StatedWindow, ...]:
    """The windows of one volume, in the order in which its files state them.

    Where slices state different ones (as MR does), the median of their levels and that of their
    widths; of a long series some slices are asked, spread evenly. What is damaged is passed over:
    a window is help, not data.

    Args:
        paths: The files of the volume.
        frames: File and frame number (from 0) of each slice, where files hold several volumes.

    Returns:
        Each window once; none where none is stated.
    """
    found = [slice_ for slice_ in _each_slice(paths, frames) if slice_]
    if not found:
        return ()
    usual = Counter(map(len, found)).most_common(1)[0][0]
    alike = [slice_ for slice_ in found if len(slice_) == usual]
    windows = [_median([slice_[n] for slice_ in alike]) for n in range(usual)]
    return tuple(dict.fromkeys(windows))


def _each_slice(
    paths: Sequence[PathLike], frames: Sequence[tuple[str, int]]
) -> Iterator[list[StatedWindow]]:
    if frames:
        for path, wanted in groupby(_some(frames), key=lambda frame: frame[0]):
            yield from _of_file(path, [number for _, number in wanted])
        return
    for path in _some(paths):
        yield from _of_file(path, None)


def _some(items: Sequence[Any]) -> list[Any]:
    step = max(1, math.ceil(len(items) / _ENOUGH))
    return list(items[::step])


def _of_file(path: PathLike, wanted: list[int] | None) -> Iterator[list[StatedWindow]]:
    """The windows of each frame wanted; of all frames (some of many) where none is named."""
    try:
        with open_dicom(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            if text_of(header, "Modality") == "PT":
                return
            count = numbers_of(header, "NumberOfFrames", 1)
            for frame in wanted or _some(range(1 if count is None else max(1, int(count[0])))):
                yield _of_frame(header, frame)
    except (UnreadableInput, *PYDICOM_ERRORS):
        return


def _of_frame(header: pydicom.Dataset, frame: int) -> list[StatedWindow]:
    stated = group_of(header, frame, "FrameVOILUTSequence") or header
    function = _FUNCTIONS.get(text_of(stated, "VOILUTFunction").upper())
    if function is None:
        return []
    levels, widths = (_numbers(stated, name) for name in ("WindowCenter", "WindowWidth"))
    names = _texts(stated, "WindowCenterWidthExplanation")
    least = 1.0 if function == "LINEAR" else 0.0
    windows = [
        StatedWindow(level, width, function, names[n] if n < len(names) else "")
        for n, (level, width) in enumerate(zip(levels, widths, strict=False))
        if math.isfinite(level) and math.isfinite(width) and width >= least and width > 0
    ]
    if text_of(header, "PhotometricInterpretation") == "MONOCHROME1":
        return [w for w in (_turned_over(w, header, frame) for w in windows) if w is not None]
    return windows


def _turned_over(window: StatedWindow, header: pydicom.Dataset, frame: int) -> StatedWindow | None:
    """The window for pixels whose range of stored values is turned over."""
    values = group_of(header, frame, "PixelValueTransformationSequence") or header
    bits, signed = (numbers_of(header, name, 1) for name in ("BitsStored", "PixelRepresentation"))
    slope, intercept = (
        numbers_of(values, name, 1) for name in ("RescaleSlope", "RescaleIntercept")
    )
    a = 1.0 if slope is None else float(slope[0])
    b = 0.0 if intercept is None else float(intercept[0])
    if signed is not None and signed[0]:
        both = -1.0
    elif bits is not None:
        both = 2.0 ** bits[0] - 1
    else:
        return None
    # a value v becomes a * both + 2 b - v; the middle of LINEAR is half below its center
    uneven = 1.0 if window.function == "LINEAR" else 0.0
    level = a * both + 2 * b - window.level + uneven
    return StatedWindow(level, window.width, window.function, window.name)


def _median(windows: Sequence[StatedWindow]) -> StatedWindow:
    first = windows[0]
    level = statistics.median(window.level for window in windows)
    width = statistics.median(window.width for window in windows)
    return StatedWindow(level, width, first.function, first.name)


def _numbers(dataset: pydicom.Dataset, keyword: str) -> list[float]:
    """Each value as a number; not-a-number where it is none."""
    numbers: list[float] = []
    for text in _texts(dataset, keyword):
        try:
            numbers.append(float(text))
        except ValueError:
            numbers.append(math.nan)
    return numbers


def _texts(dataset: pydicom.Dataset, keyword: str) -> list[str]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    several = value if hasattr(value, "append") else [value]
    return [_plain(str(part)) for part in several]


def _plain(text: str) -> str:
    """Fit to be shown on a button."""
    return "".join(c for c in text if c.isprintable()).strip()[:_LONGEST_NAME]
