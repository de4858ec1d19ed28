"""Pipeline: cases are read ahead and written behind, while the network runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from typing import Any

from unetr_app.batch.outcome import Outcome
from unetr_app.batch.progress import Progress, Stage
from unetr_app.batch.segmenting import OnDemand, SegmentsVolumes
from unetr_app.batch.work import CaseWorker, Loaded
from unetr_app.cases import Case
from unetr_app.errors import Cancelled, UnetrError

_PATIENCE = 0.1  # seconds between two looks at should_stop and at other processes' claims


class _AtOnce(Executor):
    """Runs what is submitted there and then."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Pipeline:
    """A batch on its way: the network runs in the thread of the caller, one case at a time.

    Args:
        cases: What is to be done, in this order.
        segmenter: Takes the volumes.
        worker: Reads and writes.
        jobs: How many cases are read ahead, and how many are written; 0 does all in one thread.
        on_progress: Hears of each step, in the thread of the caller.
        should_stop: Asked often.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        segmenter: SegmentsVolumes,
        worker: CaseWorker,
        *,
        jobs: int,
        on_progress: Callable[[Progress], None],
        should_stop: Callable[[], bool],
    ):
        self._on_progress = on_progress
        self._should_stop = should_stop
        self._cases = cases
        self._segmenter = segmenter
        self._worker = worker
        self._jobs = jobs
        self._ended: dict[int, Outcome] = {}
        self._waiting = deque(enumerate(cases))
        self._elsewhere: deque[tuple[int, Case]] = deque()
        self._ahead: deque[tuple[int, Case, Future[Loaded | Outcome | None]]] = deque()
        self._behind: deque[tuple[int, Future[Outcome]]] = deque()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Outcomes so far, in the order of the cases."""
        return tuple(outcome for _, outcome in sorted(self._ended.items()))

    @property
    def remaining(self) -> tuple[str, ...]:
        """Ids of the cases that have no outcome."""
        return tuple(c.id for n, c in enumerate(self._cases) if n not in self._ended)

    def to_the_end(self) -> UnetrError | None:
        """Work until no case is left, or until there is a reason to stop, which is returned."""
        readers = ThreadPoolExecutor(self._jobs) if self._jobs else _AtOnce()
        writers = ThreadPoolExecutor(self._jobs) if self._jobs else _AtOnce()
        try:
            while self._worker.stopped is None and (
                self._waiting or self._ahead or self._elsewhere
            ):
                self._step(readers, writers)
            self._collect(leave=0)
        except UnetrError as error:
            return self._worker.explained(error)
        finally:
            self._drop_ahead()
            self._collect(leave=0)
            readers.shutdown(wait=False, cancel_futures=True)
            writers.shutdown(wait=True)
        return None

    def _step(self, readers: Executor, writers: Executor) -> None:
        """Bring the next case through the network."""
        if self._should_stop():
            raise _asked_to_stop()
        self._read_ahead(readers)
        if not self._ahead:
            self._await_other_processes()
            return
        number, case, future = self._ahead.popleft()
        self._tell("reading", case.id)
        loaded = self._await(future)
        if self._jobs:
            self._read_ahead(readers)
        if loaded is None:
            self._elsewhere.append((number, case))
        elif isinstance(loaded, Outcome):
            self._end(number, loaded)
        else:
            self._segment(number, loaded, writers)
        self._collect(leave=self._jobs)

    def _read_ahead(self, readers: Executor) -> None:
        while self._waiting and len(self._ahead) < max(1, self._jobs):
            number, case = self._waiting.popleft()
            self._ahead.append((number, case, readers.submit(self._prepare, case)))

    def _prepare(self, case: Case) -> Loaded | Outcome | None:
        """Read a case and bring it as far as can be without the network."""
        loaded = self._worker.prepare(case)
        if isinstance(loaded, Loaded) and self._jobs:
            with suppress(Exception):  # it comes again where the case is segmented
                started = time.monotonic()
                prepared = self._segmenter.prepare(loaded.volume)
                seconds = loaded.seconds + time.monotonic() - started
                return replace(loaded, prepared=prepared, seconds=seconds)
        return loaded

    def _segment(self, number: int, loaded: Loaded, writers: Executor) -> None:
        case_id = loaded.case.id
        if isinstance(self._segmenter, OnDemand):
            self._tell("opening", case_id)
            self._open(self._segmenter, loaded)
        started = time.monotonic()
        self._tell("segmenting", case_id)
        try:
            segmentation = self._segmenter.segment(
                loaded.prepared or loaded.volume,
                maps=self._worker.map_paths(loaded),
                on_plan=lambda plan: self._tell("segmenting", case_id, memory=plan.peak),
                progress=lambda done, of: self._tell("segmenting", case_id, windows=(done, of)),
                should_stop=self._should_stop,
            )
        except Cancelled:
            loaded.claim.release()
            raise
        except Exception as error:  # one bad case must not end the batch
            self._end(number, self._worker.fail(loaded, error, seconds=time.monotonic() - started))
            return
        except BaseException:
            loaded.claim.release()
            raise
        seconds = time.monotonic() - started
        finished = writers.submit(self._worker.finish, loaded, segmentation, seconds=seconds)
        self._behind.append((number, finished))

    @staticmethod
    def _open(segmenter: OnDemand, loaded: Loaded) -> None:
        """Open the bundle; failing in that is no fault of the case and ends the batch."""
        try:
            segmenter.open()
        except BaseException:
            loaded.claim.release()
            raise

    def _await(self, future: Future[Any]) -> Any:
        while not future.done() and not self._should_stop():
            wait([future], timeout=_PATIENCE)
        if not future.done():
            future.add_done_callback(_let_go)
            raise _asked_to_stop()
        return future.result()

    def _await_other_processes(self) -> None:
        """What is left is claimed elsewhere: wait, and take it over should its holder die."""
        self._collect(leave=0)
        self._tell("waiting", self._elsewhere[0][1].id)
        time.sleep(_PATIENCE)
        self._waiting, self._elsewhere = self._elsewhere, deque()

    def _collect(self, *, leave: int) -> None:
        """Take up the outcomes of written cases until at most ``leave`` are being written."""
        while self._behind and (len(self._behind) > leave or self._behind[0][1].done()):
            number, future = self._behind.popleft()
            self._end(number, future.result())

    def _drop_ahead(self) -> None:
        while self._ahead:
            number, _, future = self._ahead.popleft()
            if not future.done():
                future.cancel()
                future.add_done_callback(_let_go)
                continue
            ended = future.result()
            if isinstance(ended, Outcome):
                self._end(number, ended)
            else:
                _let_go(future)
        self._worker.drop_reading()

    def _end(self, number: int, outcome: Outcome) -> None:
        self._ended[number] = outcome
        self._tell("ended", outcome.case_id, outcome=outcome)

    def _tell(
        self,
        stage: Stage,
        case_id: str,
        *,
        windows: tuple[int, int] = (0, 0),
        outcome: Outcome | None = None,
        memory: int = 0,
    ) -> None:
        ended, cases = len(self._ended), len(self._cases)
        self._on_progress(Progress(stage, case_id, windows, ended, cases, outcome, memory))


def _asked_to_stop() -> Cancelled:
    return Cancelled("the batch was asked to stop", cure="Run the same command again to go on.")


def _let_go(future: Future[Any]) -> None:
    """Release the claim of a case that was read in vain."""
    if not future.cancelled() and future.exception() is None:
        loaded = future.result()
        if isinstance(loaded, Loaded):
            loaded.claim.release()
