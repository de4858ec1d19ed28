from __future__ import annotations

import json
from pathlib import Path

import pytest

from unetr_app.outputs import read_manifest, read_measurements

GOOD = {"case_id": "a", "status": "done", "input": "a.nii"}


def test_the_newest_row_of_a_case_counts(tmp_path: Path):
    rows = [GOOD, {"case_id": "b"}, GOOD | {"status": "failed"}]
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_manifest(tmp_path) == {"a": GOOD | {"status": "failed"}, "b": {"case_id": "b"}}


@pytest.mark.parametrize(
    "odd", ['{"case_id": "b", "inp', "[1, 2]", "null", "\x00\xff", '{"a": 1}', '{"case_id": 3}',
            "[" * 100_000, ""],
)  # fmt: skip
def test_an_odd_line_spoils_no_other(tmp_path: Path, odd: str):
    whole = json.dumps(GOOD)
    (tmp_path / "manifest.jsonl").write_text(f"{whole}\n{odd}\n{whole}\n{odd}", encoding="latin-1")
    assert read_manifest(tmp_path) == {"a": GOOD}


def test_a_folder_without_a_manifest_has_no_rows(tmp_path: Path):
    assert read_manifest(tmp_path) == read_manifest(tmp_path / "gone") == {}


def test_measurements_are_the_rows_that_have_value_and_name(tmp_path: Path):
    good = {"value": 1, "name": "Anterior", "millilitres": 1.5}
    odd = ["x", None, {"value": 2}, {"value": "3", "name": "three"}, {"value": 4, "name": None}]
    (tmp_path / "measurements.json").write_text(json.dumps({"labels": [*odd, good]}))
    assert read_measurements(tmp_path) == [good]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"labels": 3}', "\xff"])
def test_damaged_measurements_are_none(tmp_path: Path, text: str):
    (tmp_path / "measurements.json").write_text(text, encoding="latin-1")
    assert read_measurements(tmp_path) == read_measurements(tmp_path / "gone") == []
