from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.display import to_display
from unetr_app.review.editing.change import Change, change_to
from unetr_app.review.editing.history import Edited, EditHistory
from unetr_app.review.editing.packing import pack, unpack
from unetr_app.review.editing.strokes import display_to_source, stroke

law = settings(deadline=None, max_examples=40)
SHAPE = (5, 4, 7)


def some_change(rng, data, name="brush"):
    size = int(rng.integers(1, data.size // 2))
    where = np.sort(rng.choice(data.size, size, replace=False)).astype(np.int64)
    before = data.reshape(-1)[where]
    high = 2 if data.dtype == np.bool_ else 5
    return Change.between(name, where, before, rng.integers(0, high, size).astype(data.dtype))


def some_labels(rng, overlapping, dtype=np.uint8):
    if overlapping:
        return rng.integers(0, 2, (3, *SHAPE)).astype(np.bool_)
    return rng.integers(0, 5, SHAPE).astype(dtype)


def walk(history, rng, moves):
    """Random steps; the states as undo should find them."""
    past, future = [], []
    for move in moves:
        now = history.data.copy()
        if move == "undo":
            step = history.undo()
            assert (step is None) == (not past)
            if past:
                future.append(now)
                np.testing.assert_array_equal(history.data, past.pop())
        elif move == "redo":
            step = history.redo()
            assert (step is None) == (not future)
            if future:
                past.append(now)
                np.testing.assert_array_equal(history.data, future.pop())
        else:
            change = some_change(rng, history.data, f"step {len(past)}")
            if change is None:
                continue
            if move == "record":
                change.write(history.data)
                history.record(change)
            else:
                history.apply(change)
            past.append(now)
            future = []
            assert history.undoable == change.name
        assert bool(history.undoable) == bool(past)
        assert bool(history.redoable) == bool(future)
    return past


moves = st.lists(st.sampled_from(["apply", "record", "apply", "undo", "undo", "redo"]), max_size=25)


@law
@given(st.integers(0, 10**6), moves, st.booleans())
def test_undo_and_redo_are_bit_exact_over_any_sequence(seed, moves, overlapping):
    rng = np.random.default_rng(seed)
    start = some_labels(rng, overlapping)
    history = EditHistory(start.copy())
    past = walk(history, rng, moves)
    assert history.is_changed == bool((history.data != start).any())
    for axis in range(3):
        others = tuple(n for n in range(start.ndim) if n != axis + start.ndim - 3)
        changed = np.flatnonzero((history.data != start).any(axis=others))
        np.testing.assert_array_equal(history.changed_slices(axis), changed)
    for state in reversed(past):
        assert history.undo() is not None
        np.testing.assert_array_equal(history.data, state)
    assert history.undo() is None
    np.testing.assert_array_equal(history.data, start)
    assert not history.is_changed


@law
@given(st.integers(0, 10**6), st.booleans())
def test_voxels_edited_counts_what_each_label_gained_and_lost(seed, overlapping):
    rng = np.random.default_rng(seed)
    start = some_labels(rng, overlapping)
    values = (2, 3, 7) if overlapping else (1, 2, 3, 4, 9)
    history = EditHistory(start.copy(), values)
    for _ in range(3):
        change = some_change(rng, history.data)
        if change is not None:
            history.apply(change)
    if overlapping:
        masks = dict(zip(values, zip(history.data, start, strict=True), strict=True))
    else:
        masks = {value: (history.data == value, start == value) for value in values}
    told = history.voxels_edited(values)
    assert list(told) == list(values)
    for value, (now, then) in masks.items():
        assert told[value] == Edited(int((now & ~then).sum()), int((then & ~now).sum()))
    assert history.voxels_edited() == told


def test_counting_can_start_from_another_array_than_the_one_edited():
    prediction = np.zeros(SHAPE, np.uint8)
    version = prediction.copy()
    version[1, 2, 3] = 4
    history = EditHistory(version.copy(), start=prediction)
    assert history.is_changed
    assert history.voxels_edited() == {4: Edited(1, 0)}
    assert history.changed_slices(0).tolist() == [1]
    back = Change("erase", np.flatnonzero(version), np.uint8([4]), np.uint8([0]))
    history.apply(back)
    assert not history.is_changed
    assert not prediction.any()


@law
@given(st.integers(0, 10**6), st.sets(st.integers(0, 4), max_size=3), st.booleans())
def test_locked_labels_stay_whether_applied_or_painted(seed, locked, painted):
    rng = np.random.default_rng(seed)
    start = some_labels(rng, overlapping=False)
    history = EditHistory(start.copy())
    history.locked = frozenset(locked)
    change = some_change(rng, history.data)
    if change is None:
        return
    if painted:
        change.write(history.data)
        kept = history.record(change)
    else:
        kept = history.apply(change)
    for value in locked:
        np.testing.assert_array_equal(history.data == value, start == value)
    expected = start.copy().reshape(-1)
    for where, before, after in zip(change.where, change.before, change.after, strict=True):
        if before not in locked and after not in locked:
            expected[where] = after
    np.testing.assert_array_equal(history.data.reshape(-1), expected)
    assert (kept is None) == bool((expected == start.reshape(-1)).all())
    assert history.undoable == ("" if kept is None else "brush")
    history.locked = frozenset()
    history.undo()
    np.testing.assert_array_equal(history.data, start)


def test_locked_masks_stay_and_others_change():
    rng = np.random.default_rng(3)
    start = some_labels(rng, overlapping=True)
    history = EditHistory(start.copy(), (2, 5, 6))
    history.locked = frozenset({5})
    everything = np.arange(start.size, dtype=np.int64)
    change = Change("invert", everything, start.reshape(-1), ~start.reshape(-1))
    change.write(history.data)
    history.record(change)
    np.testing.assert_array_equal(history.data[1], start[1])
    np.testing.assert_array_equal(history.data[[0, 2]], ~start[[0, 2]])
    history.undo()
    np.testing.assert_array_equal(history.data, start)


def test_memory_is_bounded_and_the_oldest_steps_go():
    rng = np.random.default_rng(0)
    history = EditHistory(rng.integers(0, 200, (20, 20, 20)).astype(np.uint8), max_bytes=20_000)
    states = []
    for n in range(40):
        states.append(history.data.copy())
        where = np.sort(rng.choice(8000, 500, replace=False)).astype(np.int64)
        before = history.data.reshape(-1)[where]
        change = Change(f"step {n}", where, before, ((before + 1) % 200).astype(np.uint8))
        history.apply(change)
    undone = 0
    while history.undoable:
        history.undo()
        undone += 1
        np.testing.assert_array_equal(history.data, states[-undone])
    assert 2 <= undone < 40
    assert sum(len(step.packed) for step in history._redo) <= 20_000


def test_a_step_larger_than_all_memory_can_still_be_undone():
    history = EditHistory(np.zeros((9, 9, 9), np.uint8), max_bytes=1)
    where = np.arange(729, dtype=np.int64)
    history.apply(Change("clear", where, np.zeros(729, np.uint8), np.ones(729, np.uint8)))
    assert history.undoable == "clear"
    history.undo()
    assert not history.data.any()


@law
@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([np.uint8, np.uint16]))
def test_a_packed_change_comes_back_whole(seed, overlapping, dtype):
    rng = np.random.default_rng(seed)
    change = some_change(rng, some_labels(rng, overlapping, dtype), "grow 2 mm · Leber")
    if change is None:
        return
    back = unpack(pack(change))
    assert back.name == change.name
    for part in ("where", "before", "after"):
        np.testing.assert_array_equal(getattr(back, part), getattr(change, part))
        assert getattr(back, part).dtype == getattr(change, part).dtype


def test_places_beyond_four_billion_voxels_are_packed_exactly():
    where = np.array([5, 2**31, 2**33 + 1, 2**33 + 2], dtype=np.int64)
    change = Change("far", where, np.zeros(4, np.uint8), np.array([1, 2, 3, 3], np.uint8))
    np.testing.assert_array_equal(unpack(pack(change)).where, where)


@pytest.mark.parametrize(
    ("where", "before", "after"),
    [
        ([3, 3], [0, 0], [1, 1]),
        ([4, 3], [0, 0], [1, 1]),
        ([-1, 3], [0, 0], [1, 1]),
        ([3, 4], [0, 1], [1, 1]),
        ([3], [0, 0], [1, 1]),
        ([], [], []),
    ],
)
def test_changes_that_contradict_themselves_are_refused(where, before, after):
    with pytest.raises(InvalidRequest):
        Change("x", np.array(where, np.int64), np.uint8(before), np.uint8(after))


def test_a_stale_change_is_refused_and_changes_nothing():
    history = EditHistory(np.ones(SHAPE, np.uint8))
    stale = Change("brush", np.array([2]), np.uint8([0]), np.uint8([3]))
    with pytest.raises(InvalidRequest, match="changed since"):
        history.apply(stale)
    with pytest.raises(InvalidRequest, match="not what was painted"):
        history.record(stale)
    assert (history.data == 1).all()
    assert not history.undoable


@pytest.mark.parametrize(
    "data",
    [
        np.zeros(SHAPE, np.float32),
        np.zeros((2, *SHAPE), np.uint8),
        np.zeros(SHAPE, np.bool_),
        np.zeros(SHAPE, np.uint8).T,
        np.broadcast_to(np.uint8(0), SHAPE),
    ],
)
def test_arrays_that_cannot_be_edited_in_place_are_refused(data):
    with pytest.raises(InvalidRequest):
        EditHistory(data)


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_display_indices_come_home_in_every_orientation(codes):
    grid = Geometry((3, 4, 5), np.diag([0.7, 1.1, 2.0, 1.0])).reoriented(codes)
    numbered = np.arange(60).reshape(grid.shape)
    shown = to_display(numbered, grid)
    indices = np.indices(shown.shape)
    np.testing.assert_array_equal(numbered[display_to_source(indices, grid)], shown)


@law
@given(geometries(min_side=2, max_side=6, max_angle_deg=180.0), st.integers(0, 10**6))
def test_strokes_painted_on_the_screen_are_undone_in_the_source(grid, seed):
    """Paint through the display view, some voxels several times, as napari reports it."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 4, grid.shape).astype(np.uint8)
    history = EditHistory(start.copy())
    shown = to_display(history.data, grid)
    pieces = []
    for value in (2, 3, 2, 0):
        count = int(rng.integers(1, 9))
        indices = tuple(rng.integers(0, n, count) for n in shown.shape)
        pieces.append((display_to_source(indices, grid), shown[indices].copy()))
        shown[indices] = value
    change = stroke(history.data, pieces, "brush")
    painted = history.data.copy()
    if change is None:
        np.testing.assert_array_equal(painted, start)
        return
    np.testing.assert_array_equal(np.flatnonzero(painted != start), change.where)
    history.record(change)
    history.undo()
    np.testing.assert_array_equal(history.data, start)
    history.redo()
    np.testing.assert_array_equal(history.data, painted)


def test_large_strokes_follow_the_same_law(monkeypatch):
    from unetr_app.review.editing import strokes

    rng = np.random.default_rng(1)
    data = rng.integers(0, 4, (9, 8, 7)).astype(np.uint8)
    pieces = []
    for value in (1, 2, 3):
        where = rng.integers(0, data.size, 150)
        pieces.append((where, data.reshape(-1)[where]))
        data.reshape(-1)[where] = value
    sorted_way = stroke(data, pieces, "brush")
    monkeypatch.setattr(strokes, "_FEW", 0)
    wide_way = stroke(data, pieces, "brush")
    np.testing.assert_array_equal(sorted_way.where, wide_way.where)
    np.testing.assert_array_equal(sorted_way.before, wide_way.before)
    np.testing.assert_array_equal(sorted_way.after, wide_way.after)


def test_a_mask_shown_as_numbers_and_painted_with_five_becomes_true():
    masks = np.zeros((2, 3, 4, 5), np.bool_)
    history = EditHistory(masks)
    shown = masks[1].view(np.int8)  # as napari shows a mask
    shown[1, 2, 3] = 5
    change = stroke(masks, [((np.array([1]), np.array([2]), np.array([3])), 0)], "brush", row=1)
    history.record(change)
    assert masks.view(np.uint8)[1, 1, 2, 3] == 1
    assert masks.sum() == 1
    history.undo()
    assert not masks.any()


def test_a_stroke_outside_the_grid_is_refused():
    data = np.zeros(SHAPE, np.uint8)
    for where in (np.array([data.size]), np.array([-1]), [np.array([0]), np.array([9]), [0]]):
        with pytest.raises(InvalidRequest, match="outside"):
            stroke(data, [(where, 0)], "brush")


def test_the_change_to_another_array_makes_it_equal_and_back():
    rng = np.random.default_rng(5)
    data, wanted = (rng.integers(0, 3, (4, 5, 6)).astype(np.uint8) for _ in range(2))
    begin = data.copy()
    change = change_to(data, np.asfortranarray(wanted), "back")
    assert change is not None
    change.write(data)
    np.testing.assert_array_equal(data, wanted)
    change.reversed.write(data)
    np.testing.assert_array_equal(data, begin)
    assert change_to(data, begin, "back") is None
    with pytest.raises(InvalidRequest, match="shape"):
        change_to(data, wanted[1:], "back")
