"""run_batch: one segmenter over many cases, so that no case can spoil another."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from unetr_app.batch.folder import OutputFolder
from unetr_app.batch.journal import Journal, Row
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import BatchResult
from unetr_app.batch.pipeline import Pipeline
from unetr_app.batch.progress import Progress
from unetr_app.batch.report import write_summary
from unetr_app.batch.segmenting import SegmentsVolumes
from unetr_app.batch.work import CaseWorker
from unetr_app.cases import Case
from unetr_app.errors import UnetrError, UnwritableOutput


def run_batch(
    cases: Sequence[Case],
    segmenter: SegmentsVolumes,
    *,
    out: str | os.PathLike[str],
    options: BatchOptions | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> BatchResult:
    """Segment cases into an output folder; done ones are left, failed ones recorded.

    A case is done again where its input, the bundle, the options or its results have changed.
    Several processes may work on one folder at a time: each case is done by one of them.

    Args:
        cases: With unique ids, as `unetr_app.cases.find_cases` gives them.
        segmenter: The opened bundle, or one that opens itself on demand.
        out: The output folder; made where it is missing.
        options: Which results are wanted, and how.
        on_progress: Hears of each step, in the thread of the caller.
        should_stop: Asked often; once it says yes, the case at hand is dropped and the batch ends.

    Returns:
        The outcomes; cases left over and why, where the batch was stopped.

    Raises:
        UnwritableOutput: If the output folder cannot be made or read.

    Example:
        >>> segmenter = Segmenter.open("hippocampus_mr_unetr_segmentation")  # doctest: +SKIP
        >>> run_batch(find_cases("scans"), segmenter, out="results").failed  # doctest: +SKIP
        ()
    """
    options = options or BatchOptions()
    folder = OutputFolder(out, inputs=(path for case in cases for path in case.paths))
    folder.prepare()
    journal = Journal(folder.root, folder.journal_lock)
    worker = CaseWorker(folder, journal, segmenter.card, options)
    run = Pipeline(
        cases, segmenter, worker,
        jobs=options.jobs_within_limit,
        on_progress=on_progress or (lambda progress: None),
        should_stop=should_stop or (lambda: False),
    )  # fmt: skip
    try:
        stopped = run.to_the_end()
    finally:
        untold = _close(folder, journal)
    result = BatchResult(run.outcomes, run.remaining, worker.stopped or stopped or untold)
    if result.inputs != len(cases):
        raise AssertionError(f"{len(cases)} inputs, but {result.inputs} are accounted for")
    return result


def _close(folder: OutputFolder, journal: Journal) -> UnetrError | None:
    """Compact the manifest, renew the summary, clear away what is not needed."""
    try:
        journal.compact(lambda rows: _summarise(folder.root, rows))
    except UnwritableOutput as error:
        return error
    finally:
        folder.tidy()
    return None


def _summarise(out: Path, rows: Mapping[str, Row]) -> None:
    if rows:
        write_summary(out, rows)
