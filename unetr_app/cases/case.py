"""Case: one thing to segment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from unetr_app.cases.facts import SeriesFacts
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
        resample: Whether channels on other grids are to be put onto the first one's.
        names: What the files are called where they were found, if ``paths`` are copies of them
            (members of archives); else empty.
        slices: Of a DICOM series; frames of a file that holds many.
        report: Where the slices of a DICOM series lie, see `unetr_app.io.dicom.geometry_report`.
        facts: For rules, while cases are searched.
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
    resample: bool = False
    names: tuple[str, ...] = ()
    slices: int = 0
    report: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    facts: SeriesFacts | None = field(default=None, repr=False, compare=False)
    frames: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Found:
    """What a search came upon.

    Args:
        cases: In the order of their ids, numbers in them counted as numbers.
        passed_over: Files that are no image.
        aside: DICOM files that are no part of a volume, series by series: localizers, reports,
            segmentations. Each has a problem that says what it is.
        left_out: Images that rules did not admit.
        notes: What else the user should know of the search.
    """

    cases: tuple[Case, ...]
    passed_over: int = 0
    aside: tuple[Case, ...] = ()
    left_out: int = 0
    notes: tuple[str, ...] = ()

    @property
    def set_aside(self) -> int:
        """How many DICOM files are no part of a volume."""
        return sum(len(case.paths) for case in self.aside)
