"""Run by test_napari_predicting in a process of its own: pages on a real Qt application.

    python -m tests.napari_model_pages FOLDER WHAT...

Says of each thing that it is as it should be, or shows why not. Exits with 77 where Qt cannot be
loaded.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

try:
    from qtpy.QtCore import QEvent, Qt
    from qtpy.QtWidgets import QApplication
except Exception as error:
    sys.stderr.write(f"Qt cannot be loaded: {error}\n")
    sys.exit(77)

from napari.components import ViewerModel

from tests.batch_fakes import write_bundle
from tests.test_inference_segmenter import _bright, _segmenter, _Threshold
from unetr_app.bundle import is_trusted, trust
from unetr_app.errors import UnetrError
from unetr_app.geometry import Geometry
from unetr_app.napari import layers, model_widgets, predicting
from unetr_app.napari.background.pool import Pool
from unetr_app.napari.pages.learn import LearnPage
from unetr_app.napari.pages.predict import PredictPage
from unetr_app.napari.predict_session import PredictSession
from unetr_app.napari.predicting import Predictor

TURN = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
GRID = Geometry.from_parts((26, 30, 22), (1.0, 1.0, 1.0), TURN, (3.0, -4.0, 5.0))


def until(true: Callable[[], Any], seconds: float = 100) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came"
        QApplication.processEvents()
        time.sleep(0.01)


def page_of(folder: Path, act: Callable[[], None] = lambda: None) -> tuple[PredictPage, Any, Path]:
    """A page over a predictor whose network is a threshold."""
    bundle = write_bundle(folder / "bundle")
    made: list[int] = []

    def opener(_: Any) -> Any:
        made.append(1)
        return _segmenter(folder / f"made{len(made)}", _Threshold(act))

    page = PredictPage()
    session = PredictSession(page, lambda: _bright(GRID), Predictor(opener))
    page.add_bundle(str(bundle))
    return page, session, bundle


def predict(folder: Path) -> None:
    page, session, bundle = page_of(folder)
    trust(bundle)
    main = threading.get_ident()
    came: list[Any] = []
    session.predicted.connect(lambda s, m: came.append((s, m, threading.get_ident())))
    for n in (1, 2):
        page.run.click()
        assert not page.run.isEnabled()
        until(lambda n=n: len(came) == n)
        assert page.run.isEnabled()
        assert "Done in" in page.words.text()
        assert "GiB" in page.words.text()
    assert {thread for *_, thread in came} == {main}
    assert came[0][0].geometry == GRID
    assert set(came[0][1]) == {"uncertainty"}


def failing(folder: Path) -> None:
    def fail() -> None:
        raise ValueError("of odd size")

    page, session, bundle = page_of(folder, fail)
    trust(bundle)
    ended: list[int] = []
    session.ended.connect(lambda: ended.append(1))
    page.run.click()
    until(lambda: ended)
    assert "ValueError: of odd size" in page.words.text()
    assert page.run.isEnabled()
    viewer = ViewerModel()
    widget: Any = model_widgets.predict_widget(viewer)
    widget.run.click()
    assert "No image layer is selected" in widget.words.text()
    viewer.add_image(np.zeros((4, 5, 6)))
    widget.run.click()
    assert "no volume opened by unetr-app" in widget.words.text(), widget.words.text()


def trusting(folder: Path) -> None:
    page, session, bundle = page_of(folder)
    came: list[Any] = []
    session.predicted.connect(lambda s, m: came.append(s))
    page.show()
    page.run.click()
    assert page.yes.isVisible()
    assert "programs" in page.question.text()
    assert not session.predictor.task.is_running
    assert not is_trusted(bundle)
    page.yes.click()
    until(lambda: came)
    assert is_trusted(bundle)
    assert not page.yes.isVisible()


def closed(folder: Path) -> None:
    """The page goes while a window is under way: the work ends, and nobody is told."""
    reached, go_on = threading.Event(), threading.Event()
    windows: list[int] = []

    def hold() -> None:
        windows.append(1)
        if len(windows) == 2:
            reached.set()
            assert go_on.wait(60)

    page, session, bundle = page_of(folder, hold)
    trust(bundle)
    task = session.predictor.task
    page.run.click()
    until(reached.is_set)
    del session
    page.close()
    page.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.DeferredDelete)
    until(lambda: task._stop.is_set())
    go_on.set()
    assert task.wait(60)
    assert len(windows) <= 3
    QApplication.processEvents()


def missing(folder: Path) -> None:
    asked = predicting.is_installed
    predicting.is_installed = lambda: False  # type: ignore[assignment]
    try:
        _refused()
    finally:
        predicting.is_installed = asked


def _refused() -> None:
    viewer = ViewerModel()
    for layer in layers.image_layers(_bright(GRID)):
        viewer.add_layer(layer)  # the rest of the plugin works
    for widget in (model_widgets.predict_widget(viewer), model_widgets.learn_widget()):
        assert 'pip install "unetr-app[inference]"' in widget.words.text()  # type: ignore[attr-defined]
        start = widget.run if isinstance(widget, PredictPage) else widget.start  # type: ignore[attr-defined]
        assert not start.isEnabled()


def narrow(folder: Path) -> None:
    """A long name makes no page wider than the panel, and letters in it stay letters."""
    page, fine = PredictPage(), LearnPage()
    for one in (page.bundle, fine.bundle):
        one.addItem("a_bundle_whose_name_is_much_longer_than_a_page_is_wide_" * 3)
    for words in (page, fine):
        words.show_words("No spaces: <b>" + "x" * 40)
        assert words.minimumSizeHint().width() <= 330, words.minimumSizeHint()
        assert "<b>" in words.words.text()
        assert words.words.textFormat() == Qt.TextFormat.PlainText
    fine.show_preparing(True)
    assert not fine.start.isEnabled()
    assert not fine.accepted.isEnabled()
    fine.show_preparing(False)
    assert fine.start.isEnabled()
    sent: list[Any] = []
    fine.start_wanted.connect(lambda *words: sent.append(words))
    fine.rename.setText(" Leber=liver ")
    fine.epochs.setValue(3)
    fine.start.click()
    assert sent[0][3:] == (3, "Leber=liver")
    fine.show_running(True)
    assert not fine.accepted.isEnabled()  # its data set is being trained on


def pool(folder: Path) -> None:
    """Results and errors come in the window's thread; what is cancelled or late, nowhere."""
    main, came = threading.get_ident(), []
    began, go_on = threading.Event(), threading.Event()

    def told(what: Any) -> None:
        came.append((what, threading.get_ident()))

    def fail() -> None:
        raise KeyError("secret path")

    def hold() -> None:
        began.set()
        assert go_on.wait(60)

    one = Pool(workers=1)
    one.run(lambda: 42, told, told)
    one.run(fail, told, told)
    until(lambda: len(came) == 2)
    assert came[0] == (42, main)
    assert isinstance(came[1][0], UnetrError)
    assert "KeyError" in str(came[1][0])
    assert "secret" not in str(came[1][0])
    one.run(hold, told, told)
    waiting = one.run(lambda: 43, told, told)
    until(began.is_set)
    assert waiting.cancel()
    threading.Timer(0.2, go_on.set).start()
    one.close()  # waits for what has begun
    assert go_on.is_set()
    QApplication.processEvents()
    assert len(came) == 2


