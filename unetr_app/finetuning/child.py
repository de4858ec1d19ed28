"""Child process of a fine-tuning: trains, or scores, and ends when its parent does.

    python -P -m unetr_app.finetuning.child JOB.json

A job says its ``kind``; see `_train` and `_score`. What it raises is written to the job's
``error`` file, and how much memory it took to its ``done`` file.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from unetr_app.errors import UnetrError
from unetr_app.io.atomic import write_json

ORPHANED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FREE = "Free some space and run the same command again."


def main(job_file: str) -> int:
    """Do a job.

    Args:
        job_file: JSON.

    Returns:
        The exit code.
    """
    job: dict[str, Any] = json.loads(Path(job_file).read_text(encoding="utf-8"))
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    try:
        {"train": _train, "score": _score}[job["kind"]](job)
    except Exception as error:  # a bundle may raise anything
        _tell(error, Path(job["error"]))
        raise
    write_json(job["done"], {"peak_bytes": _peak_bytes()})
    return 0


def _end_with_the_parent() -> None:
    """The parent holds the other end of our standard input, and never writes to it."""
    while os.read(0, 1):  # sys.stdin would be locked when the interpreter ends
        pass
    os._exit(ORPHANED)


def _train(job: dict[str, Any]) -> None:
    """`python -m monai.bundle run` on the training config.

    The job names the ``bundle``, the ``config`` in it and the ``overrides``, a JSON file.
    """
    import runpy

    sys.path.insert(0, job["bundle"])
    sys.argv = [
        "monai.bundle", "run", "--config_file", job["config"], "--bundle_root", job["bundle"],
        "--args_file", job["overrides"],
    ]  # fmt: skip
    runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)


def _score(job: dict[str, Any]) -> None:
    """Segment the held-out cases as ``unetr segment`` does, and compare.

    The job names the ``bundle``, the ``device``, the ``cases`` (``key``, ``image``, ``label``) and
    the file for the ``scores``: a list of rows as `unetr_app.finetuning.result.read_scores` reads
    them, written after each case. Cases that are in it already are not done again.
    """
    from unetr_app.evaluation import compare
    from unetr_app.finetuning.result import read_scores
    from unetr_app.inference import Segmenter
    from unetr_app.io import read_label_map, read_volume

    scores = Path(job["scores"])
    rows = [*read_scores(scores)]
    known = {row["case"] for row in rows}
    todo = [case for case in job["cases"] if case["key"] not in known]
    if not todo:
        return
    segmenter = Segmenter.open(job["bundle"], device=job["device"])
    for case in todo:
        found = segmenter.segment(read_volume(case["image"]))
        truth = read_label_map(case["label"], segmenter.card.labels)
        dice = {str(row.value): row.dice for row in compare(found, truth)}
        rows.append({"case": case["key"], "dice": dice})
        write_json(scores, rows)


def _tell(error: Exception, path: Path) -> None:
    """Write what was found at the root of a chain of errors, with its cure."""
    chain: list[BaseException] = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    full = next((one for one in chain if getattr(one, "errno", 0) in _FULL), None)
    ours = next((one for one in chain if isinstance(one, UnetrError)), None)
    said = " ".join(str(chain[-1]).split())[:300] or "no message"
    row = {"code": "", "what": f"{type(chain[-1]).__name__}: {said}", "cure": ""}
    if isinstance(ours, UnetrError):
        row = {"code": ours.code, "what": ours.cause, "cure": ours.cure}
    elif full is not None:
        row = {"code": "unwritable-output", "what": "the disk is full", "cure": _FREE}
    elif "out of memory" in said.lower() or isinstance(chain[-1], MemoryError):
        row["code"] = "device-memory"
    write_json(path, row)


def _peak_bytes() -> int:
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
