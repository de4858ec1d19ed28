from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.napari_out import require_napari
from tests.test_napari_window import command
from unetr_app.napari.immortal_none import make_none_immortal
from unetr_app.notice import RESEARCH_NOTICE

pytest.importorskip("qtpy", reason="napari has no window without Qt")
require_napari()

PLANES = ("axial", "coronal", "sagittal")
RED, BLUE = (230, 159, 0), (86, 180, 233)  # of labels 1 and 2, in the palette


def run(what: str, folder: Path) -> dict[str, np.ndarray]:
    """What happened in a window; a process of its own keeps Qt out of this one."""
    script, result = Path(__file__).with_name("napari_views_window.py"), folder / "found.npz"
    environment = os.environ | {
        "NAPARI_CONFIG": str(folder / "settings.yaml"),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "PYTHONPATH": str(script.parents[1]),
    }
    done = subprocess.run(
        [*command(), str(script), what, str(result)],
        capture_output=True, text=True, timeout=600, env=environment, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "Qt platform plugin" in done.stderr:
        pytest.skip(f"no window can be opened here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return dict(np.load(result))


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    return run("walk", tmp_path_factory.mktemp("views"))


def like(picture, colour):
    """Where a label of that colour lies: its hue, whatever the image below it."""
    shown, wanted = picture.astype(float), np.asarray(colour, float)
    shown, wanted = shown - shown.mean(axis=-1, keepdims=True), wanted - wanted.mean()
    size = np.linalg.norm(shown, axis=-1)
    along = shown @ wanted / np.linalg.norm(wanted)
    return (size > 25) & (along > 0.95 * size)


def middle(picture, colour):
    """Row and column of the middle of a label, as fractions of the picture."""
    mask = like(picture, colour)
    assert mask.sum() > 50, "nothing of that colour is in the picture"
    return np.argwhere(mask).mean(axis=0) / mask.shape


def changed(one, other):
    """Pixels that differ between two pictures."""
    return np.abs(one.astype(int) - other.astype(int)).max(axis=-1) > 8


def test_the_patients_left_is_right_in_the_radiological_convention(seen):
    for plane in ("axial", "coronal"):
        row, column = middle(seen[f"radiological {plane}"], RED)
        assert row < 0.5 < column, plane  # front in the axial one, head in the coronal one


def test_the_neurological_convention_mirrors_axial_and_coronal_alone(seen):
    for plane in ("axial", "coronal"):
        old = middle(seen[f"radiological {plane}"], RED)
        new = middle(seen[f"neurological {plane}"], RED)
        np.testing.assert_allclose(new, (old[0], 1 - old[1]), atol=0.01)
    assert not changed(seen["radiological sagittal"], seen["neurological sagittal"]).any()
    row, column = middle(seen["radiological sagittal"], RED)
    assert row < 0.5, "the head is up"
    assert column < 0.5, "the front is left"


def test_3d_is_no_mirror_image_in_either_convention(seen):
    assert str(seen["handedness"]) == "right"


def at_edges(mask):
    """The pixels of a mask near the middle of the left, right, top and bottom edge."""
    rows, columns = mask.shape
    strip = 60
    high, wide = slice(rows // 2 - 30, rows // 2 + 30), slice(columns // 2 - 30, columns // 2 + 30)
    return mask[high, :strip], mask[high, -strip:], mask[:85, wide], mask[-85:, wide]


@pytest.mark.parametrize("plane", PLANES)
def test_letters_are_at_the_four_edges_and_nowhere_else(seen, plane):
    letters = changed(seen[f"no letters {plane}"], seen[f"radiological {plane}"])
    edges = at_edges(letters)
    assert all(edge.sum() > 20 for edge in edges)
    assert sum(edge.sum() for edge in edges) == letters.sum()


def shape_of(picture, side):
    """The bright pixels of the letter at the left (0) or right (1) edge, cut out."""
    patch = at_edges(picture.min(axis=-1) > 140)[side]
    rows, columns = np.nonzero(patch.any(axis=1))[0], np.nonzero(patch.any(axis=0))[0]
    return patch[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def test_the_letters_change_sides_with_the_patient(seen):
    for plane in ("axial", "coronal"):
        left, right = (shape_of(seen[f"radiological {plane}"], side) for side in (0, 1))
        assert left.shape != right.shape  # R and L
        new_left, new_right = (shape_of(seen[f"neurological {plane}"], side) for side in (0, 1))
        assert abs(np.subtract(new_left.shape, right.shape)).max() <= 1
        assert abs(np.subtract(new_right.shape, left.shape)).max() <= 1


@pytest.mark.parametrize("plane", PLANES)
def test_the_letters_stay_at_the_edges_where_the_camera_goes_elsewhere(seen, plane):
    before = at_edges(seen[f"radiological {plane}"].min(axis=-1) > 140)
    after = at_edges(seen[f"panned {plane}"].min(axis=-1) > 140)
    for old, new in zip(before, after, strict=True):
        assert new.sum() > 20
        assert np.array_equal(old, new)


def test_the_notice_stays_on_the_main_canvas(seen):
    assert str(seen["notice"]) == RESEARCH_NOTICE
    assert seen["notice shown"]
    bright = seen["panned axial"].min(axis=-1)[-30:] > 140
    assert np.ptp(np.nonzero(bright)[1]) > 200, "a line of text at the bottom"


@pytest.mark.parametrize("plane", PLANES)
def test_the_crosshair_marks_the_point_and_leaves_it_to_be_seen(seen, plane):
    lines = changed(seen[f"crosshair off {plane}"], seen[f"crosshair {plane}"])
    row, column = seen[f"cross {plane}"]
    for along, at in ((1, row), (0, column)):
        filled = lines.mean(axis=along)
        assert abs(filled.argmax() - at) <= 2
        assert filled.max() > 0.8
    assert lines.mean() < 0.02
    assert not lines[row - 8 : row + 9, column - 8 : column + 9].any()
    assert seen["layers for the crosshair"] == 0


def test_each_slider_moves_the_common_point(seen):
    expected = np.array([5.0, 6.0, 22.0])
    for axis, plane in enumerate(PLANES):
        expected[axis] = 9 + axis
        np.testing.assert_allclose(seen[f"slider {plane}"], expected, atol=1e-6)
        assert seen[f"steps {plane}"].tolist() == expected.tolist()


def test_shift_moves_the_point_to_the_mouse(seen):
    np.testing.assert_allclose(seen["shift moved"], (4, 7, 10), atol=0.1)
    np.testing.assert_allclose(seen["shift clicked"], (4, 7, 23), atol=0.1)
    np.testing.assert_allclose(seen["said last"], seen["shift clicked"])


def test_a_point_beyond_the_volume_is_brought_into_it(seen):
    np.testing.assert_allclose(seen["beyond"][:2], (21, 0), atol=1e-6)


def test_paint_in_the_coronal_view_lands_on_the_voxel_of_the_source(seen):
    assert seen["painted voxels"].tolist() == seen["voxel meant"].tolist()
    assert seen["shared"].all()


@pytest.mark.parametrize("moment", ["painting", "painted"])
@pytest.mark.parametrize("plane", PLANES)
def test_paint_shows_in_all_views_while_the_button_is_down(seen, plane, moment):
    new = changed(seen[f"unpainted {plane}"], seen[f"{moment} {plane}"])
    rows, columns = np.nonzero(new & like(seen[f"{moment} {plane}"], BLUE))
    assert len(rows) > 50
    voxel = np.sqrt(len(rows) / (rows.max() + 1 - rows.min()) / (columns.max() + 1 - columns.min()))
    assert voxel > 0.8, "one box"
    assert abs(np.array([rows.mean(), columns.mean()]) - seen[f"paint {plane}"]).max() < 4


def test_a_stroke_is_told_once_and_can_be_taken_back_exactly(seen):
    assert seen["heard while painting"] == 0
    assert str(seen["painted name"]) == "brush"
    assert seen["painted is main"]
    assert seen["restored"]
    assert seen["histories"].tolist() == [0, 0, 0]


def test_a_3d_brush_in_a_side_view_is_told_too(seen):
    assert seen["3D brush depth"] > 2
    assert seen["3D brush atoms"] == 1


@pytest.mark.parametrize("plane", PLANES)
def test_what_an_operation_changed_is_shown_after_refresh(seen, plane):
    for colour in (RED, BLUE):  # the brush's own circle comes and goes
        before, after = (
            like(seen[f"{when} {plane}"], colour) for when in ("unpainted", "taken back")
        )
        assert np.array_equal(before, after)


def test_side_views_follow_the_layers_and_the_layers_follow_them(seen):
    assert (seen["mirrored"] == (100, 400, 0.7, 1, 0.3, 2, 0)).all()
    assert seen["from the sides"].tolist() == [2, 7]
    assert seen["in both sides"].tolist() == [7, 7]
    assert set(seen["units"].tolist()) == {"millimeter"}
    assert (seen["moved names"] == ["labels", "image"]).all()
    assert seen["selected"].all()
    assert not seen["emptied"].any()
    assert seen["order again"].tolist() == [0, 1, 2]


def test_a_drag_with_the_right_button_changes_the_window_and_not_the_zoom(seen):
    # From 100..400: 150 px to the right, half as wide again; 30 px up, a tenth of 300 higher.
    np.testing.assert_allclose(seen["window"], (55, 505))
    np.testing.assert_allclose(seen["window told"], (55, 505))
    np.testing.assert_allclose(seen["window mirrored"], (55, 505))
    assert seen["zoom kept"]


def test_keys_reach_the_main_viewer_and_arrows_step_the_side_view(seen):
    assert seen["keys"] == 1
    assert seen["steps by key"].tolist() == [1, 1, -1]


def test_linked_zoom_shows_a_millimetre_alike(seen):
    assert seen["zooms"].tolist() == [4.5] * 3


def test_closing_leaves_the_main_viewer_as_it_was(seen):
    assert not seen["left behind"].any()
    assert seen["layers kept"] == 2
    assert seen["orientation"].tolist() == ["towards", "down", "right"]
    assert seen["napari's undo again"] == 1


def test_none_outlasts_more_references_given_back_than_there_are():
    assert make_none_immortal()
    assert make_none_immortal()
    assert sys.version_info >= (3, 12) or 2**39 < sys.getrefcount(None) < 2**41


@pytest.mark.slow
def test_closed_views_and_cases_that_were_left_leave_nothing_behind(tmp_path):
    found = run("leaks", tmp_path)
    assert found["open: alive"].tolist() == []
    assert found["layers: alive"].tolist() == []
    assert found["open: widgets"][-1] <= found["open: widgets"][1]
