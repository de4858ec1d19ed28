"""ExportControl: decided cases leave as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from unetr_app.errors import UnetrError
from unetr_app.napari.pages.export import ExportPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.export import Exported, Reviewed, export_job, unavailable


class ExportControl(QObject):
    """Writes NIfTI, DICOM SEG, a report or a training set, in a thread.

    Args:
        bench: Shared by all controls.
        page: What, of which cases, and where to.
    """

    _progress = Signal(int, int)

    def __init__(self, bench: Bench, page: ExportPage):
        super().__init__()
        self._bench, self._page = bench, page
        page.export_wanted.connect(self.export)
        self._progress.connect(page.show_progress)
        bench.case_shown.connect(self._begin)

    def export(self, wanted: Mapping[str, Any]) -> None:
        """Write what the page asks for.

        Args:
            wanted: As of `unetr_app.napari.pages.ExportPage`.
        """
        worklist, shown = self._bench.worklist, self._bench.shown
        if worklist is None:
            return
        one: Reviewed | None = None
        try:
            if shown is not None and not wanted["all_accepted"]:
                one = Reviewed.of(shown.desk)  # what is exported is a version: it can be found
        except UnetrError as problem:
            self._fail(problem)
            return
        self._bench.rows_changed.emit()
        self._page.show_progress(0, len(wanted["kinds"]))
        folder = Path(wanted["folder"])

        def work() -> tuple[list[Exported], list[UnetrError]]:
            done: list[Exported] = []
            problems: list[UnetrError] = []
            for kind in wanted["kinds"]:
                place = folder / kind if kind == "training_set" else folder
                try:
                    done.append(
                        export_job(worklist, kind, place, one=one, progress=self._progress.emit)
                    )
                except UnetrError as problem:  # the other kinds are wanted all the same
                    problems.append(problem)
            return done, problems

        self._bench.background.run(work, self._show, self._fail)

    def _begin(self, shown: ShownCase) -> None:
        self._page.show_available(unavailable(shown.desk))

    def _show(self, found: tuple[Sequence[Exported], Sequence[UnetrError]]) -> None:
        results, problems = found
        words = " ".join(str(one) for one in (*results, *problems))
        warnings = [one for result in results for one in result.warnings]
        self._page.show_result("\n".join([words, *warnings]))
        if problems:
            self._bench.say(words, "error")
        else:
            self._bench.say(words, "warning" if any(one.failed for one in results) else "info")

    def _fail(self, problem: UnetrError) -> None:
        self._page.show_result(str(problem))
        self._bench.complain(problem)
