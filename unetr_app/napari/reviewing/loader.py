"""CaseLoader: cases read from the disk ahead of their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import Any

from unetr_app.errors import UnetrError
from unetr_app.napari.background.pool import Pool


class CaseLoader:
    """Reads cases in threads; what was asked for ahead is there when its turn comes.

    Args:
        load: Reads a case by its id; safe to call from any thread.
        background: Runs it.
    """

    def __init__(self, load: Callable[[str], Any], background: Pool):
        self._load, self._background = load, background
        self._jobs: dict[str, Future[Any]] = {}

    @property
    def jobs(self) -> tuple[Future[Any], ...]:
        """What is being read, or has been read and waits for its turn."""
        return tuple(self._jobs.values())

    def ahead(self, case_ids: Iterable[str]) -> None:
        """Read these cases ahead, and forget all others."""
        wanted = list(case_ids)
        for case_id in [one for one in self._jobs if one not in wanted]:
            self._jobs.pop(case_id).cancel()
        for case_id in wanted:
            self._job(case_id)

    def put(self, case_id: str, value: Any) -> None:
        """Keep a case that was read before, until `ahead` forgets it."""
        kept: Future[Any] = Future()
        kept.set_result(value)
        self._jobs[case_id] = kept

    def get(
        self,
        case_id: str,
        then: Callable[[Any], None],
        otherwise: Callable[[UnetrError], None],
    ) -> Future[Any]:
        """Hand over a case, once; the loader forgets it then.

        Args:
            case_id: The case.
            then: Gets what was loaded, in the window's thread.
            otherwise: Gets the error.

        Returns:
            The job: cancel it to hear nothing.
        """
        job = self._job(case_id)
        del self._jobs[case_id]
        self._background.hand_on(job, then, otherwise)
        return job

    def _job(self, case_id: str) -> Future[Any]:
        if case_id not in self._jobs:
            self._jobs[case_id] = self._background.start(lambda: self._load(case_id))
        return self._jobs[case_id]
