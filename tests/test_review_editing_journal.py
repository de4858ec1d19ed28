from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_review_editing_history import moves, some_change, some_labels, walk
from unetr_app.errors import InvalidRequest, UnreadableInput, UnwritableOutput
from unetr_app.review.editing import journal as journals
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.journal import StrokeJournal, base_hash

law = settings(deadline=None, max_examples=25)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "case" / "edits.journal"


def opened(path, start):
    """A fresh history that does what the journal says."""
    history = EditHistory(start.copy())
    journal = StrokeJournal.open(path, base_hash(start))
    journal.replay(history)
    return history, journal


def edited(path, start, seed=0, steps=6):
    """States after each step, and where the file ended then."""
    rng = np.random.default_rng(seed)
    history, _ = opened(path, start)
    states, ends = [start.copy()], [len(journals._head(base_hash(start)))]
    while len(states) <= steps:
        change = some_change(rng, history.data)
        if change is not None:
            history.apply(change)
            states.append(history.data.copy())
            ends.append(path.stat().st_size)
    return states, ends


@law
@given(st.integers(0, 10**6), moves, st.booleans())
def test_what_is_reopened_is_what_was_left_undo_and_redo_too(tmp_path_factory, seed, moves, masks):
    path = tmp_path_factory.mktemp("journal") / "edits.journal"
    rng = np.random.default_rng(seed)
    start = some_labels(rng, masks)
    history, _ = opened(path, start)
    walk(history, rng, moves)
    again, journal = opened(path, start)
    assert journal.damage == ""
    history.journal = again.journal = None
    while True:
        np.testing.assert_array_equal(again.data, history.data)
        assert (again.undoable, again.redoable) == (history.undoable, history.redoable)
        if history.undo() is None:
            break
        again.undo()


