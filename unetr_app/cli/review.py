"""``unetr review``: a window to look at segmentations, correct them, and decide."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import note, say, show_table
from unetr_app.cli.stopping import StopRequest
from unetr_app.errors import InvalidRequest, UnetrError, UnwritableOutput

if TYPE_CHECKING:
    from unetr_app.review.worklist import Worklist

_KINDS = {
    "nifti": "nifti",
    "dicom-seg": "dicom_seg",
    "report": "report",
    "training-set": "training_set",
}
_WITHOUT_A_SCREEN = ("offscreen", "minimal", "vnc", "linuxfb", "eglfs")

EXAMPLES = """Examples:
  unetr review results/
  unetr review results/ --reviewer mw --reviews /data/reviews
  unetr review labelled.csv
  unetr review Task04_Hippocampus/dataset.json
  unetr review results/ --list --measure
  unetr review results/ --export training-set -o corrected_set

Keys: N next, P previous, A accept, E edit, R reject, F flag, 1 to 5 grade. All of them are in
docs/review_keys.md. Nothing here needs a model or torch.

Exit codes: 0 done, 2 usage, 3 some cases were not exported, 4 nothing to review or to export.
"""


def command(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Output folder of unetr segment, CSV or JSON list, dataset.json, or folder of "
            "images with labels.",
        ),
    ],
    reviews: Annotated[
        Path | None,
        typer.Option(
            "--reviews", metavar="DIR", show_default="beside the cases",
            help="Where decisions and versions are kept.",
        ),
    ] = None,
    reviewer: Annotated[
        str,
        typer.Option(
            "--reviewer", metavar="NAME", show_default="of the preferences, or your login",
            help="Who decides; written into the log.",
        ),
    ] = "",
    case: Annotated[
        str, typer.Option("--case", metavar="ID", help="Begin with this case.")
    ] = "",
    as_list: Annotated[
        bool, typer.Option("--list", help="Print the cases and what was decided; no window.")
    ] = False,
    measure: Annotated[
        bool, typer.Option("--measure", help="With --list: measure cases that nobody opened yet.")
    ] = False,
    export: Annotated[
        str,
        typer.Option(
            "--export", metavar="KIND", show_default=False,
            help="No window: write accepted cases as nifti, dicom-seg or training-set, or "
            "a report of all.",
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for --export."),
    ] = None,
) -> None:  # fmt: skip
    """Review segmentations in napari: look, correct, accept or reject, export.

    Decisions are kept at once, edits stroke by stroke; the prediction itself never changes. Run it
    again to go on where you stopped.
    """
    from unetr_app.review.worklist import open_worklist

    if as_list and export:
        raise InvalidRequest("--list and --export are two runs", cure="Give one of them.")
    if out is not None and not export:
        raise InvalidRequest("-o is for --export alone", cure="Say what is written: --export KIND.")
    if export:
        _require_export(export, out)
    if as_list or export:
        worklist = open_worklist(path, reviews=reviews)
        if measure:
            _measure(worklist)
        raise typer.Exit(_list(worklist) if as_list else _export(worklist, export, out))
    open_worklist(path, reviews=reviews)  # before a window opens: a wrong path is told here
    _require_window()
    from unetr_app.napari.reviewing.program import run

    run(path, reviews=reviews, reviewer=reviewer, case_id=case)


def _require_export(kind: str, out: Path | None) -> None:
    if kind not in _KINDS:
        raise InvalidRequest(
            f"{kind!r} is nothing that is exported", cure=f"Use one of {', '.join(_KINDS)}."
        )
    if out is None:
        raise InvalidRequest("no output folder is named", cure="Add -o with a folder.")


def _require_window() -> None:
    """Refuse in words where no window can be opened: Qt would end the process."""
    if find_spec("napari") is None or find_spec("qtpy") is None:
        raise InvalidRequest(
            "napari is not installed", cure='Install it: pip install "unetr-app[napari]".'
        )
    if sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    if os.environ.get("QT_QPA_PLATFORM", "") not in _WITHOUT_A_SCREEN:
        raise InvalidRequest(
            "there is no display to open a window on",
            cure="Run it on a desktop, or with ssh -X or xvfb-run; --list needs no window.",
        )


def _measure(worklist: Worklist) -> None:
    """Measure what nobody opened yet; a case that cannot be read is told of and left out."""
    from unetr_app.review.survey import survey_case, unsurveyed

    left = unsurveyed(worklist)
    with StopRequest() as stop, count_bar("measuring", quiet=False) as progress:
        for n, case_id in enumerate(left):
            if stop.is_made:
                break
            try:
                survey_case(worklist, case_id)
            except UnwritableOutput:
                raise
            except UnetrError as problem:
                note(f"{case_id}: {problem}")
            if progress is not None:
                progress(n + 1, len(left))


def _list(worklist: Worklist) -> int:
    """A line a case."""
    from unetr_app.review.decision import readable

    rows = worklist.rows()
    columns = ("Case", "Status", "Flag", ">Grade", ">Versions", "Reviewer", "When", "To look at")
    show_table(
        columns,
        [
            (
                row.case_id, row.status, "flagged" if row.flagged else "", str(row.grade or ""),
                str(row.versions or ""), row.reviewer, readable(row.when),
                str(row.problem) if row.problem else ", ".join(map(str, row.flags)),
            )
            for row in rows
        ],
    )  # fmt: skip
    for words in worklist.notes:
        note(words)
    decided = sum(row.status in ("accepted", "rejected") for row in rows)
    say(f"{decided} of {len(rows)} decided. Kept in {worklist.folder}")
    return ALL_DONE if rows else NONE_DONE


def _export(worklist: Worklist, kind: str, out: Path | None) -> int:
    from unetr_app.review.export import export_job

    assert out is not None
    with StopRequest() as stop, count_bar("exporting", quiet=False) as progress:
        result = export_job(
            worklist, _KINDS[kind], out, progress=progress, should_stop=lambda: stop.is_made
        )
    for words in result.warnings:
        note(words)
    say(str(result))
    if not result.written:
        return NONE_DONE
    return SOME_FAILED if result.failed else ALL_DONE
