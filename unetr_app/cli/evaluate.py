"""``unetr evaluate``: how well segmentations agree with a reference."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED
from unetr_app.cli.progress import count_bar
from unetr_app.cli.screen import complain, counted, note, say, show_table
from unetr_app.cli.stopping import StopRequest

if TYPE_CHECKING:
    from unetr_app.evaluation.summary import LabelSummary
    from unetr_app.scoring import Score

_LISTED = 10  # ids of unmatched cases on the screen
_MOST_LABELS = 16  # on the screen; of more, all together are shown

EXAMPLES = """Examples:
  unetr evaluate results/ labelsTr/ -o evaluation
  unetr evaluate results/ labelsTr/ --labels "1=Anterior,2=Posterior" --tolerance 2
  unetr evaluate prediction.nii.gz reference.nii.gz

Exit codes: 0 all compared, 2 usage, 3 some failed or have no partner, 4 none compared.
"""


def command(
    prediction: Annotated[
        Path, typer.Argument(metavar="PRED", help="Output folder of unetr segment, folder or file.")
    ],
    reference: Annotated[Path, typer.Argument(metavar="REF", help="Folder or file of references.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for the report.")
    ] = None,
    labels: Annotated[
        str, typer.Option("--labels", metavar="NAMES", help='As in "1=Anterior,2=Posterior".')
    ] = "",
    tolerance: Annotated[
        float, typer.Option("--tolerance", metavar="MM", help="Of the surface Dice.", min=0.0)
    ] = 1.0,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Images, to draw the cases over.")
    ] = None,
    pictures: Annotated[
        int, typer.Option("--pictures", metavar="N", help="How many of the worst to draw.", min=0)
    ] = 6,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Compare label maps with their references, case by case and label by label.

    Cases are matched by their id: PRED/<case_id>/labels.nii.gz or PRED/<case_id>.nii.gz (.nii,
    .nrrd, .mha), and the same in REF. With -o, DIR gets cases.csv, summary.json and report.html.
    """
    from unetr_app.errors import InvalidRequest
    from unetr_app.scoring import find_labels, find_pairs, parse_labels, score, write_report

    if images is not None and not images.is_dir():
        raise InvalidRequest("--images is no folder", path=images)
    given = parse_labels(labels) if labels else None
    pairs = find_pairs(prediction, reference)
    known = find_labels(pairs) if given is None else given
    with StopRequest() as stop:
        with count_bar("comparing", quiet=quiet) as progress:
            result = score(pairs, known, tolerance_mm=tolerance, progress=progress,
                           should_stop=lambda: stop.is_made)  # fmt: skip
        _show(result)
        if out is not None:
            with count_bar("drawing", quiet=quiet) as progress:
                files = write_report(
                    result, out, known, images=images, pictures=pictures, progress=progress
                )
            for path in files:
                say(f"Written: {path}")
    raise typer.Exit(_exit_code(result))


def _exit_code(result: Score) -> int:
    if not result.cases:
        return NONE_DONE
    return ALL_DONE if result.is_complete else SOME_FAILED


def _show(result: Score) -> None:
    """Print what failed, what had no partner, and the summary."""
    for failure in result.failures:
        complain(f"{failure.case_id}: {failure}", program="failed")
    for words, ids in (
        ("without a reference", result.pairs.only_predicted),
        ("without a prediction", result.pairs.only_reference),
    ):
        if ids:
            more = f" and {len(ids) - _LISTED} more" if len(ids) > _LISTED else ""
            note(f"{words}: {', '.join(ids[:_LISTED])}{more}")
    if result.summaries:
        _show_summaries(result.summaries)
        say(f"Surface Dice at {result.tolerance_mm:g} mm. Volume: prediction minus reference.")
    unmatched = len(result.pairs.only_predicted) + len(result.pairs.only_reference)
    say(f"{len(result.cases)} compared, {len(result.failures)} failed, {unmatched} unmatched.")


def _show_summaries(summaries: list[LabelSummary]) -> None:
    """A table; of very many labels, their mean alone."""
    *labels, together = summaries
    shown = summaries if len(labels) <= _MOST_LABELS else [together]
    columns = ("Label", "Metric", ">Cases", ">Mean", ">95 % interval", ">Median")
    show_table(columns, [row for summary in shown for row in _rows(summary)])
    if len(shown) < len(summaries):
        note(f"{counted(len(labels), 'label')}, not shown one by one: with -o DIR they are written")


def _rows(summary: LabelSummary) -> Generator[tuple[str, ...]]:
    """A line for each metric of a label."""
    from unetr_app.evaluation.metrics import METRICS

    for metric in METRICS:
        found = summary.metrics[metric.key]
        interval = " to ".join(metric.format(bound) for bound in found.interval or (None,))
        yield (
            summary.name, metric.heading, str(found.cases), metric.format(found.mean), interval,
            metric.format(found.median),
        )  # fmt: skip
