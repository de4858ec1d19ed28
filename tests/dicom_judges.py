"""Independent judges of DICOM objects: programs by others, skipped where they are not installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from unetr_app.geometry import Geometry


def program(name: str) -> str:
    """Where a program lies; skips where it is not installed."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        pytest.skip(f"{name} is not installed")
    return found


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program(name), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def dciodvfy_errors(path: Path) -> list[str]:
    """What David Clunie's validator finds wrong."""
    said = run("dciodvfy", "-new", path)
    return [line for line in said.stderr.splitlines() if line.startswith("Error")]


def dcmqi_label_map(path: Path, folder: Path) -> tuple[NDArray[Any], Geometry]:
    """(I, J, K) segment numbers and grid, as dcmqi reads a SEG without overlap."""
    folder.mkdir(parents=True, exist_ok=True)
    said = run(
        "segimage2itkimage", "--inputDICOM", path, "--outputDirectory", folder,
        "--outputType", "nrrd", "--prefix", "seg", "--mergeSegments",
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    (file,) = folder.glob("*.nrrd")
    image = sitk.ReadImage(str(file))
    affine = np.eye(4)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine[:3, :3] = direction * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image).transpose(), Geometry.from_lps(image.GetSize(), affine)


def dcmqi_report(path: Path, folder: Path) -> dict[str, Any]:
    """A measurement report as dcmqi reads it."""
    out = folder / "report.json"
    said = run("tid1500reader", "--inputDICOM", path, "--outputMetadata", out)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(out.read_text())
