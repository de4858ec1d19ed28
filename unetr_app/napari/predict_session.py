"""Predict session: the page of predictions, joined to the predictor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal  # pyright: ignore[reportPrivateImportUsage]

from unetr_app.bundle import is_trusted, trust
from unetr_app.errors import UnetrError
from unetr_app.napari import predicting
from unetr_app.napari.background.task import Done, Failed, Stopped
from unetr_app.napari.background.watching import Watch
from unetr_app.napari.pages.predict import PredictPage
from unetr_app.napari.predicting import Opened, Planned, Predicted, Predictor, Request, Windowed
from unetr_app.volume import Volume


class PredictSession(QObject):
    """Runs what the page asks for, and tells of the result in the window's thread.

    Signals:
        predicted: A `Segmentation` and a dict of further `Volume`, by name.
        ended: The prediction has ended, however.

    Args:
        page: Whose life it shares.
        volume: Called for the image when Run is pressed; it may raise `UnetrError`.
        predictor: For tests.
    """

    predicted = Signal(object, object)
    ended = Signal()

    def __init__(
        self, page: PredictPage, volume: Callable[[], Volume], predictor: Predictor | None = None
    ):
        super().__init__(page)
        self.page, self._volume = page, volume
        self.predictor = predictor or Predictor()
        self._watch = Watch(self.predictor.task, page, self._take)
        self._plan = ""
        page.run_wanted.connect(self._run)
        page.trust_given.connect(self._trust)
        page.cancel_wanted.connect(self._cancel)
        if predictor is None and not predicting.is_installed():
            page.refuse(predicting.MISSING)
        else:
            page.offer(predicting.installed_bundles(), predicting.device_names())

    def _run(self, bundle: str, device: str, uncertainty: bool) -> None:
        try:
            if not is_trusted(bundle):
                self.page.ask_trust(Path(bundle).name)
                return
            self.predictor.start(self._volume(), Request(bundle, device, uncertainty))
        except UnetrError as error:
            self.page.show_words(str(error))
            return
        self._plan = ""
        self.page.show_running(True)
        self.page.show_words("Opening the bundle…")
        self._watch.begin()

    def _trust(self, _: str) -> None:
        bundle = self.page.bundle.currentText()
        try:
            trust(bundle)
        except UnetrError as error:
            self.page.show_words(str(error))
            return
        self._run(bundle, self.page.device.currentText(), self.page.uncertainty.isChecked())

    def _cancel(self) -> None:
        self.predictor.task.cancel()
        self.page.show_words("Stopping after this window…")

    def _take(self, event: Any) -> None:
        match event:
            case Opened():
                self.page.show_words("Preparing the image…")
            case Planned(peak_bytes=peak):
                self._plan = f"About {peak / 2**30:.1f} GiB of memory."
                self.page.show_words(self._plan)
            case Windowed(done=done, of=of):
                self.page.show_windows(done, of)
            case Done(value=Predicted() as found):
                self._end(f"Done in {found.seconds:.1f} s. {self._plan}".strip())
                self.predicted.emit(found.segmentation, found.maps)
                self.ended.emit()
            case Failed(message=message):
                self._end(message)
                self.ended.emit()
            case Stopped():
                self._end("Stopped; nothing was changed.")
                self.ended.emit()
            case _:
                pass

    def _end(self, words: str) -> None:
        self.page.show_running(False)
        self.page.show_words(words)
