"""What docs/encoders.md shows is what happens: its examples are run and compared."""

from __future__ import annotations

import contextlib
import doctest
import inspect
import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.vit_files import write_vit
from unetr_app.cli import main
from unetr_app.networks import DECODERS, ENCODERS
from unetr_app.networks.pretrained.layouts import LAYOUTS

_BLOCK = re.compile(r"^```(?P<kind>pycon|console)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_PUBLISHED = {  # names in the page to folders of the shared data
    "dinov2_vit_small_patch14": "weights/dinov2_vit_small_patch14",
    "segformer-b0-finetuned-ade-512-512": "fixtures/encoders/hf_segformer",
}
_STAND_IN = "dinov2_vit_small_patch14"  # the one that a small file of the same layout can stand for


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs" / "encoders.md").read_text(encoding="utf-8")


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """An empty working folder."""
    with contextlib.chdir(tmp_path):
        yield tmp_path


def blocks(page: str, kind: str) -> list[str]:
    return [found["text"] for found in _BLOCK.finditer(page) if found["kind"] == kind]


def provide(names: set[str], shared: Path, folder: Path) -> None:
    """Put the published checkpoints of these names into a folder."""
    for name in names:
        at = shared / _PUBLISHED[name]
        if not at.is_dir():
            pytest.skip(f"no {name} among the shared data")
        os.symlink(at, folder / name)


def run_examples(texts: list[str]) -> None:
    """Run blocks of Python one after the other, and compare what they show."""
    names = {"__name__": "encoders.md"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    said = io.StringIO()
    for n, text in enumerate(texts):
        test = doctest.DocTestParser().get_doctest(text, names, f"block {n + 1}", "encoders.md", 0)
        assert test.examples
        runner.run(test, out=said.write, clear_globs=False)
        names = test.globs
    assert runner.failures == 0, said.getvalue()


def test_examples_run_with_a_file_of_the_layout(page: str, here: Path):
    write_vit(here / _STAND_IN)
    others = _PUBLISHED.keys() - {_STAND_IN}
    texts = [text for text in blocks(page, "pycon") if not any(name in text for name in others)]
    assert len(texts) >= 6
    run_examples(texts)


def test_the_readme_runs(repository: Path, here: Path):
    write_vit(here / _STAND_IN)
    text = (repository / "README.md").read_text(encoding="utf-8")
    chapter = text.split("\n## Encoders\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"^```python\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)
    names: dict[str, object] = {}
    exec(code, names)
    assert "network" in names
    assert "report" in names


@pytest.mark.weights
def test_examples_run_with_the_published_files(page: str, shared: Path, here: Path):
    provide(set(_PUBLISHED), shared, here)
    run_examples(blocks(page, "pycon"))


def test_every_command_gives_what_the_page_shows(page: str, shared: Path, here: Path):
    provide(set(_PUBLISHED), shared, here)
    shown = blocks(page, "console")
    assert len(shown) == 2
    for block in shown:
        call, _, expected = block.partition("\n")
        program, *arguments = shlex.split(call.removeprefix("$ "))
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert (program, main(arguments)) == ("unetr", 0)
        assert said.getvalue() == expected, f"put the output of `{call}` into docs/encoders.md"


def test_the_page_names_everything_there_is(page: str):
    for name in (*ENCODERS, *DECODERS):
        assert f"`{name}`" in page, name
    for name in ENCODERS:
        assert f"**`{name}`**: " in page, name
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| ")]
    for layout in LAYOUTS:
        (row,) = (n for n, cell in enumerate(rows) if layout.NAME in cell)
        assert row


def test_options_that_the_page_names_are_there(page: str):
    entry = re.compile(r"^\*\*`(\w+)`\*\*: .*\nOptions(?: as `(\w+)`)?[:;] (.*?)\.\s", re.MULTILINE)
    entries = entry.findall(page)
    assert [name for name, _, _ in entries if name not in ENCODERS] == []
    assert len(entries) == len(ENCODERS)
    for name, like, words in entries:
        known = inspect.signature(ENCODERS[name].__init__).parameters
        for option in re.findall(r"`(\w+)(?:=\w+)?`", words):
            assert option in known, f"{name} has no option {option}"
        assert not like or like in ENCODERS
