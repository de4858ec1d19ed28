"""Pairs of DICOM: each series with the SEG and RTSTRUCT objects that refer to it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache

from unetr_app.cases import Case
from unetr_app.datasets.label_file import LabelFile
from unetr_app.datasets.pair import Pair, Unmatched
from unetr_app.errors import UnetrError, UnsafeGeometry
from unetr_app.io.dicom.label_object import LabelObject, read_label_object
from unetr_app.io.dicom.slice import read_slice

_NOT_HERE = UnsafeGeometry(
    "the images that it refers to are not among the inputs",
    cure="Give the folder of the series that it was drawn on as well.",
)


def pair_dicom(cases: Sequence[Case], objects: Sequence[str]) -> tuple[list[Pair], list[Unmatched]]:
    """Match objects with series, by the UIDs of images where they name some, else of series.

    Args:
        cases: DICOM series.
        objects: SEG and RTSTRUCT files.
    """
    images = _Images(cases)
    found: defaultdict[int, list[LabelFile]] = defaultdict(list)
    unmatched: list[Unmatched] = []
    for path in sorted(objects):
        try:
            about = read_label_object(path)
            found[images.of(about)].append(LabelFile(path, about.kind))
        except UnetrError as problem:
            unmatched.append(Unmatched(path, problem))
    pairs = [
        Pair(cases[n].id, cases[n], tuple(labels), subject_of(cases[n]), cases[n].problem)
        for n, labels in found.items()
    ]
    return pairs, unmatched


class _Images:
    """The series among which the images of an object are looked for."""

    def __init__(self, cases: Sequence[Case]):
        self._cases = cases
        self._instances = cache(self._read_instances)

    def of(self, about: LabelObject) -> int:
        """The place of the series that an object was drawn on.

        Raises:
            UnsafeGeometry: If it is not there, or there are several.
        """
        near = [n for n, case in enumerate(self._cases) if case.series_uid in about.series_uids]
        if len(near) == 1:
            return near[0]
        among = near or range(len(self._cases))
        there = [n for n in among if about.sop_uids and about.sop_uids & self._instances(n)]
        if len(there) > 1:
            whole = [n for n in there if about.sop_uids <= self._instances(n)]
            there = whole or there
        if not there:
            raise _elsewhere(about)
        if len(there) > 1:
            raise UnsafeGeometry(
                f"it refers to {len(there)} volumes of the inputs",
                cure="Name the image and this file in a list (CSV) instead.", path=about.path,
            )  # fmt: skip
        return there[0]

    def _read_instances(self, n: int) -> frozenset[str]:
        try:
            return frozenset(read_slice(path).sop_uid for path in self._cases[n].paths)
        except UnetrError:
            return frozenset()


def _elsewhere(about: LabelObject) -> UnsafeGeometry:
    return UnsafeGeometry(_NOT_HERE.what, cure=_NOT_HERE.cure, path=about.path)


def subject_of(case: Case) -> str:
    """Whose a DICOM series is: the patient's id, else the study, else the series itself."""
    try:
        patient = read_slice(case.paths[0]).patient[0].strip()
    except UnetrError:
        patient = ""
    if patient:
        return f"patient {patient.casefold()}"
    return f"study {case.study_uid}" if case.study_uid else f"case {case.id}"


def frame_uid_of(case: Case) -> str:
    """The Frame of Reference UID of a case; empty where it has none or is no DICOM series."""
    if case.kind != "dicom-series":
        return ""
    return read_slice(case.paths[0]).frame_uid
