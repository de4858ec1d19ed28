"""Pool: work in threads whose results come back to the window's own thread."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from qtpy.QtCore import QObject, Signal

from unetr_app.errors import UnetrError
from unetr_app.napari.background.failing import as_ours


class Pool(QObject):
    """Runs functions in threads; what they give, or raise, is handed over in the window's thread.

    Layers and widgets are touched there alone.

    Args:
        workers: Number of threads.
    """

    _ended = Signal(object, object, object)  # the future, then, otherwise

    def __init__(self, workers: int = 2):
        super().__init__()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="unetr-review")
        self._is_open = True
        self._ended.connect(self._hand_over)

    def run(
        self,
        work: Callable[[], Any],
        then: Callable[[Any], None],
        otherwise: Callable[[UnetrError], None],
    ) -> Future[Any]:
        """Do some work in a thread.

        Args:
            work: Runs in a thread; touches no layer and no widget.
            then: Gets its result, in the window's thread.
            otherwise: Gets its error, there too; a cancelled job's goes nowhere.
        """
        future = self._pool.submit(work)
        self.hand_on(future, then, otherwise)
        return future

    def hand_on(
        self,
        future: Future[Any],
        then: Callable[[Any], None],
        otherwise: Callable[[UnetrError], None],
    ) -> None:
        """Have the result of a job that was started before handed over as well."""
        future.add_done_callback(lambda ended: self._tell(ended, then, otherwise))

    def start(self, work: Callable[[], Any]) -> Future[Any]:
        """Do some work in a thread; its result is kept in the job."""
        return self._pool.submit(work)

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._is_open = False
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _tell(self, *job: Any) -> None:
        if self._is_open:
            self._ended.emit(*job)

    def _hand_over(
        self,
        future: Future[Any],
        then: Callable[[Any], None],
        otherwise: Callable[[UnetrError], None],
    ) -> None:
        if future.cancelled() or not self._is_open:
            return
        error = future.exception()
        if error is None:
            then(future.result())
        else:
            otherwise(as_ours(error))
