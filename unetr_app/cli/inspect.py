"""``unetr inspect``: the cases there are, their geometry and their problems, from headers alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unetr_app.cli import pacs
from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED, USAGE
from unetr_app.cli.screen import complain, counted, note, say, show_table
from unetr_app.cli.series_rules import (
    DescriptionOption,
    ModalityOption,
    RulesOption,
    SlicesOption,
    chosen_rules,
)

if TYPE_CHECKING:
    from unetr_app.cases import Case, Found, Rules
    from unetr_app.geometry import Geometry

EXAMPLES = """Examples:

unetr inspect scans/ dicom/

unetr inspect scans.zip --json

unetr inspect scans/ --modality CT,MR --min-slices 20

unetr inspect brats/ --bundle my_bundle/

unetr inspect dicomweb://pacs.example.org/dicom-web --study UID

Exit codes: 0 all fine, 2 usage, 3 some have problems, 4 none usable.
"""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Images, and folders to search: NIfTI, NRRD, MHA, DICOM; zip archives of them; or "
            "a PACS: dicomweb://HOST[:PORT]/PATH.",
        ),
    ],
    bundle: Annotated[
        str,
        typer.Option(
            "--bundle", "-b", metavar="NAME|DIR",
            help="Cases as this bundle takes them: with its number of channels.",
        ),
    ] = "",
    study: pacs.StudyOption = "",
    series: pacs.SeriesOption = None,
    download: pacs.DownloadOption = "",
    plain_http: pacs.PlainHttpOption = False,
    modality: ModalityOption = "",
    description: DescriptionOption = "",
    min_slices: SlicesOption = 0,
    rules: RulesOption = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Show what was set aside too: localizers, reports.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table, with all there is.")
    ] = False,
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
            code = _inspect(
                local, bundle, partial(chosen_rules, modality, description, min_slices, rules),
                everything=everything, as_json=as_json,
            )  # fmt: skip
        raise typer.Exit(remote.exit_code(code) if remote else code)


def _inspect(
    inputs: Sequence[str], bundle: str, find_rules: Callable[[], Rules | None], *,
    everything: bool, as_json: bool,
) -> int:  # fmt: skip
    from unetr_app.bundle import read_card
    from unetr_app.cases import survey
    from unetr_app.cli.progress import count_bar
    from unetr_app.errors import InvalidRequest, UnusableBundle

    try:
        chosen = find_rules()
        channels = read_card(bundle).channels if bundle else ()
        with count_bar("looking at files", quiet=False) as bar:
            found = survey(inputs, channels=channels, rules=chosen, on_progress=bar)
    except (InvalidRequest, UnusableBundle) as error:
        complain(error, program="unetr inspect")
        return USAGE
    judged = [(case, *_judge(case)) for case in found.cases]
    aside = [(case, None, str(case.problem)) for case in found.aside]
    for said in found.notes:
        note(f"unetr inspect: {said}")
    if as_json:
        rows = [_as_dict(*row, aside=False) for row in judged]
        say(json.dumps(rows + [_as_dict(*row, aside=True) for row in aside]))
    else:
        _show([_row(*row) for row in judged + (aside if everything else [])], found)
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


def _as_dict(
    case: Case, geometry: Geometry | None, problem: str, *, aside: bool
) -> dict[str, Any]:  # fmt: skip
    return {
        "case_id": case.id,
        "kind": "not-a-volume" if case.form == "dicom" else case.form or "unknown",
        "modality": case.modality,
        "shape": None if geometry is None else list(geometry.shape),
        "spacing": None if geometry is None else list(geometry.spacing),
        "orientation": None if geometry is None else geometry.orientation,
        "affine": None if geometry is None else geometry.affine.tolist(),
        "input": case.input,
        "files": list(case.names or case.paths),
        "problems": [problem] if problem else [],
        "warnings": list(case.warnings),
        "set_aside": aside,
        "geometry_report": case.report,
    }


def _show(rows: list[tuple[str, ...]], found: Found) -> None:
    columns = ("Case", "Kind", "Modality", ">Shape", ">Spacing mm", "Axes", "Problem or warning")
    if rows:
        show_table(columns, rows)
    words = [
        counted(len(found.cases), "case"),
        f"{counted(found.passed_over, 'file')} passed over (no images)",
    ]
    if found.set_aside:
        words.append(f"{counted(found.set_aside, 'DICOM file')} set aside (no volumes)")
    if found.left_out:
        words.append(f"{counted(found.left_out, 'image')} left out by the rules")
    *most, last = words
    say(f"{most[0]}; {', '.join([*most[1:], last])}.")
