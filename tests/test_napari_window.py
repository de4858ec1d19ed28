from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.phantom import oblique_geometry
from tests.napari_out import IMAGE, add_case, require_napari, write_image
from unetr_app.labels import LabelSet
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.volume import Segmentation, Volume

pytest.importorskip("qtpy", reason="napari has no window without Qt")
require_napari()

GRID = oblique_geometry((30, 26, 12), (1.0, 1.2, 2.5), (8, -6, 10), (-15, -15, -15))
FRONT_LEFT = (slice(3, 7), slice(18, 23), slice(6, 9))  # i to the right, j to the front
BACK_RIGHT = (slice(20, 27), slice(4, 8), slice(6, 9))
RED, BLUE = [255, 0, 0], [0, 0, 255]


def command() -> list[str]:
    """The interpreter, on a screen: a virtual one where there is xvfb, so that none pops up."""
    if shutil.which("xvfb-run"):
        screen = "-screen 0 1600x1000x24 +extension GLX"
        return ["xvfb-run", "-a", "-s", screen, sys.executable]
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        pytest.skip("no display and no xvfb-run to make one")
    return [sys.executable]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What a real window showed of a case; a process of its own keeps Qt out of this one."""
    folder = tmp_path_factory.mktemp("window")
    label_map = np.zeros(GRID.shape, np.uint8)
    label_map[FRONT_LEFT], label_map[BACK_RIGHT] = 1, 2
    data = np.full(GRID.shape, 100, np.float32)
    data[FRONT_LEFT], data[BACK_RIGHT] = 1000, 500
    made = (
        Volume(data[None], GRID, modality="MR"),
        Segmentation(label_map, GRID, LabelSet.from_names({1: "Front left", 2: "Back right"})),
    )
    out = add_case(folder / "out", write_image(folder / IMAGE, made[0]), made)
    rows = [
        {"value": 1, "name": "Front left", "colour": RED},
        {"value": 2, "name": "Back right", "colour": BLUE},
    ]
    (out / "case_1" / "measurements.json").write_text(json.dumps({"labels": rows}))
    (folder / "damaged.nii.gz").write_bytes(b"no image")
    script = Path(__file__).with_name("napari_window.py")
    result = folder / "seen.npz"
    environment = os.environ | {
        "NAPARI_CONFIG": str(folder / "settings.yaml"),
        "LIBGL_ALWAYS_SOFTWARE": "1",
    }
    done = subprocess.run(
        [*command(), str(script), str(out / "case_1"), str(folder / "damaged.nii.gz"), str(result)],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "Qt platform plugin" in done.stderr:
        pytest.skip(f"no window can be opened here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return dict(np.load(result))


def middle(mask):
    """Row and column of the middle of a patch, as fractions of the picture."""
    assert mask.sum() > 50, "nothing of that colour is in the picture"
    return np.argwhere(mask).mean(axis=0) / mask.shape


def reddish(picture):
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (red > green + 60) & (red > blue + 60)


def bluish(picture):
    red, green, blue = np.moveaxis(picture.astype(int), -1, 0)
    return (blue > green + 60) & (blue > red + 60)


def test_the_patients_left_is_right_and_the_front_is_up(seen):
    row, column = middle(reddish(seen["both"]))
    assert row < 0.5 < column
    row, column = middle(bluish(seen["both"]))
    assert column < 0.5 < row


def test_image_and_labels_lie_on_each_other(seen):
    bright = seen["image"].min(axis=-1)[: int(0.93 * len(seen["image"]))]  # without the notice
    red = reddish(seen["labels"])
    np.testing.assert_allclose(
        middle(bright > 200) * bright.shape, middle(red) * red.shape, atol=1.5
    )
    assert abs((bright > 200).sum() / red.sum() - 1) < 0.02


def test_the_other_slices_show_other_things(seen):
    assert not reddish(seen["other_slice"]).any()
    assert not bluish(seen["other_slice"]).any()


def test_paint_shows_where_it_is_put_and_is_saved_there(seen):
    row, column = middle(bluish(seen["painted"]))
    assert row < 0.5
    assert column < 0.5
    painted = np.argwhere(seen["saved"][:, :, -1])  # the first slice shown is nearest to the head
    i, j = painted.mean(axis=0)
    assert i > GRID.shape[0] / 2  # the patient's right
    assert j > GRID.shape[1] / 2  # the front
    assert np.count_nonzero(seen["saved"][FRONT_LEFT] != 1) == 0


def test_the_status_bar_names_the_label_and_the_canvas_bears_the_notice(seen):
    assert "label: Front left" in str(seen["status"])
    assert str(seen["notice"]) == RESEARCH_NOTICE


def test_a_damaged_file_is_told_of_without_a_dialog_or_a_traceback(seen):
    assert seen["layers_after_damaged"] == 0
    (said,) = seen["said"]
    assert said.startswith("error: damaged.nii.gz")


def test_the_whole_window_is_no_black_picture(seen):
    assert len(np.unique(seen["window"].reshape(-1, 4), axis=0)) > 100
