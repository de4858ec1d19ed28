"""Progress: where a batch is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unetr_app.batch.outcome import Outcome

Stage = Literal["reading", "opening", "segmenting", "ended", "waiting"]


@dataclass(frozen=True)
class Progress:
    """One step of a batch.

    Args:
        stage: What happens: a case is read; the bundle is opened for it; it is segmented; it has
            ended; or all cases left are being done by other processes.
        case_id: The case concerned.
        windows: Windows segmented and windows in all, of this case.
        ended: Cases that ended so far.
        cases: Cases in all.
        outcome: How the case ended; None at the other stages.
        memory: Bytes that the process is expected to hold at most, told once a case before its
            first window; else 0.
    """

    stage: Stage
    case_id: str
    windows: tuple[int, int]
    ended: int
    cases: int
    outcome: Outcome | None = None
    memory: int = 0
