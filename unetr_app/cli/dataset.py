"""``unetr dataset``: images and their labels as a data set that a bundle trains on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import complain, counted, note, say, show_table
from unetr_app.cli.stopping import StopRequest
from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from unetr_app.datasets import FoundPairs, Made

_MOST_ROWS = 40

EXAMPLES = """Examples:
  unetr dataset hospital_export/ -o liver_set --labels "Liver,Tumour"
  unetr dataset scans/ -o set --labels "1=Anterior,2=Posterior"
  unetr dataset cases.csv -o set --rename "Leber=liver" --folds 4 --seed 7

  python -m monai.bundle run --config_file BUNDLE/configs/train.yaml \\
      --bundle_root BUNDLE --dataset_dir liver_set

Inputs are trees of DICOM series with SEG or RTSTRUCT objects that refer to them; pairs of files in
imagesTr and labelsTr, or a.nii.gz beside a_seg.nii.gz; or a CSV file with the columns image and
label, and case and subject if wanted. Folds are split by patient. Look at sheet.html before you
train. manifest.jsonl says where each case came from: keep it to yourself.

Exit codes: 0 all cases are in, 2 usage, 3 some are not, 4 none is.
"""


def command(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Folders, files, or CSV lists of images and labels."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder of the data set.")
    ],
    labels: Annotated[
        str,
        typer.Option(
            "--labels", metavar="NAMES", show_default="those that most cases have",
            help='As in "Liver,Tumour"; or "1=Liver,2=Tumour" for label maps without names.',
        ),
    ] = "",
    rename: Annotated[
        str,
        typer.Option("--rename", metavar="OLD=NEW", help='As in "Leber=liver,liver_2=liver".'),
    ] = "",
    later_wins: Annotated[
        bool,
        typer.Option("--later-wins", help="Of labels that overlap, keep the later of --labels."),
    ] = False,
    folds: Annotated[int, typer.Option("--folds", metavar="N", help="Folds.", min=2)] = 5,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Of the folds.", min=0)] = 0,
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", show_default="that of DIR", help="Of the set.")
    ] = "",
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print failures only.")] = False,
) -> None:  # fmt: skip
    """Make a data set for training: checked, with folds split by patient and a picture sheet.

    Cases that are done already are left as they are, unless inputs or options have changed.
    """
    from unetr_app.datasets import DatasetOptions, find_pairs, make_dataset

    if not str(out) or str(out) == ".":
        raise InvalidRequest("no output folder is named", cure="Add -o with a new folder.")
    options = DatasetOptions(name or out.name, labels, rename, folds, seed, later_wins)
    with StopRequest() as stop:
        with stop.at_once():
            found = find_pairs(inputs, out=str(out))
        _show_found(found, quiet=quiet)
        if not found.pairs:
            raise typer.Exit(NONE_DONE)
        with count_bar("making cases", quiet=quiet) as progress:
            made = make_dataset(found.pairs, out, options, progress=progress,
                                should_stop=lambda: stop.is_made)  # fmt: skip
        _show_made(made, found, out, quiet=quiet)
    raise typer.Exit(_exit_code(made, found))


def _exit_code(made: Made, found: FoundPairs) -> int:
    if not made.reports:
        return NONE_DONE
    return SOME_FAILED if made.failures or found.unmatched else ALL_DONE


def _show_found(found: FoundPairs, *, quiet: bool) -> None:
    for one in found.unmatched:
        complain(one.problem, program="failed")
    if not found.pairs:
        note("unetr dataset: no image with labels was found. See what is read: unetr dataset -h.")
    elif found.unlabelled and not quiet:
        note(f"{counted(found.unlabelled, 'image')} without labels left out")


def _show_made(made: Made, found: FoundPairs, out: Path, *, quiet: bool) -> None:
    for pair, error in made.failures:
        complain(f"{pair.id}: {error}", program="failed")
    if quiet:
        return
    for words in made.warnings:
        note(f"Warning: {words}")
    for row in made.reports:
        for words in row["warnings"]:
            note(f"Warning: {row['case_id']}: {words}")
    if made.reports and len(made.reports) <= _MOST_ROWS:
        columns = ("Case", ">Fold", *(f">{name} voxels" for name in made.names.names[:6]))
        show_table(columns, [
            (str(row["case_id"]), str(made.folds[row["case_id"]]),
             *(str(row["voxels"][label]) for label in made.names.names[:6]))
            for row in made.reports
        ])  # fmt: skip
    failed = len(made.failures) + len(found.unmatched)
    say(f"{counted(len(made.reports), 'case')} in the data set ({made.resumed} already there), "
        f"{failed} failed.")  # fmt: skip
    if made.reports:
        say(f"Written: {out / 'dataset.json'}; look at {out / 'sheet.html'}")
