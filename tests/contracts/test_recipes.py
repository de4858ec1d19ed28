"""The recipes of CONTRIBUTING.md work as they stand: their code blocks are taken and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from data import phantom
from unetr_app.io import read_geometry

_BLOCK = re.compile(r"<!-- recipe: (?P<name>[^>]*?) -->\s*```\w+\n(?P<code>.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def blocks(repository: Path) -> dict[str, str]:
    """Title of each block to its code."""
    text = (repository / "CONTRIBUTING.md").read_text(encoding="utf-8")
    found = {m["name"]: _outdented(m["code"]) for m in _BLOCK.finditer(text)}
    assert len(found) == len(_BLOCK.findall(text)), "two blocks of one name"
    return found


def _outdented(code: str) -> str:
    """A block in a numbered list is indented by three spaces, which are not part of the code."""
    lines = code.splitlines()
    return "\n".join(line.removeprefix("   ") for line in lines) + "\n"


@pytest.fixture
def clone(repository: Path, tmp_path: Path) -> Path:
    """The parts of the repository that recipes change, copied."""
    ignored = shutil.ignore_patterns("__pycache__", "runs", "*.ts", "*.onnx")
    for name in ("unetr_app", "bundles", "data"):
        shutil.copytree(repository / name, tmp_path / name, ignore=ignored)
    return tmp_path


def run(command: list[str], cwd: Path) -> str:
    """Run in the copy, with this Python and the copy's package; the output."""
    folder = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PYTHONPATH": str(cwd),
        "PATH": folder + os.pathsep + os.environ["PATH"],
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def apply(edit: str, code: str, root: Path) -> None:
    """Do what the title of a block says with its code."""
    how, file, place, anchor = re.fullmatch(
        r"\w+ (insert|replace|file) (\S+)(?: (after|before|line): (.*))?", edit
    ).groups()
    path = root / file
    if how == "file":
        path.write_text(code, encoding="utf-8")
        return
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    hits = [n for n, line in enumerate(lines) if anchor in line]
    assert len(hits) == 1, f"{file} has {len(hits)} lines with {anchor!r}"
    at = hits[0]
    if how == "replace":
        lines[at] = code
    else:
        lines.insert(at + (place == "after"), code)
    path.write_text("".join(lines), encoding="utf-8")


def test_an_encoder_is_a_file_and_two_rows(blocks, clone):
    folder = clone / "unetr_app" / "networks" / "encoders"
    (folder / "pyramid.py").write_text(blocks["encoder file"], encoding="utf-8")
    table = folder / "__init__.py"
    text = table.read_text(encoding="utf-8")
    row = re.search(r'^    "pyramid": Pyramid,\n', blocks["encoder row"], re.MULTILINE)[0]
    assert len(re.findall(r"^ENCODERS.*\{\n", text, re.MULTILINE)) == 1
    text = re.sub(r"^(ENCODERS.*\{\n)", r"\g<1>" + row, text, flags=re.MULTILINE)
    imports = "from unetr_app.networks.encoders.pyramid import Pyramid\n"
    table.write_text(text.replace("\nENCODERS", f"\n{imports}\nENCODERS", 1), encoding="utf-8")
    (family,) = (title for title in blocks if title.startswith("encoder insert "))
    apply(family, blocks[family], clone)
    run([sys.executable, "-c", blocks["encoder use"]], clone)


def test_a_format_is_a_door_and_its_names(blocks, clone):
    for title, code in blocks.items():
        if title.startswith("format "):
            apply(title, code, clone)
    volume, _ = phantom.phantom(phantom.oblique_geometry((12, 14, 10)))
    at = clone / "scans" / "a.npz"
    at.parent.mkdir()
    np.savez_compressed(at, data=volume.data[0], affine_lps=volume.geometry.affine_lps)
    (clone / "scans" / "cut.npz").write_bytes(at.read_bytes()[:-300])
    code = """
        import numpy as np
        from unetr_app.cases import find_cases
        from unetr_app.errors import UnreadableInput
        from unetr_app.io import read_geometry, read_volume
        whole, cut = find_cases("scans")
        volume = read_volume(whole)
        assert volume.geometry == read_geometry("scans/a.npz")
        np.savez("back.npz", data=volume.data[0], affine=volume.geometry.affine)
        try:
            read_volume(cut)
        except UnreadableInput as error:
            assert "cut.npz" in str(error)
        else:
            raise AssertionError("a cut file was read")
    """
    run([sys.executable, "-c", textwrap.dedent(code)], clone)
    back = np.load(clone / "back.npz")
    assert np.array_equal(back["data"], volume.data[0])
    assert np.allclose(back["affine"], volume.geometry.affine)


@pytest.mark.slow
def test_a_bundle_is_a_copy_that_trains_and_segments(blocks, clone):
    for name in ("bundle copy", "bundle try"):
        run(["bash", "-euo", "pipefail", "-c", blocks[name]], clone)
    (labels,) = (clone / "build" / "phantom_results").glob("*/labels.nii.gz")
    image = clone / "build" / "phantoms" / "imagesTr" / "hippocampus_001.nii.gz"
    assert read_geometry(labels) == read_geometry(image)
