"""Case: one thing to segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unetr_app.errors import UnetrError
from unetr_app.geometry import Geometry


@dataclass(frozen=True)
class Case:
    """One thing to segment.

    Args:
        id: Unique in a run, safe as a file name, nothing of the patient in it for DICOM.
        input: The file, or the folder of the series, as it was given or found; of several files
            with numbers the first channel's; of a row of several images the list.
        kind: Whether it is files, or slices of DICOM series only.
        paths: All its files, each once; slices in order along their normal.
        modality: DICOM modality code; empty where unknown, or where channels differ.
        study_uid: Study Instance UID; empty for files.
        series_uid: Series Instance UID; empty for files, and for several series.
        problem: Why it cannot be read, where its headers already show that; reading it raises this.
        form: ``nifti``, ``nrrd``, ``metaimage``, or what the series is (``regular``, ``tilt``,
            ``gaps``, ...), with the number of channels before it where there are several; empty
            for a file of no known format.
        geometry: The grid of a DICOM series, known from its headers; None for files.
        warnings: What was left out, and what else the user should know.
        parts: The files of each channel, in the bundle's order; empty for a case of one image. A
            file that holds a volume for each channel stands once for each of them.
        channels: Names of the channels, one for each part.
        frames: File and frame number (from 0) of each slice in order along their normal, where
            files hold several frames; empty where each file is one slice.
    """

    id: str
    input: str
    kind: Literal["file", "dicom-series"]
    paths: tuple[str, ...]
    modality: str = ""
    study_uid: str = field(default="", repr=False)
    series_uid: str = field(default="", repr=False)
    problem: UnetrError | None = None
    form: str = ""
    geometry: Geometry | None = None
    warnings: tuple[str, ...] = ()
    parts: tuple[tuple[str, ...], ...] = ()
    channels: tuple[str, ...] = ()
    frames: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Found:
    """What a search came upon.

    Args:
        cases: In the order of their ids, numbers in them counted as numbers.
        passed_over: Files that are no image.
        set_aside: DICOM files that are no part of a volume: localizers, reports, segmentations.
    """

    cases: tuple[Case, ...]
    passed_over: int = 0
    set_aside: int = 0
