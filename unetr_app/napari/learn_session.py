"""Learn session: the page of fine-tuning, joined to the learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal  # pyright: ignore[reportPrivateImportUsage]

from unetr_app.bundle import is_trusted, trust
from unetr_app.errors import InvalidRequest, UnetrError
from unetr_app.finetuning import Finetuned, FinetuneOptions, FinetuneProgress, LabelScore
from unetr_app.napari import predicting
from unetr_app.napari.background.task import Done, Failed, Stopped
from unetr_app.napari.background.watching import Watch
from unetr_app.napari.learning import Learner
from unetr_app.napari.pages.learn import LearnPage

_STAGES = {
    "checking": "Reading the cases",
    "before": "Held-out cases, before",
    "training": "Training",
    "after": "Held-out cases, after",
}


class LearnSession(QObject):
    """Runs what the page asks for, and shows what came of it.

    Signals:
        learnt: A `Finetuned`; its ``path`` is the new bundle.

    Args:
        page: Whose life it shares.
    """

    learnt = Signal(object)

    def __init__(self, page: LearnPage):
        super().__init__(page)
        self.page = page
        self.learner = Learner()
        self._watch = Watch(self.learner.task, page, self._take)
        page.start_wanted.connect(self._start)
        page.trust_given.connect(self._trust)
        page.cancel_wanted.connect(self._cancel)
        if predicting.is_installed():
            page.offer(predicting.installed_bundles())
        else:
            page.refuse(predicting.MISSING)

    def _start(self, dataset: str, bundle: str, out: str, epochs: int, rename: str) -> None:
        try:
            if not (dataset and bundle and out):
                raise InvalidRequest("Choose the cases, a bundle and a folder for the new bundle.")
            if not is_trusted(bundle):
                self.page.ask_trust(True)
                self.page.show_words("Its configs are programs, which would run as you.")
                return
            options = FinetuneOptions(epochs=epochs, rename=rename)
            self.learner.start(Path(dataset), bundle, Path(out), options)
        except UnetrError as error:
            self.page.show_words(str(error))
            return
        self.page.show_running(True)
        self.page.show_words("Starting…")
        self._watch.begin()

    def _trust(self) -> None:
        try:
            trust(self.page.bundle.currentText().strip())
        except UnetrError as error:
            self.page.show_words(str(error))
            return
        self.page.start.click()

    def _cancel(self) -> None:
        self.learner.task.cancel()
        self.page.show_words("Stopping…")

    def _take(self, event: Any) -> None:
        match event:
            case FinetuneProgress():
                self.page.show_steps(event.done, event.of)
                self.page.show_words(_described(event))
            case Done(value=Finetuned() as found):
                self._end(" ".join([found.advice, *map(_sentence, found.warnings)]))
                self.page.show_rows([_row(score) for score in (*found.labels, found.together)])
                self.learnt.emit(found)
            case Failed(message=message):
                self._end(message)
            case Stopped():
                self._end("Stopped. Start the same again to go on.")
            case _:
                pass

    def _end(self, words: str) -> None:
        self.page.show_running(False)
        self.page.show_words(words)


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _described(progress: FinetuneProgress) -> str:
    words = _STAGES[progress.stage]
    if progress.epochs:
        words += f", epoch {min(progress.epoch + 1, progress.epochs)} of {progress.epochs}"
    if progress.seconds_left is not None:
        words += f", about {progress.seconds_left:.0f} s left"
    return words


def _row(score: LabelScore) -> tuple[str, str, str, str]:
    before, after = (
        "–" if value is None else f"{value:.3f}"  # noqa: RUF001 (en dash)
        for value in (score.before, score.after)
    )
    return score.name, before, after, str(score.cases)
