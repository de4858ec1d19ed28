"""Predicting and learning in the window: the parts without Qt, in threads as they run there."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.batch_fakes import write_bundle
from tests.test_inference_segmenter import _bright, _segmenter, _Threshold
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.napari.background.task import Done, Failed, Stopped, Task
from unetr_app.napari.predicting import (
    Opened,
    Planned,
    Predicted,
    Predictor,
    Request,
    Windowed,
    open_segmenter,
)  # fmt: skip

OBLIQUE = Geometry.from_parts(
    (26, 30, 22), (1.0, 1.0, 1.0), np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]), (3, -4, 5)
)


PAGES = ("predict", "failing", "trust", "closed", "missing", "narrow", "pool")


class _Opener:
    """Opens segmenters of a threshold, and counts them and their windows."""

    def __init__(self, folder: Path):
        self.folder, self.opened, self.windows = folder, 0, 0

    def __call__(self, request: Request) -> Any:
        self.opened += 1
        return _segmenter(self.folder / str(self.opened), _Threshold(self._count))

    def _count(self) -> None:
        self.windows += 1


def _finish(predictor: Predictor) -> list[Any]:
    assert predictor.task.wait(120)
    return predictor.task.events()


def test_a_prediction_is_on_the_images_grid_and_tells_of_itself(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    predictor = Predictor(_Opener(tmp_path / "made"))
    volume = _bright(OBLIQUE)
    predictor.start(volume, Request(str(bundle), "cpu"))
    events = _finish(predictor)
    kinds = list(dict.fromkeys(type(event) for event in events))
    assert kinds == [Opened, Planned, Windowed, Done]
    found = events[-1].value
    assert isinstance(found, Predicted)
    assert found.segmentation.geometry == volume.geometry
    assert found.maps["uncertainty"].geometry == volume.geometry
    assert found.seconds > 0
    windows = [event for event in events if isinstance(event, Windowed)]
    assert windows[-1].done == windows[-1].of == len(windows)
    alone = _segmenter(tmp_path / "alone").segment(volume)
    np.testing.assert_array_equal(found.segmentation.label_map, alone.label_map)


def test_the_network_is_kept_until_bundle_weights_or_device_change(tmp_path: Path) -> None:
    bundle, other = (write_bundle(tmp_path / name) for name in ("bundle", "other"))
    opener = _Opener(tmp_path / "made")
    predictor = Predictor(opener)
    volume = _bright(Geometry((16, 16, 16), np.eye(4)))

    def run(request: Request) -> int:
        predictor.start(volume, request)
        assert isinstance(_finish(predictor)[-1], Done)
        return opener.opened

    plain = Request(str(bundle), "cpu", uncertainty=False)
    assert [run(plain), run(plain), run(Request(str(bundle), "cpu"))] == [1, 1, 1]
    assert run(Request(str(bundle), "auto")) == 2
    assert run(Request(str(other), "auto")) == 3
    (other / "models" / "model.pt").write_bytes(b"other weights")
    assert run(Request(str(other), "auto")) == 4


def test_cancelling_ends_within_a_window_and_the_next_run_is_whole(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "bundle")
    opener = _Opener(tmp_path / "made")
    predictor = Predictor(opener)
    reached, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        if opener.windows == 3:
            reached.set()
            assert go_on.wait(60)

    opener._count = lambda: (setattr(opener, "windows", opener.windows + 1), hold())  # type: ignore[method-assign]
    predictor.start(_bright(OBLIQUE), Request(str(bundle), "cpu"))
    assert reached.wait(60)
    predictor.task.cancel()
    go_on.set()
    assert isinstance(_finish(predictor)[-1], Stopped)
    assert opener.windows <= 4
    predictor.start(_bright(OBLIQUE), Request(str(bundle), "cpu"))
    assert isinstance(_finish(predictor)[-1], Done)


def test_runs_in_a_row_leak_neither_threads_nor_files_nor_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(room))
    bundle = write_bundle(tmp_path / "bundle")
    predictor = Predictor(_Opener(tmp_path / "made"))
    volume = _bright(Geometry((20, 20, 20), np.eye(4)))
    threads, gone = [], []
    for _ in range(3):
        predictor.start(volume, Request(str(bundle), "cpu"))
        found = _finish(predictor)[-1].value
        gone.append(weakref.ref(found.segmentation))
        del found
        threads.append(threading.active_count())
    gc.collect()
    assert threads[0] == threads[-1]
    assert not [*room.iterdir()]
    assert all(one() is None for one in gone)


def test_a_second_start_is_refused_while_one_is_under_way() -> None:
    task, go_on = Task(), threading.Event()
    task.start(lambda post, should_stop: go_on.wait(60))
    with pytest.raises(InvalidRequest, match="still at work"):
        task.start(lambda post, should_stop: None)
    go_on.set()
    assert task.wait(60)


def _raise(error: Exception) -> Any:
    def work(post: Any, should_stop: Any) -> None:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidRequest("no such thing", cure="Do that."), "no such thing. Do that."),
        (MemoryError(), "ran out of memory"),
        (KeyError("secret path"), "internal error of type KeyError"),
    ],
)
def test_errors_are_messages_and_no_tracebacks(error: Exception, said: str) -> None:
    task = Task()
    task.start(_raise(error))
    assert task.wait(60)
    (event,) = task.events()
    assert isinstance(event, Failed)
    assert said in event.message
    assert "secret" not in event.message


def test_being_stopped_is_no_failure() -> None:
    task = Task()
    task.start(_raise(Cancelled("asked to")))
    assert task.wait(60)
    assert task.events() == [Stopped()]


def test_a_bundle_that_is_not_trusted_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNETR_CONFIG", str(tmp_path / "settings"))  # nobody trusted it before
    bundle = write_bundle(tmp_path / "bundle")
    with pytest.raises(InvalidRequest, match="not trusted"):
        open_segmenter(Request(str(bundle), "cpu"))


def _run_script(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("qtpy", reason="there is no window without Qt")
    pytest.importorskip("napari", reason="napari is not installed")
    environment = os.environ | {
        "QT_QPA_PLATFORM": "offscreen",
        "NAPARI_CONFIG": str(tmp_path / "settings.yaml"),
        "UNETR_CONFIG": str(tmp_path / "settings"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.napari_model_pages", str(tmp_path), *words],
        env=environment, capture_output=True, text=True, timeout=500, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr)
    return done


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    """All in one process: most of its time goes into opening it."""
    return _run_script(tmp_path_factory.mktemp("pages"), *PAGES)


@pytest.mark.parametrize("what", PAGES)
def test_pages_on_a_real_application(what: str, pages: subprocess.CompletedProcess[str]) -> None:
    assert f"{what} is as it should be" in pages.stdout, pages.stdout + pages.stderr


def test_pages_leave_without_a_word(pages: subprocess.CompletedProcess[str]) -> None:
    assert pages.returncode == 0, pages.stdout + pages.stderr
    assert "Traceback" not in pages.stderr


@pytest.mark.slow
def test_learning_from_the_page(tmp_path: Path) -> None:
    done = _run_script(tmp_path, "learn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_importing_the_plugin_loads_no_torch() -> None:
    code = (
        "import sys, unetr_app.napari.predicting, unetr_app.napari.learning\n"
        "import unetr_app.napari.background.task, unetr_app.finetuning\n"
        "bad = [n for n in ('torch', 'monai', 'qtpy') if n in sys.modules]\n"
        "sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
