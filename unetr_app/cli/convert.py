"""``unetr convert``: a SEG, RTSTRUCT, label map or image in another format."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.screen import note, say
from unetr_app.cli.stopping import StopRequest
from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from unetr_app.datasets import Converted

EXAMPLES = """Examples:
  unetr convert segmentation.dcm -o labels.nii.gz
  unetr convert rtstruct.dcm -o labels.seg.nrrd --reference ct_series/
  unetr convert ct_series/ -o ct.nii.gz
  unetr convert labels.nrrd -o labels.nii.gz

What the labels are is written beside them, as labels.json. Where labels overlap, each becomes a
file of its own. Everything is read back and compared before it appears under its name.

Exit codes: 0 done, 2 usage, 4 the input cannot be converted.
"""


def command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A DICOM SEG or RTSTRUCT, a NIfTI, NRRD or MHA file, or the folder of a series.",
        ),
    ],
    out: Annotated[
        str,
        typer.Option(
            "-o", "--output", metavar="OUT",
            help="Ends in .nii.gz, .nii, .nrrd or .mha; or a folder.",
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference", metavar="SERIES",
            help="The images that labels were drawn on: the output lies on their grid. An "
                 "RTSTRUCT needs them; those beside it are found.",
        ),
    ] = "",
    case_id: Annotated[
        str,
        typer.Option(
            "--case", metavar="ID", show_default="the only one",
            help="Which image, where there are several, such as phases: see unetr inspect.",
        ),
    ] = "",
    regularise: Annotated[
        bool, typer.Option("--regularise", help="Resample DICOM slices at uneven distances.")
    ] = False,
    as_image: Annotated[
        bool, typer.Option("--image", help="The file is an image, though it looks like labels.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of lines.")] = False,
) -> None:  # fmt: skip
    """Convert a segmentation, a structure set, a label map or an image.

    What the input is, is told by its content.
    """
    from unetr_app.datasets import convert

    if not out:
        raise InvalidRequest("no output is named", cure="Add -o with a file or a folder.")
    with StopRequest() as stop, stop.at_once():
        done = convert(
            source, out, reference=reference, case_id=case_id, as_image=as_image,
            regularise=regularise, overwrite=overwrite,
        )  # fmt: skip
    if as_json:
        say(json.dumps(_as_dict(done)))
        return
    for words in done.warnings:
        note(f"Warning: {words}")
    for path in done.files:
        say(f"Written: {path}")
    if done.labels:
        say(f"Labels: {', '.join(done.labels)}")


def _as_dict(done: Converted) -> dict[str, list[str]]:
    return {
        "files": [str(path) for path in done.files],
        "labels": list(done.labels),
        "warnings": list(done.warnings),
    }
