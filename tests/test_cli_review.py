"""The command `unetr review` without a window."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from tests.review_out import paint, write_out, write_pair
from unetr_app import cli
from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE, SOME_FAILED, USAGE
from unetr_app.review.decision import Decision
from unetr_app.review.worklist import open_worklist


@pytest.fixture
def out(tmp_path: Path) -> Path:
    found = write_out(tmp_path, 2)
    with open_worklist(found).open("case_1", "anna") as desk:
        paint(desk, 100)
        desk.record(Decision("accepted", grade=4))
    return found


def test_the_list_says_what_was_decided(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["review", str(out), "--list"]) == ALL_DONE
    said = capsys.readouterr().out
    (line,) = [line for line in said.splitlines() if line.startswith("case_1")]
    assert line.split()[:5] == ["case_1", "accepted", "4", "1", "anna"]
    assert "1 of 2 decided" in said


def test_the_list_says_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pair(tmp_path / "data", "a")
    (tmp_path / "data" / "b.nii.gz").write_bytes((tmp_path / "data" / "a.nii.gz").read_bytes())
    assert cli.main(["review", str(tmp_path / "data"), "--list"]) == ALL_DONE
    assert "images without labels that were left out: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "made"),
    [("nifti", "case_1.nii.gz"), ("report", "review.html"), ("training-set", "dataset.json")],
)
def test_every_kind_is_exported(out: Path, tmp_path: Path, kind: str, made: str) -> None:
    target = tmp_path / "export"
    assert cli.main(["review", str(out), "--export", kind, "-o", str(target)]) == ALL_DONE
    assert (target / made).is_file()


def test_a_case_that_cannot_be_exported_shows_in_the_exit_code(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_worklist(out).open("case_2", "anna") as desk:
        desk.record(Decision("accepted"))
    shutil.rmtree(out / "case_2")
    told = ["review", str(out), "-o", str(tmp_path / "export"), "--export"]
    assert cli.main([*told, "nifti"]) == SOME_FAILED
    assert "case_2 failed" in capsys.readouterr().out
    assert cli.main([*told, "dicom-seg"]) == NONE_DONE
    assert "no DICOM series" in capsys.readouterr().out
    assert cli.main([*told, "report"]) == ALL_DONE
    rows = list(csv.DictReader((tmp_path / "export" / "review.csv").read_text().splitlines()))
    assert "results are not there" in rows[-1]["problem"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--export", "bogus", "-o", "x"], "Use one of nifti"),
        (["--export", "nifti"], "Add -o"),
        (["--list", "--export", "nifti", "-o", "x"], "Give one of them"),
        (["--list", "-o", "x"], "--export KIND"),
    ],
)
def test_wrong_arguments_say_what_to_do(
    out: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review", str(out), *options]) == USAGE
    assert words in capsys.readouterr().err


def test_a_path_that_names_nothing_is_told_without_its_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["review", str(tmp_path / "Meier" / "gone"), "--list"]) == USAGE
    said = capsys.readouterr().err
    assert "gone: there is no such file or folder" in said
    assert "Meier" not in said
