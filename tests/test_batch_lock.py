import subprocess
import sys
import threading
from pathlib import Path

import pytest

from unetr_app.batch.lock import FileLock
from unetr_app.errors import UnwritableOutput

HOLD = """
import sys
from pathlib import Path
from unetr_app.batch.lock import FileLock
assert FileLock(Path(sys.argv[1])).take()
lock = FileLock(Path(sys.argv[2]))
lock.take()
print("held", flush=True)
sys.stdin.read()
"""


def test_at_most_one_holder(tmp_path: Path):
    first, second = FileLock(tmp_path / "x/lock"), FileLock(tmp_path / "x/lock")
    assert first.take()
    assert not second.take()
    first.release()
    assert second.take()
    second.release()
    assert not second.path.exists()


def test_releasing_without_holding_harms_no_holder(tmp_path: Path):
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    first.take()
    second.release()
    assert first.path.exists()
    assert not second.take()
    first.release()


def test_a_killed_holder_lets_go(tmp_path: Path):
    lock = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "other"), str(lock)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not FileLock(lock).take()
        assert f'"pid": {holder.pid}' in lock.read_text()
        holder.kill()
        holder.wait()
    assert lock.exists()
    with FileLock(lock):
        pass
    assert not lock.exists()


def test_many_threads_take_turns(tmp_path: Path):
    inside: list[int] = []
    most: list[int] = []

    def turn() -> None:
        for _ in range(20):
            with FileLock(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=turn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 80
    assert max(most) == 1


def test_a_lock_that_cannot_be_made_is_our_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="cannot be locked"):
        FileLock(tmp_path / "file/lock").take()