@pytest.mark.parametrize("step", [1, 3, 6])
def test_a_torn_end_loses_that_step_alone(path, step):
    start = some_labels(np.random.default_rng(1), False)
    states, ends = edited(path, start)
    whole = path.read_bytes()
    cuts = {ends[step] - 1, (ends[step - 1] + ends[step]) // 2, ends[step - 1] + 1}
    for cut in cuts:
        path.write_bytes(whole[:cut])
        history, journal = opened(path, start)
        np.testing.assert_array_equal(history.data, states[step - 1])
        assert journal.damage
        assert path.read_bytes() == whole[:cut]  # opening writes nothing


def test_damage_in_the_middle_keeps_all_before_and_sets_the_rest_aside(path):
    start = some_labels(np.random.default_rng(2), False)
    states, ends = edited(path, start)
    content = bytearray(path.read_bytes())
    content[(ends[3] + ends[4]) // 2] ^= 0x40
    path.write_bytes(content)
    history, journal = opened(path, start)
    np.testing.assert_array_equal(history.data, states[3])
    assert "damaged" in journal.damage
    change = some_change(np.random.default_rng(9), history.data)
    history.apply(change)
    aside = path.with_name(path.name + ".damaged-1")
    assert aside.read_bytes() == bytes(content[ends[3] :])
    again, journal = opened(path, start)
    np.testing.assert_array_equal(again.data, history.data)
    assert journal.damage == ""


@law
@given(st.data())
def test_whatever_happens_to_the_bytes_a_whole_state_comes_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "edits.journal"
    start = some_labels(np.random.default_rng(2), False)
    states, ends = edited(path, start, steps=4)
    content = bytearray(path.read_bytes())
    first = data.draw(st.integers(0, len(content) - 1))
    harm = data.draw(st.binary(min_size=1, max_size=12))
    content[first : first + len(harm)] = harm
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    path.write_bytes(content)
    try:
        history, _ = opened(path, start)
    except (UnreadableInput, InvalidRequest):
        assert first < ends[0] or len(content) < ends[0]
        return
    done = [n for n, state in enumerate(states) if (history.data == state).all()]
    untouched = sum(end <= min(first, len(content)) for end in ends) - 1
    assert done
    assert max(done) >= untouched


def test_zeros_behind_the_end_as_a_power_cut_leaves_them_are_passed_over(path):
    start = some_labels(np.random.default_rng(2), False)
    states, _ = edited(path, start)
    path.write_bytes(path.read_bytes() + bytes(4096))
    history, journal = opened(path, start)
    np.testing.assert_array_equal(history.data, states[-1])
    assert journal.damage


def test_a_journal_of_other_labels_is_refused_and_unharmed(path):
    start = some_labels(np.random.default_rng(2), False)
    edited(path, start)
    content = path.read_bytes()
    for other in (start + 1, start.astype(np.uint16), start.reshape(start.shape[::-1])):
        with pytest.raises(InvalidRequest, match="other labels"):
            StrokeJournal.open(path, base_hash(other))
    assert path.read_bytes() == content


@pytest.mark.parametrize("content", [b"no journal", b"UNETRSTK", b"UNETRSTK\x63\x00\x00\x00" * 2])
def test_files_that_are_no_journal_are_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(UnreadableInput):
        StrokeJournal.open(path, base_hash(np.zeros((2, 2, 2), np.uint8)))


def test_a_damaged_head_is_refused(path):
    start = some_labels(np.random.default_rng(2), False)
    edited(path, start)
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="head"):
        StrokeJournal.open(path, base_hash(start))


def test_opening_a_case_that_nobody_edits_makes_no_file(path):
    start = some_labels(np.random.default_rng(2), False)
    opened(path, start)
    assert not path.parent.exists()


@pytest.mark.parametrize("part", [0, 7])
def test_a_full_disk_keeps_the_step_and_the_next_one_writes_both(path, monkeypatch, part):
    """The disk takes ``part`` bytes of a record, then none; then there is space again."""
    start = some_labels(np.random.default_rng(4), False)
    edited(path, start, steps=2)
    rng = np.random.default_rng(5)
    history, journal = opened(path, start)
    write = os.write
    torn = []

    def full(handle, data):
        if torn or not part:
            raise OSError(28, "No space left on device")
        torn.append(True)
        return write(handle, data[:part])

    first = some_change(rng, history.data, "on a full disk")
    with monkeypatch.context() as disk:
        disk.setattr(journals.os, "write", full)
        with pytest.raises(UnwritableOutput, match="could not be put on the disk"):
            history.apply(first)
    assert history.undoable == "on a full disk"
    assert journal.pending == 1
    np.testing.assert_array_equal(history.data.reshape(-1)[first.where], first.after)
    history.apply(some_change(rng, history.data, "after"))
    assert journal.pending == 0
    again, reread = opened(path, start)
    assert reread.damage == ""
    np.testing.assert_array_equal(again.data, history.data)
    again.undo()
    assert again.undoable == "on a full disk"


@pytest.mark.skipif(sys.platform == "win32", reason="limits of the operating system")
@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_limit_of_the_operating_system_is_a_full_disk(path, room):
    resource = pytest.importorskip("resource")
    start = some_labels(np.random.default_rng(4), False)
    _, ends = edited(path, start, steps=2)
    rng = np.random.default_rng(5)
    history, journal = opened(path, start)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ends[-1] + room, hard))
    try:
        for _ in range(2):
            with pytest.raises(UnwritableOutput, match="could not be put on the disk"):
                history.apply(some_change(rng, history.data))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.pending == 2
    journal.flush()
    again, reread = opened(path, start)
    assert (reread.damage, journal.pending) == ("", 0)
    np.testing.assert_array_equal(again.data, history.data)


def test_a_disk_full_from_the_first_step_on_keeps_it(path, monkeypatch):
    start = some_labels(np.random.default_rng(4), False)
    history, journal = opened(path, start)
    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(UnwritableOutput):
            history.apply(some_change(np.random.default_rng(1), history.data))
    assert journal.pending == 1
    history.undo()
    again, _ = opened(path, start)
    assert again.redoable == "brush"
    np.testing.assert_array_equal(again.data, start)


def test_a_failing_flush_counts_as_not_written(path, monkeypatch):
    start = some_labels(np.random.default_rng(4), False)
    edited(path, start, steps=1)
    history, journal = opened(path, start)
    with monkeypatch.context() as disk:
        disk.setattr(journals.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(5, "EIO")))
        with pytest.raises(UnwritableOutput):
            history.undo()
    journal.flush()
    assert journal.pending == 0
    again, reread = opened(path, start)
    assert (again.redoable, reread.damage) == (history.redoable, "")
    np.testing.assert_array_equal(again.data, history.data)


