"""What a wheel carries, and that it works where the repository is not."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

MR = "hippocampus_mr_unetr_segmentation"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder that holds the unpacked wheel and nothing else."""
    pytest.importorskip("hatchling", reason="the wheel's builder is not installed")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)],
        cwd=repository, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def _python(site: Path, code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=site.parent, env=os.environ | {"PYTHONPATH": str(site)},
        check=True, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    return done.stdout


def test_a_wheel_carries_the_bundles_and_their_weights(installed: Path) -> None:
    code = (
        "from unetr_app.bundle import list_bundles\n"
        "for card in list_bundles(): print(card.name, card.weights_bytes, card.path)"
    )
    rows = [line.split(maxsplit=2) for line in _python(installed, code).splitlines()]
    sizes = {name: int(size) for name, size, _ in rows}
    assert sizes[MR] > 1_000_000
    assert len(sizes) == 2
    assert all(Path(path).is_relative_to(installed) for *_, path in rows)


def test_it_carries_types_and_the_viewers_manifest_and_no_left_overs(installed: Path) -> None:
    names = {str(p.relative_to(installed)) for p in installed.rglob("*") if p.is_file()}
    assert {"unetr_app/py.typed", "unetr_app/napari/napari.yaml"} <= names
    assert not [n for n in names if "/runs/" in n or n.endswith((".ts", ".onnx", ".pyc"))]
    assert not [n for n in names if n.startswith(("tests/", "data/", "bundles/"))]


def test_it_can_be_installed_without_torch_and_with_it(installed: Path) -> None:
    (metadata,) = installed.glob("*.dist-info/METADATA")
    needs = [
        Requirement(line.removeprefix("Requires-Dist: "))
        for line in metadata.read_text(encoding="utf-8").splitlines()
        if line.startswith("Requires-Dist: ")
    ]
    heavy = {"torch", "monai", "itk", "pytorch-ignite", "einops", "tensorboard", "safetensors"}
    base = {one.name for one in needs if one.marker is None}
    assert not base & heavy
    assert str(next(one.specifier for one in needs if one.name == "torch")) == ">=2.10"
    for extra in ("inference", "demo", "openvino", "onnx", "explain", "all"):
        marked = [one for one in needs if one.marker and one.marker.evaluate({"extra": extra})]
        assert heavy <= {one.name for one in marked}, extra
    window = [one for one in needs if one.marker and one.marker.evaluate({"extra": "napari"})]
    assert not {one.name for one in window} & heavy


@pytest.mark.weights
def test_the_bundle_inside_segments(installed: Path) -> None:
    code = (
        "import numpy as np\n"
        "from unetr_app import Geometry, Segmenter, Volume\n"
        f"segmenter = Segmenter.open({MR!r}, device='cpu')\n"
        "image = np.random.default_rng(0).normal(size=(1, 30, 44, 30)).astype('f4')\n"
        "print(segmenter.segment(Volume(image, Geometry((30, 44, 30), np.eye(4)))).data.shape)"
    )
    assert _python(installed, code).split()[-3:] == ["(30,", "44,", "30)"]
