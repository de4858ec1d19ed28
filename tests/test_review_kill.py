"""Kill: a process that dies while it paints and saves loses at most the stroke under way."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.review_out import made, write_out
from unetr_app.review.decision import Decision
from unetr_app.review.versions import Versions
from unetr_app.review.worklist import open_worklist

CHILD = """
import sys
import numpy as np
from unetr_app.review.decision import Decision
from unetr_app.review.editing.change import Change
from unetr_app.review.worklist import open_worklist

desk = open_worklist(sys.argv[1]).open("case_1", "anna")
n = int(sys.argv[2])
print("open", flush=True)
while True:
    # Stroke n gives voxel n the value 1 or 2: what is there says which strokes were done.
    print(f"begin {n}", flush=True)
    where = np.array([10 * n])
    old = desk.history.data.reshape(-1)[where]
    if old[0] == 0:
        desk.history.apply(Change("brush", where, old, np.full(1, 1 + n % 2, old.dtype)))
    print(f"done {n}", flush=True)
    n += 1
    if n % 3 == 0:
        desk.save()
        print(f"saved {n}", flush=True)
    if n % 4 == 0:
        desk.record(Decision("accepted"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is not there")
def test_whatever_the_moment_all_but_the_last_stroke_is_there(tmp_path: Path) -> None:
    out = write_out(tmp_path, 1)
    moments = random.Random(7)
    prediction = made(1)[1].label_map.reshape(-1)
    free = [n for n in range(1, 900) if not prediction[10 * n]]
    for _ in range(4):
        next_stroke = strokes_done(out) + 1
        said = killed(out, next_stroke, moments.uniform(0.0, 0.5))
        begun = [int(words.split()[1]) for words in said if words.startswith("begin")]
        done = [int(words.split()[1]) for words in said if words.startswith("done")]
        saved = [words for words in said if words.startswith("saved")]
        worklist = open_worklist(out)
        with worklist.open("case_1", "bert") as desk:  # the lock is free at once
            flat = desk.history.data.reshape(-1)
            for n in free:
                if n <= max(done, default=next_stroke - 1):
                    assert flat[10 * n] == 1 + n % 2, f"stroke {n} is lost"
                elif n > max(begun, default=0):
                    assert flat[10 * n] == 0, f"stroke {n} was never made"
            versions = Versions(worklist.case_folder("case_1").versions)
            assert len(versions.all()) == len(versions.numbers())
            for version in versions.all():
                versions.read(version, desk.loaded.geometry)
            assert len(versions.all()) >= len(saved)
            assert not [w for w in desk.warnings if "damaged" in w or "set aside" in w]
            desk.record(Decision("accepted"))
        assert worklist.row("case_1").status == "accepted"
        assert np.array_equal(worklist.load("case_1").prediction.data, made(1)[1].data)
    assert strokes_done(out) > 4


def strokes_done(out: Path) -> int:
    """The last stroke, by the voxel that it painted."""
    labels = open_worklist(out).load("case_1").labels
    flat, prediction = labels.label_map.reshape(-1), made(1)[1].label_map.reshape(-1)
    return max((n for n in range(1, 900) if flat[10 * n] != prediction[10 * n]), default=0)


def killed(out: Path, first: int, after: float) -> list[str]:
    """What the child said of its strokes before it was killed, so many seconds after it began."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(out), str(first)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "open\n"
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    said, _ = child.communicate()
    return [line for line in said.splitlines() if line.count(" ") == 1]
