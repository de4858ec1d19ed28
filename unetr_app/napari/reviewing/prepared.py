"""Prepared: all of a case that can be read and measured before it is shown."""

from __future__ import annotations

from dataclasses import dataclass

from unetr_app.io import read_windows
from unetr_app.review.intensity_windows import IntensityWindow, windows_for
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.statistics import LabelStatistics, label_statistics
from unetr_app.review.worklist import Worklist


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case in memory, with what was found out about it in a thread.

    Args:
        loaded: The case.
        windows: Intensity windows to offer, the one to begin with first.
        statistics: Of the labels that a reviewer begins with, strokes in no version left out.
    """

    loaded: LoadedCase
    windows: tuple[IntensityWindow, ...]
    statistics: tuple[LabelStatistics, ...]


def prepare(worklist: Worklist, case_id: str) -> Prepared:
    """Read and measure a case; safe in any thread.

    Raises:
        UnetrError: If it cannot be read.
    """
    loaded = worklist.load(case_id)
    labels, volume = loaded.labels, loaded.volume
    image = None if volume is None else volume.data[0]
    statistics = label_statistics(labels.data, labels.geometry, labels.labels, image)
    return Prepared(loaded, _windows_of(loaded), statistics)


def _windows_of(loaded: LoadedCase) -> tuple[IntensityWindow, ...]:
    volume, image = loaded.volume, loaded.image
    if volume is None:
        return ()
    if image is None or image.kind != "dicom-series":
        return windows_for(volume)
    return windows_for(volume, read_windows(image))
