"""A person's walk through a review in a real window, and what was seen of it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.napari_out import require_napari
from tests.test_napari_window import command

pytest.importorskip("qtpy", reason="napari has no window without Qt")
require_napari()

SCRIPT = Path(__file__).with_name("review_walk.py")


def walk(script: Path, *arguments: str | Path, folder: Path) -> None:
    """Run a script with a window, in a process of its own; skip where there is no screen."""
    environment = os.environ | {
        "NAPARI_CONFIG": str(folder / "settings.yaml"),
        "LIBGL_ALWAYS_SOFTWARE": "1",
        "PYTHONPATH": str(SCRIPT.parent.parent),
    }
    done = subprocess.run(
        [*command(), str(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=500, env=environment, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "Qt platform plugin" in done.stderr:
        pytest.skip(f"no window can be opened here: {done.stderr.strip().splitlines()[0]}")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("review")
    walk(SCRIPT, folder, folder / "seen.json", folder=folder)
    return json.loads((folder / "seen.json").read_text())


def test_a_marker_at_the_patients_left_is_on_the_right_of_radiological_views(seen):
    row, column = seen["radiological axial"]["red"]
    assert row < 0.5 < column  # the front is up
    assert seen["radiological axial"]["letters"] == ["R", "L", "A", "P"]
    assert seen["radiological coronal"]["red"][1] > 0.5
    assert seen["radiological coronal"]["letters"] == ["R", "L", "S", "I"]


def test_it_is_on_the_left_of_neurological_views_and_sagittal_stays(seen):
    assert seen["neurological axial"]["red"][1] < 0.5
    assert seen["neurological axial"]["letters"] == ["L", "R", "A", "P"]
    assert seen["neurological coronal"]["red"][1] < 0.5
    assert seen["neurological coronal"]["letters"] == ["L", "R", "S", "I"]
    assert seen["neurological sagittal"] == seen["radiological sagittal"]
    assert seen["radiological sagittal"]["red"][1] < 0.5  # the front of the patient
    assert seen["radiological sagittal"]["letters"] == ["A", "P", "S", "I"]


def test_the_other_label_lies_at_the_back_right(seen):
    row, column = seen["radiological axial"]["blue"]
    assert column < 0.5 < row


def test_the_last_case_is_said_to_be_the_last(seen):
    assert "last case" in seen["after the last"]


def test_the_next_case_is_fitted_to_its_views(seen):
    assert seen["zoom of the next"] == pytest.approx([1, 1, 1], rel=0.01)


@pytest.mark.parametrize("tool", ["brush", "ball"])
@pytest.mark.parametrize(("plane", "thin"), [("axial", 2), ("coronal", 1), ("sagittal", 0)])
def test_a_brush_is_as_wide_in_mm_in_every_plane(seen, plane, thin, tool):
    spacing = [1.0, 1.2, 2.5]
    for axis, wide in enumerate(seen[f"{tool} {plane}"]):
        if axis == thin and tool == "brush":
            assert wide == pytest.approx(spacing[axis])
        else:
            assert wide == pytest.approx(9, abs=spacing[axis])


def test_a_padlock_holds_from_case_to_case(seen):
    assert seen["locked in the next case"] == [1]
    assert seen["unlocked"] == []


def test_a_stroke_in_a_plane_changes_that_plane_alone(seen):
    voxels, slices = seen["painted axial"]
    assert voxels > 20
    assert slices == 1
    more, through = seen["painted coronal"]
    assert more > voxels
    assert through > 1


def test_one_undo_for_strokes_in_all_planes(seen):
    assert seen["after one undo"] == seen["painted axial"]
    assert seen["after two undos"] == [0, 0]
    assert seen["after a redo"] == seen["painted axial"]
    assert seen["steps"] == ["brush", "grow 2 mm"]


def test_decisions_by_keyboard_are_kept(seen):
    assert seen["status while editing"] == "editing"
    assert seen["row 1"] == ["accepted", False, 4, "fine now: N A R", "tester"]
    assert seen["row 2"] == ["rejected", True, 0, "", "tester"]
    assert seen["row 3"] == ["unreviewed", False, 0, "", ""]
    assert seen["versions"] == [1]


def test_a_second_reviewer_is_told_who_has_the_case(seen):
    assert "tester" in seen["second reviewer"]


def test_what_is_exported_is_what_was_edited_on_the_source_grid(seen):
    assert seen["export is the edit"]
    assert seen["export is on the grid"]
    assert "1 case" in seen["exported"]


def test_predictions_are_outlines_in_register_that_change_nothing(seen):
    assert seen["predicted"] == ["tiny uncertainty", "tiny"]  # once, though predicted twice
    assert seen["prediction in register"]
    assert seen["labels stay"]
    assert seen["tool stays"]
    assert "case_1 was predicted, but is no longer open" in seen["late prediction"]


def test_the_prediction_never_changes(seen):
    assert seen["prediction"] == seen["prediction at the end"]


def test_napari_can_make_every_widget_of_its_menu(seen):
    assert {"ReviewWidget", "predict_widget", "learn_widget"} <= set(seen["docks"])
