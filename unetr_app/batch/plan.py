"""A plan: what a batch would do with each case; made without doing or changing anything."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from unetr_app.batch.decision import decide, settle
from unetr_app.batch.fingerprint import Recipe
from unetr_app.batch.folder import OutputFolder
from unetr_app.batch.formats import require_sources
from unetr_app.batch.journal import Journal
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.segmenting import Card
from unetr_app.cases import Case
from unetr_app.errors import UnetrError, UnevenSlices
from unetr_app.io import read_geometry


@dataclass(frozen=True)
class Planned:
    """What would become of one case.

    Args:
        case_id: The case's folder in the output folder.
        input: The input as it was typed or found.
        action: Segment it, leave it, leave it to another process, or record its failure.
        reason: Why, in a few words.
    """

    case_id: str
    input: str
    action: Literal["do", "skip", "wait", "fail"]
    reason: str


def plan_batch(
    cases: Sequence[Case],
    card: Card,
    *,
    out: str | os.PathLike[str],
    options: BatchOptions | None = None,
) -> list[Planned]:
    """Say what `unetr_app.batch.runner.run_batch` would do, from headers and the manifest alone.

    Args:
        cases: With unique ids.
        card: The bundle's card.
        out: The output folder, which need not exist.
        options: As for the batch.

    Raises:
        UnwritableOutput: If the manifest of the output folder cannot be read.
    """
    options = options or BatchOptions()
    folder = OutputFolder(out, inputs=(path for case in cases for path in case.paths))
    rows = Journal(folder.root, folder.journal_lock).rows()
    recipe = Recipe.of(card, options)
    plan: list[Planned] = []
    for found in cases:
        case = settle(found, rows, folder)
        try:
            forgiven = options.regularise and isinstance(case.problem, UnevenSlices)
            if case.problem is not None and not forgiven:
                raise case.problem
            require_sources(case, options.formats)
            folder.check_free_of_inputs(case.id)
            decision = decide(
                case, rows.get(case.id), recipe=recipe, options=options, folder=folder
            )
            if decision.needed and case.geometry is None and not forgiven:
                read_geometry(case)  # headers show what is wrong with many a file
        except UnetrError as error:
            plan.append(Planned(case.id, case.input, "fail", str(error)))
            continue
        action = "do" if decision.needed else "skip"
        if decision.needed and folder.is_claimed(case.id):
            plan.append(Planned(case.id, case.input, "wait", "another process works on it"))
        else:
            plan.append(Planned(case.id, case.input, action, decision.reason))
    return plan
