"""``unetr inspect``: the cases there are, their geometry and their problems, from headers alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli import pacs
from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED, USAGE
from unetr_app.cli.screen import complain, counted, say, show_table

if TYPE_CHECKING:
    from unetr_app.cases import Case, Found
    from unetr_app.geometry import Geometry

EXAMPLES = """Examples:

unetr inspect scans/ dicom/

unetr inspect scans/ --json

unetr inspect brats/ --bundle my_bundle/

unetr inspect dicomweb://pacs.example.org/dicom-web --study UID

Exit codes: 0 all fine, 2 usage, 3 some have problems, 4 none usable.
"""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Images, and folders to search: NIfTI, NRRD, MHA, DICOM; or a PACS: "
            "dicomweb://HOST[:PORT]/PATH.",
        ),
    ],
    bundle: Annotated[
        str,
        typer.Option(
            "--bundle", "-b", metavar="NAME|DIR",
            help="Cases as this bundle takes them: with its number of channels.",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    study: pacs.StudyOption = "",
    series: pacs.SeriesOption = None,
    download: pacs.DownloadOption = "",
    plain_http: pacs.PlainHttpOption = False,
) -> None:  # fmt: skip
    """Show which cases there are, with shape, spacing, orientation and problems.

    Headers are read, voxels are not: a file that is damaged further on still looks fine here. Of a
    study in a PACS the series are listed, and retrieved and judged only with --download.
    """
    asked = pacs.Asked(study, tuple(series or ()), download, plain_http)
    with pacs.remote_input(inputs, asked) as remote:
        if remote and not download:
            raise typer.Exit(remote.show(as_json=as_json))
        with pacs.local_input(inputs, remote, quiet=as_json) as local:
            code = _inspect(local, bundle, as_json=as_json)
        raise typer.Exit(remote.exit_code(code) if remote else code)


def _inspect(inputs: Sequence[str], bundle: str, *, as_json: bool) -> int:
    from unetr_app.bundle import read_card
    from unetr_app.cases import survey
    from unetr_app.errors import InvalidRequest, UnusableBundle

    try:
        found = survey(inputs, channels=read_card(bundle).channels if bundle else ())
    except (InvalidRequest, UnusableBundle) as error:
        complain(error, program="unetr inspect")
        return USAGE
    judged = [(case, *_judge(case)) for case in found.cases]
    if as_json:
        say(json.dumps([_as_dict(*row) for row in judged]))
    else:
        _show([_row(*row) for row in judged], found)
    bad = sum(1 for _, _, problem in judged if problem)
    if bad == len(judged):
        return NONE_DONE
    return SOME_FAILED if bad else ALL_DONE


def _judge(case: Case) -> tuple[Geometry | None, str]:
    """The case's grid, or why it has none."""
    from unetr_app.errors import UnetrError
    from unetr_app.io import read_geometry

    try:
        if case.problem is not None:
            raise case.problem
        return case.geometry or read_geometry(case), ""
    except UnetrError as problem:
        return None, str(problem)


def _row(case: Case, geometry: Geometry | None, problem: str) -> tuple[str, ...]:
    return (
        case.id,
        case.form or "unknown",
        case.modality or "-",
        "-" if geometry is None else " x ".join(map(str, geometry.shape)),
        "-" if geometry is None else " x ".join(f"{mm:.4g}" for mm in geometry.spacing),
        "-" if geometry is None else geometry.orientation,
        problem or "; ".join(case.warnings) or "-",
    )


def _as_dict(case: Case, geometry: Geometry | None, problem: str) -> dict[str, Any]:
    return {
        "case_id": case.id,
        "kind": case.form or "unknown",
        "modality": case.modality,
        "shape": None if geometry is None else list(geometry.shape),
        "spacing": None if geometry is None else list(geometry.spacing),
        "orientation": None if geometry is None else geometry.orientation,
        "affine": None if geometry is None else geometry.affine.tolist(),
        "input": case.input,
        "files": list(case.paths),
        "problems": [problem] if problem else [],
        "warnings": list(case.warnings),
    }


def _show(rows: list[tuple[str, ...]], found: Found) -> None:
    columns = ("Case", "Kind", "Modality", ">Shape", ">Spacing mm", "Axes", "Problem or warning")
    if rows:
        show_table(columns, rows)
    say(f"{counted(len(rows), 'case')}; "
        f"{counted(found.passed_over, 'file')} passed over (no images)"
        + (f", {counted(found.set_aside, 'DICOM file')} set aside (no volumes)."
           if found.set_aside else "."))  # fmt: skip
