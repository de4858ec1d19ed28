"""``unetr deidentify``: DICOM files to give away, without what tells whose they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import counted, note, say
from unetr_app.cli.stopping import StopRequest
from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from unetr_app.io.dicom.deidentify import Ended, Exported

_MOST_LISTED = 1000

EXAMPLES = """Examples:
  unetr deidentify dicom/ -o export --uid-map ~/private/study.json
  unetr deidentify dicom/ -o export --keep-dates shift --uid-map ~/private/study.json
  unetr deidentify dicom/looked_at/ -o export2 --accept-pixels

PS3.15 Basic Application Level Confidentiality Profile; pixels and geometry stay as they are.
Faces are not removed: from a CT or MR of the head a face can be drawn.

Exit codes: 0 all done, 2 usage (nothing was begun), 3 some files failed or were refused,
4 none done, 130 and 143 stopped by a signal.
"""


def command(
    inputs: Annotated[
        list[str], typer.Argument(metavar="INPUT", help="DICOM files, and folders to search.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="A new folder, outside INPUT.")
    ],
    uid_map: Annotated[
        str,
        typer.Option(
            "--uid-map", metavar="FILE", show_default=False,
            help="Keep old and new identifiers here, outside DIR, and use them again in later "
            "runs. Without it nobody can go back, and nothing can be added to DIR.",
        ),
    ] = "",
    dates: Annotated[
        str,
        typer.Option(
            "--keep-dates", metavar="shift|remove",
            help="Replace dates, or move each patient's back by the same number of days.",
        ),
    ] = "remove",
    keep_characteristics: Annotated[
        bool,
        typer.Option(
            "--keep-patient-characteristics",
            help="Keep sex, age (up to 89), size and weight, as PET's SUV needs.",
        ),
    ] = False,
    accept_pixels: Annotated[
        bool,
        typer.Option(
            "--accept-pixels",
            help="Take images that may show text: only for those that you have looked at.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say failures only.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:  # fmt: skip
    """Copy DICOM files without what tells whose they are."""
    from unetr_app.io.dicom.deidentify import Choices, deidentify

    if dates not in ("shift", "remove"):
        raise InvalidRequest("--keep-dates is neither shift nor remove", cure="Write one of them.")
    choices = Choices(
        dates=cast('Literal["shift", "remove"]', dates), accept_pixels=accept_pixels,
        keep_characteristics=keep_characteristics,
    )  # fmt: skip
    with StopRequest() as stop, _progress(quiet=quiet or as_json) as progress:
        exported = deidentify(
            inputs, out, choices=choices, uid_map=uid_map or None, progress=progress,
            should_stop=lambda: stop.is_made,
        )  # fmt: skip
    if as_json:
        say(json.dumps(_as_dict(exported, out)))
    else:
        _show(exported, out, quiet=quiet)
    if not exported.count("done", "already done", "copy"):
        raise typer.Exit(NONE_DONE)
    raise typer.Exit(SOME_FAILED if exported.count("failed") else ALL_DONE)


@contextmanager
def _progress(*, quiet: bool) -> Generator[Callable[[int, int, Ended | None], None]]:
    """A bar on a terminal; a line for each file that fails, everywhere."""
    failed = 0
    with count_bar("Removing identities", quiet=quiet) as bar:

        def told(looked_at: int, of: int, ended: Ended | None) -> None:
            nonlocal failed
            if bar is not None:
                bar(looked_at, of)
            if ended is not None and ended.error is not None:
                failed += 1
                if failed <= _MOST_LISTED:
                    note(f"failed: {ended.error}")

        yield told
    if failed > _MOST_LISTED:
        note(f"and {failed - _MOST_LISTED} more failed")


def _show(exported: Exported, out: Path, *, quiet: bool) -> None:
    done, there = exported.count("done"), exported.count("already done")
    copies, failed = exported.count("copy"), exported.count("failed")
    extra = [f"{there} already done"] * bool(there) + [f"{copies} copies of them left out"] * bool(
        copies
    )
    if not quiet:
        say(
            f"{counted(done, 'file')} written in {len(exported.series)} series to {out}"
            + "".join(f", {words}" for words in extra)
            + f"; {failed} failed or refused; {exported.passed_over} passed over (not DICOM)."
        )
    if exported.faces:
        note(
            f"Warning: {counted(exported.faces, 'file')} of the head: a face can be drawn from "
            "such images. Remove faces by other means before you give them away."
        )


def _as_dict(exported: Exported, out: Path) -> dict[str, Any]:
    return {
        "output": str(out),
        "written": exported.count("done"),
        "already_done": exported.count("already done"),
        "copies": exported.count("copy"),
        "failed": [
            {"file": Path(one.path).name, "code": one.error.code, "cause": one.error.what,
             "cure": one.error.cure}
            for one in exported.ended if one.error is not None
        ],
        "passed_over": exported.passed_over,
        "series": sorted(exported.series),
        "may_show_faces": exported.faces,
    }  # fmt: skip
