"""The Editor: label maps and overlapping masks give the same, locks hold, undo takes all back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_review_editing_operations import blobs, grids, seeds
from unetr_app.errors import InvalidRequest, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.labels import LabelSet
from unetr_app.review.editing.brushes import Brush
from unetr_app.review.editing.editor import Editor
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.journal import StrokeJournal, base_hash

law = settings(deadline=None, max_examples=25)
LABELS = LabelSet.from_names({2: "liver", 4: "tumour", 7: "vessel"})

OPERATIONS = {
    "brush3d": lambda editor, at: editor.brush3d(at, 2.5, 2),
    "disc": lambda editor, at: editor.brush(Brush(2, 2.5, axis=1), at),
    "path": lambda editor, at: editor.brush(Brush(2, 1.5), [at, (0, 0, 0)]),
    "erase3d": lambda editor, at: editor.erase3d(at, 2.5, 2),
    "largest_component": lambda editor, _: editor.largest_component(2),
    "remove_islands": lambda editor, _: editor.remove_islands(2, 0.03),
    "fill_holes": lambda editor, _: editor.fill_holes(2),
    "fill_slices": lambda editor, _: editor.fill_holes(2, 0),
    "grow": lambda editor, _: editor.grow(2, 2.0, over_labels=True),
    "shrink": lambda editor, _: editor.shrink(2, 2.0),
    "interpolate": lambda editor, _: editor.interpolate(2, 0),
    "replace": lambda editor, _: editor.replace(2, 7),
    "clear": lambda editor, _: editor.clear(2),
}


def as_map(rng, grid):
    return np.array([0, 2, 4, 7], np.uint8)[blobs(rng, grid.shape)]


def editor_of(data, grid):
    return Editor(EditHistory(data, LABELS.values), grid, LABELS)


@law
@given(grids, seeds, st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=6))
def test_any_sequence_of_operations_is_undone_bit_exactly(grid, seed, names):
    rng = np.random.default_rng(seed)
    start = as_map(rng, grid)
    editor = editor_of(start.copy(), grid)
    states = []
    for name in names:
        now = editor.history.data.copy()
        step = OPERATIONS[name](editor, rng.integers(0, grid.shape))
        assert (step is None) == bool((now == editor.history.data).all())
        if step is not None:
            states.append(now)
            assert editor.history.undoable == step.name != ""
    for state in reversed(states):
        editor.history.undo()
        np.testing.assert_array_equal(editor.history.data, state)
    assert editor.history.undo() is None


@law
@given(grids, seeds, st.sampled_from(sorted(set(OPERATIONS) - {"replace"})))
def test_a_mask_among_masks_is_edited_as_if_it_were_alone(grid, seed, name):
    rng = np.random.default_rng(seed)
    alone = np.where(as_map(rng, grid) == 2, 2, 0).astype(np.uint8)
    others = rng.integers(0, 2, (2, *grid.shape)).astype(np.bool_)
    at = rng.integers(0, grid.shape)
    of_map = editor_of(alone.copy(), grid)
    of_masks = editor_of(np.stack([alone == 2, *others]), grid)
    done = OPERATIONS[name](of_map, at)
    assert (done is None) == (OPERATIONS[name](of_masks, at) is None)
    np.testing.assert_array_equal(of_masks.history.data[0], of_map.history.data == 2)
    np.testing.assert_array_equal(of_masks.history.data[1:], others)
    of_masks.history.undo()
    np.testing.assert_array_equal(of_masks.history.data[0], alone == 2)


def test_one_mask_joins_another_in_one_step():
    grid = Geometry((3, 4, 5), np.eye(4))
    start = np.random.default_rng(0).integers(0, 2, (3, 3, 4, 5)).astype(np.bool_)
    editor = editor_of(start.copy(), grid)
    editor.replace(7, 2)
    masks = editor.history.data
    np.testing.assert_array_equal(masks[0], start[0] | start[2])
    np.testing.assert_array_equal(masks[1], start[1])
    assert not masks[2].any()
    editor.history.undo()
    np.testing.assert_array_equal(masks, start)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
@pytest.mark.parametrize("overlapping", [False, True])
def test_a_locked_label_stays_under_every_operation(name, overlapping):
    rng = np.random.default_rng(5)
    grid = Geometry((7, 8, 9), np.diag([1.0, 0.8, 1.5, 1.0]))
    start = as_map(rng, grid)
    if overlapping:
        start = np.stack([start == value for value in LABELS.values])
    editor = editor_of(start.copy(), grid)
    editor.history.locked = frozenset({2})
    assert OPERATIONS[name](editor, (3, 4, 5)) is None
    np.testing.assert_array_equal(editor.history.data, start)
    assert not editor.history.undoable


def test_erasing_spares_other_labels_where_one_is_named():
    grid = Geometry((5, 5, 5), np.eye(4))
    start = np.full(grid.shape, 2, np.uint8)
    start[2] = 4
    editor = editor_of(start.copy(), grid)
    editor.erase3d((2, 2, 2), 20.0, 4)
    assert set(np.unique(editor.history.data)) == {0, 2}
    editor.erase3d((2, 2, 2), 20.0)
    assert not editor.history.data.any()


def test_a_step_is_done_though_the_journal_could_not_keep_it(tmp_path, monkeypatch):
    grid = Geometry((5, 5, 5), np.eye(4))
    editor = editor_of(np.zeros(grid.shape, np.uint8), grid)
    journal = StrokeJournal.open(tmp_path / "edits", base_hash(editor.history.data))
    journal.replay(editor.history)
    editor.brush3d((1, 1, 1), 1.0, 2)
    with monkeypatch.context() as disk:
        disk.setattr("os.write", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(UnwritableOutput):
            editor.brush3d((3, 3, 3), 1.0, 4)
    assert editor.history.voxels_edited()[4].added == 7
    journal.flush()
    again = EditHistory(np.zeros(grid.shape, np.uint8))
    assert StrokeJournal.open(tmp_path / "edits", base_hash(again.data)).replay(again) == 2
    np.testing.assert_array_equal(again.data, editor.history.data)


def test_labels_that_are_not_there_are_refused():
    grid = Geometry((3, 4, 5), np.eye(4))
    editor = editor_of(np.ones(grid.shape, np.uint8), grid)
    for ask in (
        lambda: editor.grow(3, 1.0),
        lambda: editor.clear(0),
        lambda: editor.replace(2, 300),
        lambda: editor.brush3d((1, 1, 1), 1.0, 258),
        lambda: editor.erase3d((1, 1, 1), 1.0, 1),
    ):
        with pytest.raises(InvalidRequest, match="no label"):
            ask()
    masks = editor_of(np.ones((3, *grid.shape), np.bool_), grid)
    with pytest.raises(InvalidRequest, match="overlap"):
        masks.erase3d((1, 1, 1), 1.0)
    assert not editor.history.is_changed


def test_an_editor_of_another_grid_or_other_masks_is_refused():
    grid = Geometry((3, 4, 5), np.eye(4))
    with pytest.raises(UnsafeGeometry):
        editor_of(np.zeros((3, 5, 4), np.uint8), grid)
    with pytest.raises(InvalidRequest):
        Editor(EditHistory(np.zeros((3, *grid.shape), np.bool_)), grid, LABELS)
