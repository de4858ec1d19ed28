"""``unetr deidentify`` says how many files it wrote, which not and why, and nothing of people."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.io_files import content, edit_dicom, save_series
from unetr_app.cli import main

WORD = "QUAGMYRE"


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for path in save_series(tmp_path / "in"):
        edit_dicom(path, PatientName=f"{WORD}^Jo", PatientID=WORD, StudyDescription=WORD)
    return tmp_path / "in"


def run(capsys: Any, *arguments: object) -> tuple[int, str, str]:
    code = main(["deidentify", *map(str, arguments)])
    said = capsys.readouterr()
    assert WORD not in said.out + said.err
    return code, said.out, said.err


def test_all_done(scans: Path, tmp_path: Path, capsys: Any) -> None:
    code, out, err = run(capsys, scans, "-o", tmp_path / "out")
    assert code == 0
    assert "7 files written in 1 series" in out
    assert err == ""


def test_some_refused_is_exit_code_3_with_cause_and_cure(
    scans: Path, tmp_path: Path, capsys: Any
) -> None:
    path = sorted(scans.iterdir())[0]
    edit_dicom(path, BurnedInAnnotation="YES")
    code, out, err = run(capsys, scans, "-o", tmp_path / "out")
    assert code == 3
    assert f"failed: {path.name}: an image with burned-in annotation" in err
    assert "--accept-pixels" in err
    assert "1 failed or refused" in out
    code, out, _ = run(capsys, scans, "-o", tmp_path / "out2", "--accept-pixels")
    assert code == 0


def test_none_done_is_exit_code_4(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no image")
    assert run(capsys, tmp_path / "in", "-o", tmp_path / "out")[0] == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["in", "-o", "in/out"], "within each other"),
        (["in", "-o", "out", "--uid-map", "out/map.json"], "UID map lies within"),
        (["in", "-o", "out", "--keep-dates", "all"], "neither shift nor remove"),
        (["absent", "-o", "out"], "no such file"),
    ],
)
def test_usage_is_exit_code_2_and_nothing_is_begun(
    scans: Path, tmp_path: Path, capsys: Any, monkeypatch: Any, arguments: Any, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = content(tmp_path)
    code, _, err = run(capsys, *arguments)
    assert code == 2
    assert words in err
    assert content(tmp_path) == before


def test_json(scans: Path, tmp_path: Path, capsys: Any) -> None:
    (scans / "broken.dcm").write_bytes(b"\0" * 128 + b"DICMbroken")
    code, out, _ = run(capsys, scans, "-o", tmp_path / "out", "--json")
    found = json.loads(out)
    assert code == 3
    assert found["written"] == 7
    assert [row["file"] for row in found["failed"]] == ["broken.dcm"]
    assert set(found["failed"][0]) == {"file", "code", "cause", "cure"}


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_a_stopped_run_leaves_whole_files_and_goes_on(tmp_path: Path, capsys: Any) -> None:
    for number in range(40):
        for path in save_series(tmp_path / "in" / str(number)):
            edit_dicom(path, SOPInstanceUID=f"1.2.3.{number}.{int(path.stem[-3:])}")
    arguments = [tmp_path / "in", "-o", tmp_path / "out", "--uid-map", tmp_path / "map.json"]
    code = "import sys; from unetr_app.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "deidentify", *arguments], stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not list((tmp_path / "out").rglob("*.dcm")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 143
    assert b"to go on" in err
    before = content(tmp_path / "out")
    assert run(capsys, *arguments)[0] == 0
    after = content(tmp_path / "out")
    assert len(after) == 280
    assert before.items() <= after.items()
    assert not [name for name in after if "part" in name]