def learn(folder: Path) -> None:
    from tests.finetuning_files import RENAME, small_dataset, tiny_bundle

    widget = model_widgets.learn_widget()
    assert isinstance(widget, LearnPage)
    widget.start.click()
    assert "Choose the cases" in widget.words.text()
    bundle, data = tiny_bundle(folder / "tiny_segmentation"), small_dataset(folder / "data")
    widget.dataset.setText(str(data))
    widget.out.setText(str(folder / "new"))
    widget.bundle.setCurrentText(str(bundle))
    widget.epochs.setValue(1)
    widget.show()
    widget.start.click()
    assert widget.trust.isVisible()
    widget.trust.click()
    until(lambda: widget.start.isEnabled())
    assert "the bundle's are 1 Anterior hippocampus" in widget.words.text()
    widget.rename.setText(RENAME)
    widget.start.click()
    until(lambda: "Held-out cases, before" in widget.words.text())
    widget.cancel.click()
    until(lambda: widget.start.isEnabled())
    assert "to go on" in widget.words.text()
    widget.start.click()
    until(lambda: widget.start.isEnabled(), 200)
    assert widget.table.rowCount() == 3, widget.words.text()
    assert widget.table.item(2, 0).text() == "all labels"
    assert (folder / "new" / "finetuning.json").is_file()


def tell(what: str, folder: Path) -> bool:
    """Do one thing, and say how it went; the others go on."""
    folder.mkdir()
    os.environ["UNETR_CONFIG"] = str(folder / "settings")  # what one trusts, the next does not
    try:
        STEPS[what](folder)
    except Exception:
        sys.stdout.write(f"{what} failed: {traceback.format_exc()}\n")
        return False
    sys.stdout.write(f"{what} is as it should be\n")
    return True


STEPS = {
    "predict": predict, "failing": failing, "trust": trusting, "closed": closed,
    "missing": missing, "narrow": narrow, "pool": pool, "learn": learn,
}  # fmt: skip

if __name__ == "__main__":
    application = QApplication([])
    where = Path(sys.argv[1])
    went_well = [tell(what, where / what) for what in sys.argv[2:]]
    sys.exit(not all(went_well))
