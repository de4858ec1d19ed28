"""Prepared: all of a case that can be read and measured before it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unetr_app.io import read_windows
from unetr_app.review.intensity_windows import IntensityWindow, windows_for
from unetr_app.review.loaded import LoadedCase
from unetr_app.review.statistics import LabelStatistics
from unetr_app.review.survey import findings_of, statistics_of
from unetr_app.review.worklist import Worklist


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case in memory, with what was found out about it in a thread.

    Args:
        loaded: The case.
        windows: Intensity windows to offer, the one to begin with first.
        statistics: Of the labels that a reviewer begins with, strokes in no version left out.
        findings: What speaks against those labels, for the table of cases.
    """

    loaded: LoadedCase
    windows: tuple[IntensityWindow, ...]
    statistics: tuple[LabelStatistics, ...]
    findings: Mapping[str, Any]


def prepare(worklist: Worklist, case_id: str) -> Prepared:
    """Read and measure a case; safe in any thread.

    Raises:
        UnetrError: If it cannot be read.
    """
    loaded = worklist.load(case_id)
    statistics = statistics_of(loaded)
    return Prepared(loaded, _windows_of(loaded), statistics, findings_of(loaded, statistics))


def _windows_of(loaded: LoadedCase) -> tuple[IntensityWindow, ...]:
    volume, image = loaded.volume, loaded.image
    if volume is None:
        return ()
    if image is None or image.kind != "dicom-series":
        return windows_for(volume)
    return windows_for(volume, read_windows(image))
