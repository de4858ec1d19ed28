"""Starting up must be quick: what it imports is looked at in processes of their own."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import unetr_app
from tests.batch_fakes import truth, write_bundle, write_cases

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
        "unetr_app.cli", "unetr_app.cli.finetune", "unetr_app.cli.segment", "unetr_app.demo",
        "unetr_app.finetuning", "unetr_app.io", "unetr_app.review",
    ],
)  # fmt: skip
def test_importing_loads_nothing_heavy(module: str):
    ended = run(f"import {module}\n{LOOK}")
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"], ["--version"], ["segment", "--help"], ["inspect", "--help"],
        ["evaluate", "--help"], ["demo", "--help"], ["finetune", "--help"], ["bundles"],
        ["inspect", "in"],
        ["segment", "in", "-o", "out", "-b", "bundle", "--dry-run"],
    ],
)  # fmt: skip
def test_these_commands_load_nothing_heavy(tmp_path: Path, arguments: list[str]):
    write_cases(tmp_path / "in", 1)
    write_bundle(tmp_path / "bundle")
    ended = run(f"from unetr_app.cli import main\nassert main({arguments}) == 0\n{LOOK}", tmp_path)
    assert ended.returncode == 0, ended.stderr


WITHOUT = """
import sys
for name in ("torch", "monai", "ignite", "itk", "einops", "safetensors", "tensorboard", "fire"):
    sys.modules[name] = None  # as where the extra is not installed
from unetr_app.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run_without_networks(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *words], capture_output=True, text=True, check=False,
        cwd=tmp_path,
    )  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["segment", "in", "-o", "out", "-b", "bundle", "--trust"],
        ["export", "hippocampus_mr_unetr_segmentation", "--to", "onnx", "-o", "x.onnx"],
        ["explain", "-o", "out", "--encoder", "vit", "--roi-size", "32"],
        ["encoders"], ["demo", "-o", "out"],
        ["finetune", "in", "-b", "hippocampus_mr_unetr_segmentation", "-o", "new"],
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_without_torch_one_message_says_what_to_install(tmp_path: Path, words: list[str]):
    write_cases(tmp_path / "in", 2)
    write_bundle(tmp_path / "bundle")
    ended = run_without_networks(tmp_path, *words)
    said = ended.stderr.splitlines()
    assert ended.returncode == 2, ended.stderr
    assert [line for line in said if "pip install" in line] == [
        f"unetr {words[0]}: Networks need torch and MONAI, which are not installed: "
        'pip install "unetr-app[inference]".'
    ]
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "words", [["inspect", "in"], ["bundles"], ["evaluate", "in", "in", "-o", "out"],
              ["convert", "in/case_00.nii.gz", "-o", "x.nrrd"]],
    ids=lambda words: words[0],
)  # fmt: skip
def test_these_commands_need_no_torch(tmp_path: Path, words: list[str]):
    write_cases(tmp_path / "in", 2)
    if words[0] == "evaluate":
        from unetr_app.geometry import Geometry
        from unetr_app.io import write_segmentation
        from unetr_app.labels import LabelSet
        from unetr_app.volume import Segmentation

        for path in (tmp_path / "in").iterdir():
            path.unlink()
        grid = Geometry(truth(0).shape, np.eye(4))
        labels = LabelSet.from_names({1: "a", 2: "b"})
        write_segmentation(Segmentation(truth(0), grid, labels), tmp_path / "in" / "c.nii.gz")
    ended = run_without_networks(tmp_path, *words)
    assert ended.returncode == 0, ended.stderr + ended.stdout


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