def test_another_writer_is_noticed_and_its_records_stay(path):
    start = some_labels(np.random.default_rng(4), False)
    edited(path, start, steps=1)
    history, journal = opened(path, start)
    history.apply(some_change(np.random.default_rng(7), history.data))
    path.write_bytes(path.read_bytes() + b"from elsewhere")
    content = path.read_bytes()
    with pytest.raises(UnwritableOutput, match="another program"):
        history.undo()
    assert path.read_bytes() == content
    assert journal.pending == 1


def test_clearing_begins_anew_and_older_steps_can_still_be_undone(path):
    start = some_labels(np.random.default_rng(6), False)
    states, _ = edited(path, start, steps=4)
    history, journal = opened(path, start)
    journal.add_seconds(3.5)
    saved = history.data.copy()
    journal.clear(base_hash(saved))
    assert journal.seconds == 0.0
    history.undo()
    history.undo()
    history.redo()
    again, _ = opened(path, saved)
    np.testing.assert_array_equal(again.data, states[3])
    again.redo()
    np.testing.assert_array_equal(again.data, saved)


def test_a_clearing_that_fails_leaves_the_old_journal(path, monkeypatch):
    start = some_labels(np.random.default_rng(6), False)
    states, _ = edited(path, start, steps=4)
    history, journal = opened(path, start)
    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        with pytest.raises(UnwritableOutput):
            journal.clear(base_hash(history.data))
    again, _ = opened(path, start)
    np.testing.assert_array_equal(again.data, states[-1])


def test_time_spent_adds_up_over_sessions(path):
    start = some_labels(np.random.default_rng(6), False)
    for seed, seconds in enumerate((1.5, 2.25)):
        history, journal = opened(path, start)
        journal.add_seconds(seconds)
        history.apply(some_change(np.random.default_rng(seed), history.data))
    _, journal = opened(path, start)
    assert journal.seconds == 3.75


def test_a_step_that_does_not_fit_ends_the_replay(path):
    """A journal whose records are whole but were written out of step."""
    start = np.zeros((3, 4, 5), np.uint8)
    history, journal = opened(path, start)
    history.apply(some_change(np.random.default_rng(1), history.data))
    kept = history.data.copy()
    journal.append("undo", history._undo[-1].packed)
    journal.append("undo", history._undo[-1].packed)
    again, reread = opened(path, start)
    assert not again.data.any()
    assert "could not be replayed" in reread.damage
    again.redo()
    final, reread = opened(path, start)
    np.testing.assert_array_equal(final.data, kept)
    assert reread.damage == ""


KILLED = """
import sys
import numpy as np
from pathlib import Path
from unetr_app.review.editing.change import Change
from unetr_app.review.editing.history import EditHistory
from unetr_app.review.editing.journal import StrokeJournal, base_hash
data = np.zeros((40, 40, 40), np.uint8)
history = EditHistory(data)
StrokeJournal.open(Path(sys.argv[1]), base_hash(data)).replay(history)
for n in range(1_000_000):
    where = np.arange(n % 50, data.size, 50)
    before = data.reshape(-1)[where]
    history.apply(Change(str(n), where, before, before + np.uint8(1)))
    print(n, flush=True)  # the user sees it done
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("wait", [0.05, 0.2])
def test_kill_nine_loses_at_most_the_stroke_under_way(path, wait):
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    first = run.stdout.readline()
    time.sleep(wait)
    run.send_signal(signal.SIGKILL)
    seen = int((first + run.communicate()[0]).split()[-1])
    start = np.zeros((40, 40, 40), np.uint8)
    history, _ = opened(path, start)
    done = int(history.undoable)
    assert done in (seen, seen + 1)
    expected = start.copy().reshape(-1)
    for n in range(done + 1):
        expected[n % 50 :: 50] += 1
    np.testing.assert_array_equal(history.data.reshape(-1), expected)
