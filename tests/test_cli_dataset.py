"""``unetr dataset``: exit codes, words, and what is left on disk."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_datasets import CANARY, dicom_case, file_case
from unetr_app.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["dataset", *(str(a) for a in arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_all_cases_are_in_some_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for n in range(2):
        dicom_case(tmp_path / f"in/{n}", n)
    out = tmp_path / "set"
    code, said, warned = run(capsys, tmp_path / "in", "-o", out, "--folds", 2)
    assert code == 0
    assert "2 cases in the data set (0 already there), 0 failed." in said
    assert CANARY not in said + warned
    again = run(capsys, tmp_path / "in", "-o", out, "--folds", 2)
    assert "(2 already there)" in again[1]
    assert [again[0]] == [0]
    (tmp_path / "in/0/rtstruct.dcm").write_bytes(
        (tmp_path / "in/0/rtstruct.dcm").read_bytes()[:2500]
    )
    code, said, warned = run(capsys, tmp_path / "in", "-o", out, "--folds", 2)
    assert code == 3
    assert "failed:" in warned
    assert len(json.loads((out / "dataset.json").read_text())["training"]) == 1
    (tmp_path / "nothing").mkdir()
    assert run(capsys, tmp_path / "nothing", "-o", tmp_path / "x")[0] == 4
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--labels", "1=a,b"], "--labels"),
        (["--rename", "a"], "--rename"),
        (["--folds", "1"], "folds"),
    ],
)
def test_words_that_cannot_be_meant_are_exit_code_2(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_case(tmp_path / "in", "a", 1)
    code, _, heard = run(capsys, tmp_path / "in", "-o", tmp_path / "out", *words)
    assert code == 2
    assert said in heard


def test_the_output_inside_of_the_input_is_no_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file_case(tmp_path, "a", 1)
    for _ in range(2):
        code, said, _ = run(capsys, tmp_path, "-o", tmp_path / "set", "--folds", 2)
        assert code == 0
        assert said.startswith("Case")
        assert "1 case in the data set" in said


def test_a_killed_run_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    for n in range(4):
        file_case(tmp_path / "in", f"c{n}", n)
    out = tmp_path / "set"
    code = (
        "import os, sys\n"
        "from unetr_app.datasets import maker\n"
        "first, calls = maker.write_case, []\n"
        "def write_case(*a, **k):\n"
        "    calls.append(1)\n"
        "    if len(calls) == 3: os.kill(os.getpid(), 9)\n"
        "    return first(*a, **k)\n"
        "maker.write_case = write_case\n"
        "from unetr_app.cli import main\n"
        "main(['dataset', sys.argv[1], '-o', sys.argv[2], '--folds', '2'])\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "in"), str(out)]
    assert subprocess.run(words, check=False, capture_output=True).returncode == -9
    assert not (out / "dataset.json").exists()
    done = main(["dataset", str(tmp_path / "in"), "-o", str(out), "--folds", "2"])
    assert done == 0
    main(["dataset", str(tmp_path / "in"), "-o", str(tmp_path / "whole"), "--folds", "2"])
    for name in ("imagesTr", "labelsTr"):
        for path in (out / name).iterdir():
            assert path.read_bytes() == (tmp_path / "whole" / name / path.name).read_bytes()
    one, other = (json.loads((x / "dataset.json").read_text()) for x in (out, tmp_path / "whole"))
    assert one["training"] == other["training"]


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "--help"]) == 0
    assert "unetr dataset hospital_export/ -o liver_set" in capsys.readouterr().out
