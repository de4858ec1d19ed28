"""What kills, signals and other processes do to a batch: each test starts the real command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.batch_fakes import manifest_of, results_of, write_bundle, write_cases

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
CASES = 6


def start(
    folder: Path, out: Path, *, delay: float = 0.0, options: str = ""
) -> subprocess.Popen[str]:
    arguments = ["segment", "in", "-o", str(out), "-b", "bundle", "--trust", "--no-preview"]
    arguments += options.split()
    return subprocess.Popen(
        [sys.executable, "-m", "tests.batch_fakes", str(delay), *arguments],
        cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_for(process: subprocess.Popen[str], path: Path, rows: int) -> None:
    """Wait until the manifest has so many rows."""
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        if path.is_file() and path.read_bytes().count(b"\n") >= rows:
            return
        time.sleep(0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("batch")
    write_cases(folder / "in", CASES)
    write_bundle(folder / "bundle")
    assert finish(start(folder, folder / "clean"))[0] == 0
    return folder


def test_killed_and_run_again_the_results_are_those_of_a_clean_run(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    for kill in range(3):
        process = start(folder, out, delay=0.03)
        wait_for(process, out / "manifest.jsonl", 2 * kill)
        time.sleep(0.05 * kill)
        process.kill()
        finish(process)
        for row in manifest_of(out) if (out / "manifest.jsonl").exists() else []:
            assert all((out / name).is_file() for name in row["outputs"])  # pyright: ignore
    code, said, _ = finish(start(folder, out))
    assert code == 0
    assert "6 inputs = " in said
    assert results_of(out) == results_of(folder / "clean")
    assert len(manifest_of(out)) == CASES
    assert not list(out.rglob(".*"))


@pytest.mark.slow
def test_killed_at_forty_moments(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    for moment in range(40):
        process = start(folder, out, options="--overwrite" if moment % 5 == 4 else "")
        time.sleep(0.3 + 0.025 * moment)
        process.kill()
        finish(process)
    assert finish(start(folder, out))[0] == 0
    assert results_of(out) == results_of(folder / "clean")
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_batch_soon_and_the_next_run_completes_it(
    folder: Path, tmp_path: Path, number: signal.Signals
):
    out = tmp_path / "out"
    process = start(folder, out, delay=0.2)
    wait_for(process, out / "manifest.jsonl", 2)
    asked = time.monotonic()
    process.send_signal(number)
    code, said, err = finish(process)
    assert code == 128 + number
    assert time.monotonic() - asked < 10
    assert "remaining" in said
    assert "Traceback" not in err
    rows = manifest_of(out)
    assert 2 <= len(rows) < CASES
    assert not (out / ".working").exists()
    assert finish(start(folder, out))[0] == 0
    assert results_of(out) == results_of(folder / "clean")


def test_a_network_that_never_looks_up_is_ended_all_the_same(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    process = start(folder, out, delay=60)
    wait_for(process, out / ".working/claims/case_00", 0)
    end = time.monotonic() + 60
    while not (out / ".working/claims/case_00").exists() and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(1)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 128 + signal.SIGTERM
    assert time.monotonic() - asked < 10
    assert finish(start(folder, out))[0] == 0
    assert results_of(out) == results_of(folder / "clean")
    assert not list(out.rglob(".*"))


def test_two_processes_on_one_folder_do_each_case_once(folder: Path, tmp_path: Path):
    out = tmp_path / "out"
    both = [start(folder, out, delay=0.03) for _ in range(2)]
    ends = [finish(process) for process in both]
    assert [code for code, _, _ in ends] == [0, 0]
    worked = Counter(
        line.split("] ")[1].split(":")[0]
        for _, _, err in ends
        for line in err.splitlines()
        if ": done in" in line
    )
    assert worked == {f"case_{n:02d}": 1 for n in range(CASES)}
    assert results_of(out) == results_of(folder / "clean")
    assert len(manifest_of(out)) == CASES


def test_the_case_of_a_killed_process_is_taken_over_by_the_one_that_waits(
    folder: Path, tmp_path: Path
):
    out = tmp_path / "out"
    slow = start(folder, out, delay=30, options="--jobs 0")
    end = time.monotonic() + 60
    while not (out / ".working/claims/case_00").exists() and time.monotonic() < end:
        time.sleep(0.05)
    other = start(folder, out)
    wait_for(other, out / "manifest.jsonl", CASES - 1)
    assert other.poll() is None
    slow.kill()
    finish(slow)
    assert finish(other)[0] == 0
    assert results_of(out) == results_of(folder / "clean")
