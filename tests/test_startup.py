"""Starting up must be quick: what it imports is looked at in processes of their own."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import unetr_app
from tests.batch_fakes import write_bundle, write_cases

HEAVY = ("torch", "monai", "matplotlib", "napari", "ignite")
LOOK = f"""
import sys
HEAVY = {HEAVY}
loaded = [name for name in HEAVY if name in sys.modules]
sys.exit("loaded: " + ", ".join(loaded) if loaded else 0)
"""


def run(code: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=cwd
    )


@pytest.mark.parametrize(
    "module",
    [
        "unetr_app", "unetr_app.batch.runner", "unetr_app.bundle", "unetr_app.cases",
        "unetr_app.cli", "unetr_app.cli.segment", "unetr_app.demo", "unetr_app.io",
    ],
)  # fmt: skip
def test_importing_loads_nothing_heavy(module: str):
    ended = run(f"import {module}\n{LOOK}")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["segment", "--help"], ["inspect", "--help"],
        ["evaluate", "--help"], ["demo", "--help"], ["bundles"], ["inspect", "in"],
        ["segment", "in", "-o", "out", "-b", "bundle", "--dry-run"],
    ],
)  # fmt: skip
def test_these_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]):
    write_cases(tmp_path / "in", 1)
    write_bundle(tmp_path / "bundle")
    ended = run(f"from unetr_app.cli import main\nassert main({arguments}) == 0\n{LOOK}", tmp_path)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
def test_help_comes_in_half_a_second():
    code = "from unetr_app.cli import main\nmain(['--help'])"
    run(code)
    seconds: list[float] = []
    for _ in range(5):
        started = time.perf_counter()
        run(code)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.5


def test_every_public_name_is_there():
    for name in unetr_app.__all__:
        assert getattr(unetr_app, name) is not None
    assert set(unetr_app.__all__) <= set(dir(unetr_app))
    with pytest.raises(AttributeError, match="nothing"):
        unetr_app.nothing  # noqa: B018  # pyright: ignore


def test_what_type_checkers_see_is_what_there_is():
    source = Path(unetr_app.__file__).read_text()
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    seen = {
        alias.name: statement.module
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    assert set(seen) | {"__version__"} == set(unetr_app.__all__)
    for name, module in seen.items():
        assert unetr_app._HOME_OF[name] == str(module).removeprefix("unetr_app.")
