"""ModelControl: predicting the case that is shown, and learning from those that are accepted."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer

from unetr_app.errors import InvalidRequest, UnetrError
from unetr_app.napari.layers import label_layers, map_layer
from unetr_app.napari.learn_session import LearnSession
from unetr_app.napari.pages.learn import LearnPage
from unetr_app.napari.pages.predict import PredictPage
from unetr_app.napari.predict_session import PredictSession
from unetr_app.napari.reviewing.bench import Bench
from unetr_app.napari.reviewing.compare import CompareControl
from unetr_app.napari.reviewing.shown_case import ShownCase
from unetr_app.review.export import export_job
from unetr_app.volume import Segmentation, Volume

_TRAINING_SET = "_training_set"  # in the folder of reviews, which is no input


class ModelControl:
    """Adds two pages that need the inference extra; without it they say so.

    Args:
        bench: Shared by all controls.
        compare: Gets predictions, to be held against the labels.
    """

    def __init__(self, bench: Bench, compare: CompareControl):
        self._bench, self._compare = bench, compare
        self.predict, self.learn = PredictPage(), LearnPage()
        bench.panel.add(self.predict, "Predict", "Segment the open case with a bundle")
        bench.panel.add(self.learn, "Learn", "Fine-tune a bundle on the accepted cases")
        self._case_id = ""
        self._layers: dict[str, list[Layer]] = {}  # of the open case, by bundle
        bench.case_leaving.connect(self._forget)
        self._predicting = PredictSession(self.predict, self._volume)
        self._predicting.predicted.connect(self._show)
        self._learning = LearnSession(self.learn)
        self.learn.offer_accepted()
        self.learn.accepted_wanted.connect(self._export_accepted)

    def close(self) -> None:
        """Ask what is running to stop."""
        self._predicting.predictor.task.cancel()
        self._learning.learner.task.cancel()

    def _volume(self) -> Volume:
        """The image of the open case.

        Raises:
            InvalidRequest: If there is none.
        """
        shown = self._bench.shown
        if shown is None or shown.desk.loaded.volume is None:
            raise InvalidRequest("no case with an image is open", cure="Open one first.")
        self._case_id = shown.desk.case_id
        return shown.desk.loaded.volume

    def _show(self, segmentation: Segmentation, maps: dict[str, Volume]) -> None:
        shown = self._bench.shown
        if shown is None or shown.desk.case_id != self._case_id:
            self._bench.say(f"{self._case_id} was predicted, but is no longer open.", "warning")
            return
        name = str(segmentation.provenance.get("bundle", "bundle"))
        for layer in self._layers.pop(name, []):
            shown.remove_extra(layer)
        self._layers[name] = _layers_of(segmentation, maps, name)
        for layer in self._layers[name]:
            shown.add_extra(layer)
        self._compare.add(name, segmentation)
        self._bench.say(f"Predicted by {name}: shown as outlines; the labels did not change.")

    def _export_accepted(self) -> None:
        worklist: Any = self._bench.worklist
        if worklist is None:
            self._bench.say("No worklist is open.", "warning")
            return
        folder = worklist.folder / _TRAINING_SET
        self.learn.show_preparing(True)
        self._bench.say("writing the accepted cases …")
        self._bench.background.run(
            lambda: export_job(worklist, "training_set", folder),
            lambda result: self._use(str(result), str(folder)),
            self._complain,
        )

    def _use(self, words: str, folder: str) -> None:
        self.learn.show_preparing(False)
        self.learn.use_dataset(folder)
        self._bench.say(words)

    def _complain(self, problem: UnetrError) -> None:
        self.learn.show_preparing(False)
        self._bench.complain(problem)

    def _forget(self, shown: ShownCase) -> None:
        self._layers.clear()  # the case takes its layers with it


def _layers_of(segmentation: Segmentation, maps: dict[str, Volume], name: str) -> list[Layer]:
    """Maps, not visible yet, and labels on top as outlines."""
    made: list[Layer] = []
    for kind, volume in maps.items():
        layer = map_layer(volume.data[0], volume.geometry, f"{name} {kind}")
        layer.visible = False
        made.append(layer)
    for layer in label_layers(segmentation, name):
        layer.contour, layer.editable = 1, False
        made.append(layer)
    return made
