"""Safe names are safe on every system, whatever they are made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from unetr_app.io.names import LONGEST, safe_name, short_hash

DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")  # Windows keeps these names


@given(st.text())
@example("../../x")
@example("/etc/passwd")
@example("a\0b\nc")
@example("x" * 300)
@example("😀")
@example("CON")
@example("con.nii")
@example("\u202egnp.exe")
@example("C:\\x")
@example("...")
@example("-rf")
@example("summary.csv")
@example("manifest.jsonl")
@example("\udcff")
def test_any_text_gives_a_safe_name(text: str) -> None:
    name = safe_name(text)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", name)
    assert len(name) <= LONGEST
    assert ".." not in name
    assert not DEVICES.match(name)
    assert name.casefold() not in {"summary.csv", "manifest.jsonl"}
    assert (Path("root") / name).resolve().parent == Path("root").resolve()
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["hippocampus_001", "sub-01_T1w", "a.b.c", "CT-002-0bbbf585"])
def test_a_safe_name_stays(name: str) -> None:
    assert safe_name(name) == name


@given(st.text())
def test_hashes_are_hexadecimal_and_of_the_text(text: str) -> None:
    assert re.fullmatch("[0-9a-f]{8}", short_hash(text))
    assert short_hash(text, 16).startswith(short_hash(text))


def test_long_names_stay_apart() -> None:
    assert safe_name("x" * 300 + "a") != safe_name("x" * 300 + "b")
