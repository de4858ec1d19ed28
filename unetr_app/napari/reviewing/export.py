"""ExportControl: decided cases leave as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unetr_app.errors import UnetrError
from unetr_app.napari.pages.export import ExportPage
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review import export


class ExportControl:
    """Writes NIfTI, DICOM SEG, a report or a training set, in a thread.

    Args:
        bench: Shared by all controls.
        page: What, of which cases, and where to.
    """

    def __init__(self, bench: Bench, page: ExportPage):
        self._bench, self._page = bench, page
        page.export_wanted.connect(self.export)
        bench.case_shown.connect(self._begin)

    def export(self, wanted: Mapping[str, Any]) -> None:
        """Write what the page asks for.

        Args:
            wanted: As of `unetr_app.napari.pages.ExportPage`.
        """
        worklist, shown = self._bench.worklist, self._bench.shown
        if worklist is None:
            return
        case_id = shown.desk.loaded.case_id if shown and not wanted["all_accepted"] else ""
        if shown is not None and case_id and not shown.desk.read_only:
            with self._bench.careful():  # what is exported is a version, so that it can be found
                shown.desk.save("exported")
                self._bench.rows_changed.emit()
        self._page.show_progress(0, len(wanted["kinds"]))
        folder = Path(wanted["folder"])

        def work() -> list[Any]:
            return [
                export.export(worklist, kind, folder, case_id=case_id) for kind in wanted["kinds"]
            ]

        self._bench.background.run(work, self._show, self._fail)

    def _begin(self, shown: ShownCase) -> None:
        self._page.show_available(export.unavailable(shown.desk))

    def _show(self, results: Sequence[Any]) -> None:
        words = " ".join(str(result) for result in results)
        self._page.show_result(words)
        self._bench.say(words)

    def _fail(self, problem: UnetrError) -> None:
        self._page.show_result(str(problem))
        self._bench.complain(problem)
