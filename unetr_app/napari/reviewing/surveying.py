"""SurveyControl: cases that nobody opened yet are measured while the reviewer looks at another."""

from __future__ import annotations

import time
from typing import Any

from qtpy.QtCore import QTimer

from unetr_app.errors import UnetrError, UnwritableOutput
from unetr_app.napari.background.pool import Pool
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.cases import CaseControl
from unetr_app.review.survey import survey_case, unsurveyed

_EVERY_MS = 500
_TELL_EVERY_S = 3.0  # the table is drawn anew no more often
_STILL_S = 5.0  # after a case was shown: who goes on at once is not made to wait


class SurveyControl:
    """Measures one case after another in a thread, while the reviewer stays with a case.

    Args:
        bench: Shared by all controls.
        cases: Whose reading goes first.
    """

    def __init__(self, bench: Bench, cases: CaseControl):
        self._bench, self._cases = bench, cases
        self._background = Pool(workers=1)
        self._left: list[str] = []
        self._worklist: Any = None
        self._is_busy, self._told, self._shown = False, 0.0, 0.0
        self._timer = QTimer()
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self._next)
        bench.case_shown.connect(lambda _: self._begin())

    def close(self) -> None:
        """Stop; the case that is being measured is the last."""
        self._timer.stop()
        self._background.close()

    def _begin(self) -> None:
        """A case is shown; the first of a worklist: see what nobody measured yet."""
        self._shown = time.monotonic()
        if self._worklist is self._bench.worklist:
            return
        self._worklist = self._bench.worklist
        self._left = unsurveyed(self._worklist)
        self._timer.start()

    def _next(self) -> None:
        is_reading = not all(job.done() for job in self._cases.ahead)
        if self._is_busy or is_reading or time.monotonic() - self._shown < _STILL_S:
            return
        if not self._left:
            self._timer.stop()
            self._bench.rows_changed.emit()
            return
        case_id, worklist = self._left.pop(0), self._worklist
        self._is_busy = True
        self._background.run(
            lambda: survey_case(worklist, case_id), lambda _: self._done(), self._failed
        )

    def _done(self) -> None:
        self._is_busy = False
        if time.monotonic() - self._told > _TELL_EVERY_S:
            self._told = time.monotonic()
            self._bench.rows_changed.emit()

    def _failed(self, problem: UnetrError) -> None:
        """A case that cannot be read says so when it is opened; where nothing can be kept, stop."""
        if isinstance(problem, UnwritableOutput):
            self._left = []
        self._done()
