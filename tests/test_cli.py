from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from unetr_app import cli
from unetr_app.cli import COMMANDS, app, main
from unetr_app.cli.screen import clean, show_table
from unetr_app.errors import DeviceMemory, UnwritableOutput
from unetr_app.version import __version__


@pytest.mark.parametrize("arguments", [["--version"], ["segment", "--version"]])
def test_version(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"unetr-app {__version__}\n"


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, words in COMMANDS.items():
        assert f"{name} " in out
        assert words in out
    assert "Examples:" in out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Usage: unetr {name}" in out
    assert "Examples:" in out
    assert f"unetr {name}" in out.split("Examples:")[1]


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    said = capsys.readouterr()
    assert "Commands:" in said.out + said.err


def test_a_misspelt_command_gets_a_suggestion(capsys: pytest.CaptureFixture[str]):
    assert main(["segmnt"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "'segment'" in err


def test_the_app_itself_runs_sub_commands():
    result = CliRunner().invoke(app, ["bundles", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (UnwritableOutput("it is full", cure="Free\nspace.", path="/x/out"), 2,
         "out: it is full. Free space."),
        (DeviceMemory("it is full"), 4, "it is full"),
        (KeyError("Jane Doe"), 1, "internal error of type KeyError"),
        (KeyboardInterrupt(), 130, ""),
    ],
)  # fmt: skip
def test_no_error_is_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
):
    def fails(*_: object, **__: object) -> int:
        raise error

    monkeypatch.delenv("UNETR_DEBUG", raising=False)
    monkeypatch.setattr(cli, "_run", fails)
    assert main(["bundles"]) == code
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert "Jane" not in err


def test_a_reader_that_goes_away_is_no_traceback():
    head = (
        f"{sys.executable} -c 'from unetr_app.cli import main; main()' bundles --json | head -c 1"
    )
    ended = subprocess.run(head, shell=True, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr


def test_bundles_as_a_table_and_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["bundles"]) == 0
    table = capsys.readouterr().out
    assert main(["bundles", "--json"]) == 0
    cards = json.loads(capsys.readouterr().out)
    assert {card["name"] for card in cards} >= {"hippocampus_mr_unetr_segmentation"}
    for card in cards:
        assert card["name"] in table
        assert "/" not in card["name"]
        assert card["modality"] in ("MR", "CT")
        assert card["labels"]
        assert all(f"{value} {name}" in table for value, name in card["labels"].items())
        assert card["weights"] or card["weights_advice"] in table


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]):
    assert clean("a\x1b[31mb\nc\u202ed") == "a?[31mb?c?d"
    show_table(("Case", ">ml"), [("a\x07", "1.5"), ("longer name", "10.25")])
    assert capsys.readouterr().out == (
        "Case            ml\na?             1.5\nlonger name  10.25\n"
    )
