from __future__ import annotations

import pytest

from unetr_app.batch.outcome import Outcome, Problem
from unetr_app.batch.progress import Progress
from unetr_app.cli.progress import BarProgress, PlainProgress, QuietProgress, progress_view

DONE = Outcome("a", "done", "a.nii", seconds=1.25)
SKIPPED = Outcome("b", "done", "b.nii", resumed=True)
FAILED = Outcome("c", "failed", "c.nii", error=Problem("x", "it is broken", "Mend it."))
STEPS = [
    Progress("reading", "a", (0, 0), 0, 3),
    Progress("opening", "a", (0, 0), 0, 3),
    Progress("segmenting", "a", (1, 2), 0, 3),
    Progress("ended", "a", (0, 0), 1, 3, DONE),
    Progress("ended", "b", (0, 0), 2, 3, SKIPPED),
    Progress("waiting", "c", (0, 0), 2, 3),
    Progress("waiting", "c", (0, 0), 2, 3),
    Progress("ended", "c", (0, 0), 3, 3, FAILED),
]


def show(view: PlainProgress | BarProgress, capsys: pytest.CaptureFixture[str]) -> str:
    with view:
        for step in STEPS:
            view(step)
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_plain_progress_is_a_line_for_each_end_and_wait(capsys: pytest.CaptureFixture[str]):
    assert show(PlainProgress(), capsys).splitlines() == [
        "[1/3] a: done in 1.2 s",
        "[2/3] b: already done",
        "[2/3] c: waiting for another process",
        "[3/3] c: failed: it is broken. Mend it.",
    ]


def test_quiet_progress_is_failures_alone(capsys: pytest.CaptureFixture[str]):
    assert show(QuietProgress(), capsys) == "[3/3] c: failed: it is broken. Mend it.\n"


def test_the_bar_shows_case_stage_and_count(capsys: pytest.CaptureFixture[str]):
    last = show(BarProgress(), capsys).splitlines()[-1]
    assert "c: done" in last or "c: failed" in last
    assert "3/3" in last


def test_no_bar_is_drawn_into_a_pipe():
    assert type(progress_view(quiet=False)) is PlainProgress
    assert type(progress_view(quiet=True)) is QuietProgress
