from __future__ import annotations

import gzip
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.batch_fakes import (
    FakeSegmenter,
    manifest_of,
    results_of,
    write_bundle,
    write_case,
    write_cases,
)
from tests.io_files import OBLIQUE, save_series
from unetr_app import cli
from unetr_app.batch.outcome import BatchResult, Outcome, Problem
from unetr_app.bundle import read_card
from unetr_app.bundle.trust import trust
from unetr_app.cli.batch_end import exit_code
from unetr_app.cli.exit_codes import ALL_DONE, NONE_DONE
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.io import read_geometry
from unetr_app.notice import RESEARCH_NOTICE

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def unetr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run the command in a folder with ``in`` (three cases) and ``bundle`` (a threshold)."""
    write_cases(tmp_path / "in", 3)
    write_bundle(tmp_path / "bundle")
    trust(tmp_path / "bundle")
    monkeypatch.chdir(tmp_path)

    def opened(
        bundle: Path, *, device: str = "auto", options: Any = None, ask_trust: bool = False
    ) -> FakeSegmenter:
        if device == "cuda:7":
            raise InvalidRequest("the device 'cuda:7' is not there", cure="Use --device cpu.")
        return FakeSegmenter(read_card(bundle))  # pyright: ignore

    fake = ModuleType("unetr_app.inference.segmenter")
    fake.Segmenter = SimpleNamespace(open=opened)  # pyright: ignore
    monkeypatch.setitem(sys.modules, "unetr_app.inference.segmenter", fake)

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["segment", *arguments, "--no-preview"])
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err

    return run


MAIN = ("in", "-o", "out", "-b", "bundle")


def test_all_done(unetr: Command):
    code, out, err = unetr(*MAIN)
    assert code == 0
    assert "3 inputs = 3 done + 0 failed + 0 already done + 0 remaining" in out
    assert RESEARCH_NOTICE in out
    assert re.search(r"case_01 +done +\d+\.\d +\d\.\d{3} +\d\.\d{3}", out)
    assert "Dim body ml" in out
    assert "[3/3] case_02: done in" in err
    code, out, _ = unetr(*MAIN)
    assert code == 0
    assert "3 inputs = 0 done + 0 failed + 3 already done + 0 remaining" in out


def test_some_failed(unetr: Command, tmp_path: Path):
    (tmp_path / "in/bad.nii.gz").write_bytes(b"")
    (tmp_path / "in/notes.txt").write_text("notes")
    code, out, err = unetr(*MAIN)
    assert code == 3
    assert "4 inputs = 3 done + 1 failed" in out
    assert re.search(r"Failed: bad: bad\.nii\.gz: .*empty.*", out)
    assert "1 file passed over" in err


def test_none_done(unetr: Command, tmp_path: Path):
    for path in (tmp_path / "in").iterdir():
        path.write_bytes(b"nothing")
    assert unetr(*MAIN)[0] == 4


def test_an_empty_folder_is_none_done_and_makes_nothing(unetr: Command, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    code, _, err = unetr("empty", "-o", "out", "-b", "bundle")
    assert code == 4
    assert "no images were found" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gone", "-o", "out", "-b", "bundle"), "gone: there is no such file"),
        (("in", "-o", "out"), "no bundle is named.*hippocampus_mr_unetr_segmentation"),
        (("in", "-o", "out", "-b", "hippocampus_unetr"), "Did you mean hippocampus_mr_unetr"),
        (("in", "-o", "out", "-b", "in"), "no configs/metadata.json"),
        (("in", "-b", "bundle"), "--output"),
        (("-o", "out", "-b", "bundle"), "INPUT"),
        ((*MAIN, "--device", "tpu"), "no device 'tpu'"),
        ((*MAIN, "--device", "cuda:7"), "--device cpu"),
        ((*MAIN, "--labels", "Dim body,Spleen"), "no label 'Spleen'.*1 Dim body, 2 Bright body"),
        ((*MAIN, "--labels", ","), "no label ''"),
        (("in", "-o", "", "-b", "bundle"), "no output folder is named"),
        ((*MAIN, "--jobs", "-3"), "jobs is -3"),
        ((*MAIN, "--jobs", "many"), "--jobs"),
        ((*MAIN, "--nonsense"), "--nonsense"),
    ],
)
def test_usage_errors_are_one_line_that_helps(
    unetr: Command, arguments: tuple[str, ...], said: str
):
    code, out, err = unetr(*arguments)
    assert code == 2
    assert re.search(said, err + out)
    assert out == "" or "0 done" in out
    assert "Results are in" not in out
    complaints = [line for line in err.splitlines() if line.startswith("unetr segment: ")]
    assert len(complaints) == (0 if out else 1)


def test_a_bundle_without_weights_says_where_to_get_them(unetr: Command, tmp_path: Path):
    (tmp_path / "bundle/models/model.pt").unlink()
    code, out, err = unetr(*MAIN)
    assert (code, out) == (2, "")
    assert err.startswith("unetr segment: ")
    assert "Ask the weaver for a new threshold." in err
    assert not (tmp_path / "out").exists()


def test_a_dry_run_sees_what_headers_show(unetr: Command, tmp_path: Path):
    data = (tmp_path / "in/case_01.nii.gz").read_bytes()
    text = bytearray(gzip.decompress(data))
    text[40:56] = struct.pack("<8h", 3, 5, 6, 1, 1, 1, 1, 1)  # the shape: one slice
    (tmp_path / "in/case_01.nii.gz").write_bytes(gzip.compress(bytes(text)))
    _, out, _ = unetr(*MAIN, "--dry-run")
    assert re.search(r"case_01 +would fail +case_01\.nii\.gz: a single slice", out)
    assert re.search(r"case_02 +would be segmented", out)


def test_a_dry_run_says_what_and_why_and_does_nothing(unetr: Command, tmp_path: Path):
    code, out, _ = unetr(*MAIN, "--dry-run")
    assert code == 0
    assert "3 cases: 3 would be segmented" in out
    assert not (tmp_path / "out").exists()
    unetr(*MAIN)
    write_case(tmp_path / "in/case_01.nii.gz", 9)
    (tmp_path / "out/case_02/labels.nii.gz").unlink()
    (tmp_path / "in/empty.nii").write_bytes(b"")
    before = results_of(tmp_path / "out")
    code, out, _ = unetr(*MAIN, "--dry-run")
    assert code == 0
    assert re.search(r"case_00 +would be left +already done", out)
    assert re.search(r"case_01 +would be segmented +input changed", out)
    assert re.search(r"case_02 +would be segmented +results missing", out)
    assert re.search(r"empty +would fail +empty\.nii: .*empty", out)
    assert results_of(tmp_path / "out") == before
    _, out, _ = unetr(*MAIN, "--dry-run", "--labels", "1")
    assert re.search(r"case_00 +would be segmented +options changed", out)
    _, out, _ = unetr(*MAIN, "--dry-run", "--overwrite")
    assert re.search(r"case_00 +would be segmented +overwrite", out)


def test_quiet_prints_failures_alone(unetr: Command, tmp_path: Path):
    (tmp_path / "in/notes.txt").write_text("notes")
    assert unetr(*MAIN, "--quiet") == (0, "", "")
    (tmp_path / "in/bad.nii.gz").write_bytes(b"")
    code, out, err = unetr(*MAIN, "-q")
    assert (code, out) == (3, "")
    assert "bad.nii.gz" in err


def test_labels_by_name_or_value_and_a_file_for_each(unetr: Command, tmp_path: Path):
    unetr(*MAIN, "--labels", "bright BODY", "--split-labels")
    assert [p.name for p in (tmp_path / "out/case_00/labels").iterdir()] == ["bright-body.nii.gz"]
    code, out, _ = unetr(*MAIN, "--labels", " 2, ", "--split-labels")
    assert code == 0
    assert "3 already done" in out


def test_the_input_is_kept_as_typed(unetr: Command, tmp_path: Path):
    unetr("./in/case_01.nii.gz", "-o", "out", "-b", "bundle")
    (row,) = manifest_of(tmp_path / "out")
    assert row["input"] == "./in/case_01.nii.gz"
    assert row["input_from_manifest"] == "../in/case_01.nii.gz"


def test_paths_are_in_the_manifest_alone(unetr: Command, tmp_path: Path):
    write_case(tmp_path / "Doe^Jane/scan.nii.gz", 4)
    _, out, err = unetr("Doe^Jane", "-o", "out", "-b", "bundle")
    assert "Jane" not in out + err
    for name, content in results_of(tmp_path / "out").items():
        assert b"Jane" not in content, name


@pytest.mark.parametrize("where", ["in/out", "in", "."])
def test_results_are_never_inputs(unetr: Command, tmp_path: Path, where: str):
    for _ in range(2):
        code, out, _ = unetr("in", "-o", where, "-b", "bundle")
        assert code == 0
        assert out.count("3 inputs = ") == 1
    assert "3 already done" in out
    manifest = tmp_path / where / "manifest.jsonl"
    torn = [json.loads(line) for line in manifest.read_text().splitlines()][:2]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in torn))
    claims = tmp_path / where / ".working/claims"
    claims.mkdir(parents=True)
    (claims / "case_02").write_text("")  # as a process killed before the row was written leaves it
    code, out, _ = unetr("in", "-o", where, "-b", "bundle")
    assert "3 inputs = 1 done + 0 failed + 2 already done" in out


def test_exit_codes():
    done = Outcome("a", "done", "a")
    skipped = Outcome("b", "done", "b", resumed=True)
    failed = Outcome("c", "failed", "c", error=Problem("x", "y"))
    for result, code in {
        BatchResult((done, skipped)): 0,
        BatchResult((skipped,)): 0,
        BatchResult((done, failed)): 3,
        BatchResult((skipped, failed)): 3,
        BatchResult((done,), ("d",), Cancelled("stop")): 3,
        BatchResult((failed,)): 4,
        BatchResult((failed,), ("d",)): 4,
        BatchResult((), ("d",), InvalidRequest("no such device")): 2,
    }.items():
        assert exit_code(result) == code


def test_configs_of_others_are_programs_and_run_when_trusted(unetr: Command, tmp_path: Path):
    (tmp_path / "bundle" / "scripts").mkdir()
    (tmp_path / "bundle" / "scripts" / "more.py").write_text("print('hello')")
    code, out, err = unetr(*MAIN)
    assert code == 2
    assert out == ""
    assert "not trusted yet" in err
    assert "--trust" in err
    assert not (tmp_path / "out").exists()
    assert unetr(*MAIN, "--dry-run")[0] == 0  # which runs nothing of the bundle
    assert unetr(*MAIN, "--trust")[0] == 0
    assert unetr(*MAIN)[0] == 0


def test_maps_are_written_where_asked_for_and_go_where_not(unetr: Command, tmp_path: Path):
    assert unetr(*MAIN, "--uncertainty", "--probabilities")[0] == 0
    folder = next(path for path in (tmp_path / "out").iterdir() if path.is_dir())
    names = {path.name for path in folder.iterdir()}
    assert {"uncertainty.nii.gz", "probabilities.nii.gz", "labels.nii.gz"} <= names
    assert not any(name.endswith(".npy") for name in names)
    assert "already done" in unetr(*MAIN, "--uncertainty", "--probabilities")[1]
    assert unetr(*MAIN, "--uncertainty")[0] == 0
    names = {path.name for path in folder.iterdir()}
    assert "uncertainty.nii.gz" in names
    assert "probabilities.nii.gz" not in names


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--memory-limit", "lots"], "'lots' is no size"),
        (["--overlap", "1"], "overlap 1.0"),
        (["--flips", "x"], "'x' are no axes"),
    ],
)
def test_odd_words_about_inference(unetr: Command, arguments: list[str], said: str):
    code, _, err = unetr(*MAIN, *arguments)
    assert code == 2
    assert said in err


def test_a_gap_is_resampled_only_where_asked_and_then_recorded(
    unetr: Command, tmp_path: Path
) -> None:
    paths = save_series(tmp_path / "series", OBLIQUE.cropped((0, 0, 0), (9, 8, 7)))
    paths[3].unlink()
    code, _, err = unetr("series", "-o", "out", "-b", "bundle")
    assert code == NONE_DONE
    assert "--regularise" in err
    code, _, _ = unetr("series", "-o", "out", "-b", "bundle", "--regularise")
    assert code == ALL_DONE
    row = manifest_of(tmp_path / "out")[-1]
    assert row["parameters"]["regularise"] is True  # pyright: ignore
    assert any("regularised" in str(w) for w in row["warnings"])  # pyright: ignore
    (label_map,) = (tmp_path / "out").glob("*/labels.nii.gz")
    assert read_geometry(label_map).shape == (9, 8, 7)
