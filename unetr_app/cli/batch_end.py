"""What a finished batch says: a table of its cases, what failed, and the exit code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED, USAGE
from unetr_app.cli.progress import result_words
from unetr_app.cli.screen import counted, note, say, show_table
from unetr_app.errors import InvalidRequest, UnusableBundle
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.outputs import MANIFEST, SUMMARY, read_measurements

if TYPE_CHECKING:
    from unetr_app.batch.outcome import BatchResult, Outcome

_MOST_ROWS = 24  # longer lists of cases are left to summary.csv
_MOST_LABELS = 4  # more columns do not fit a screen


def exit_code(result: BatchResult | None) -> int:
    """What a finished batch means to the shell; None where there was nothing to do."""
    if result is None:
        return NONE_DONE
    if not result.failed and not result.remaining:
        return ALL_DONE
    if result.done or result.skipped:
        return SOME_FAILED
    unusable = isinstance(result.stopped, (UnusableBundle, InvalidRequest))
    return USAGE if unusable else NONE_DONE


def show_cases(result: BatchResult, out: str) -> None:
    """A table of all cases, or of those that need attention where there are many."""
    shown = list(result)
    if len(shown) > _MOST_ROWS:
        shown = [o for o in shown if o.error is not None or o.warnings]
    volumes = {o.case_id: _millilitres(o, out) for o in shown}
    names = list(dict.fromkeys(name for found in volumes.values() for name in found))
    if len(names) > _MOST_LABELS:
        names = []
    columns = ("Case", "Result", ">Seconds", *(f">{name} ml" for name in names))
    rows = [
        (
            o.case_id,
            result_words(o),
            "-" if o.resumed else f"{o.seconds:.1f}",
            *(f"{volumes[o.case_id][n]:.3f}" if n in volumes[o.case_id] else "-" for n in names),
        )
        for o in shown
    ]
    if rows:
        show_table(columns, rows)
    for outcome in shown:
        for warning in outcome.warnings:
            say(f"Warning: {outcome.case_id}: {warning}")


def _millilitres(outcome: Outcome, out: str) -> dict[str, float]:
    if outcome.status != "done":
        return {}
    rows = read_measurements(Path(out) / outcome.case_id)
    return {row["name"]: row["millilitres"] for row in rows}


def show_end(result: BatchResult, out: str, *, quiet: bool) -> None:
    """What failed, how many of each, and where the results are."""
    show = note if quiet else say
    if not quiet:
        for outcome in result.failed:
            if str(outcome.error) != str(result.stopped):  # which is said below
                show(f"Failed: {outcome.case_id}: {outcome.error}")
    if result.stopped is not None:
        show(f"Stopped: {' '.join(str(result.stopped).split())}")
    if quiet and not result.failed and not result.remaining:
        return
    show(
        f"{counted(result.inputs, 'input')} = {len(result.done)} done + {len(result.failed)} failed"
        f" + {len(result.skipped)} already done + {len(result.remaining)} remaining"
    )
    if len(result) and not quiet:
        show(f"Results are in {out}: a folder for each case done, {SUMMARY}, {MANIFEST}")
        show(RESEARCH_NOTICE)
