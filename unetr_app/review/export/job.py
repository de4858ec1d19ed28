"""Job: everything of one kind that leaves a worklist, case after case."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from unetr_app.errors import Cancelled, InvalidRequest, UnetrError, UnwritableOutput
from unetr_app.io import PathLike
from unetr_app.review.desk import Desk
from unetr_app.review.export.nifti import export_nifti
from unetr_app.review.export.report import export_report
from unetr_app.review.export.reviewed import Reviewed
from unetr_app.review.export.seg import export_seg
from unetr_app.review.export.training_set import export_training_set
from unetr_app.review.log import Log
from unetr_app.review.standing import require_standing
from unetr_app.review.worklist import Worklist

Kind = Literal["nifti", "dicom_seg", "report", "training_set"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_OF_CASES = {"nifti": (export_nifti, ".nii.gz"), "dicom_seg": (export_seg, ".dcm")}
_TOLD = 3  # cases that failed, one by one
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Exported:
    """What became of a job.

    Args:
        kind: What was exported.
        written: Cases that are in it.
        folder: Where it lies.
        failed: Cases that are not, and why.
        warnings: What the reviewer should know.
    """

    kind: Kind
    written: int
    folder: Path
    failed: tuple[tuple[str, UnetrError], ...] = ()
    warnings: tuple[str, ...] = ()

    def __str__(self) -> str:
        noun = "case" if self.written == 1 else "cases"
        what = self.kind.replace("_", " ").replace("dicom seg", "DICOM SEG")
        said = [f"{what}: {self.written} {noun} in {self.folder.name}."]
        said += [f"{case_id} failed: {problem}" for case_id, problem in self.failed[:_TOLD]]
        if len(self.failed) > _TOLD:
            said.append(f"{len(self.failed) - _TOLD} more failed.")
        return " ".join(said)


def export_job(
    worklist: Worklist,
    kind: str,
    folder: PathLike,
    *,
    one: Reviewed | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Exported:
    """Export one case, or all that are accepted; one that fails costs no other.

    Args:
        worklist: The cases.
        kind: One of `KINDS`. A report always has all cases in it.
        folder: Made where it is missing; files are named after their case.
        one: The case that is wanted; None for all accepted ones.
        progress: Told how many are done, and how many there are.
        should_stop: Asked before each case.

    Raises:
        InvalidRequest: If there is no such kind, or no case is accepted.
        UnwritableOutput: If a report or data set cannot be written whole.
        Cancelled: If ``should_stop`` said so.
    """
    out = Path(folder)
    if kind not in KINDS:
        raise InvalidRequest(
            f"{kind!r} is nothing that is exported", cure=f"Choose one of {', '.join(KINDS)}."
        )
    if kind == "report":
        export_report(worklist, out, progress=progress, should_stop=should_stop)
        return Exported(kind, len(worklist.cases), out)
    if kind == "training_set":
        found = export_training_set(worklist, out, progress=progress, should_stop=should_stop)
        failed = [*found.left_out, *((pair.id, why) for pair, why in found.made.failures)]
        written = len(found.made.reports)
        return Exported(kind, written, out, tuple(failed), (*found.warnings, *found.made.warnings))
    accepted = [row.case_id for row in worklist.rows() if row.status == "accepted"]
    if one is None and not accepted:
        raise InvalidRequest("no case is accepted", cure="Accept some cases first (key A).")
    wanted = accepted if one is None else [one.loaded.case_id]
    return _case_by_case(worklist, kind, out, wanted, (one, progress, should_stop))


def unavailable(desk: Desk) -> dict[str, str]:
    """For each kind why it cannot be made of an open case; empty where it can."""
    loaded = desk.loaded
    seg = ""
    if loaded.image is None or loaded.volume is None:
        seg = "the images are not to be had"
    elif loaded.image.kind != "dicom-series":
        seg = "the image is no DICOM series"
    return {"nifti": "", "dicom_seg": seg, "report": "", "training_set": ""}


def _case_by_case(
    worklist: Worklist,
    kind: Kind,
    out: Path,
    wanted: Sequence[str],
    how: tuple[Reviewed | None, Progress | None, Callable[[], bool]],
) -> Exported:
    one, progress, should_stop = how
    export, ending = _OF_CASES[kind]
    folders = _folders(p for each in worklist.cases for p in worklist.entry(each).labels.paths)
    failed: list[tuple[str, UnetrError]] = []
    warnings: list[str] = []
    for n, case_id in enumerate(wanted):
        if should_stop():
            raise Cancelled(f"stopped after {n} of {len(wanted)} cases")
        try:
            found = one or Reviewed.of(worklist.load(case_id))
            if one is None:
                require_standing(found.loaded, worklist.decision(case_id))
            path = out / f"{case_id}{ending}"
            image = found.loaded.image
            _require_apart(path, {*folders, *_folders(() if image is None else image.paths)})
            said = (*export(found, path), *_logged(worklist, case_id, kind, found))
            warnings += [f"{case_id}: {words}" for words in said]
        except UnetrError as problem:
            failed.append((case_id, problem))
        if progress is not None:
            progress(n + 1, len(wanted))
    return Exported(kind, len(wanted) - len(failed), out, tuple(failed), tuple(warnings))


def _logged(worklist: Worklist, case_id: str, kind: Kind, found: Reviewed) -> tuple[str, ...]:
    """Note in the case's log what was exported of it; a warning where that cannot be."""
    folder = worklist.case_folder(case_id)
    number = 0 if found.version is None else found.version.number
    try:
        folder.make()
        Log(folder.log).append("exported", kind=kind, version=number)
    except UnwritableOutput as problem:
        return (f"the export is not in its log: {problem}",)
    return ()


def _folders(paths: Iterable[str]) -> set[str]:
    return {os.path.dirname(os.path.realpath(path)) for path in paths}


def _require_apart(path: Path, folders: Collection[str]) -> None:
    """Refuse to write over a file beside images or labels: it may be one of them."""
    if os.path.lexists(path) and os.path.realpath(path.parent) in folders:
        raise InvalidRequest(
            "a file of that name lies there, among images and labels that are reviewed",
            cure="Choose a folder of its own for what is exported.", path=path,
        )  # fmt: skip
