"""The command with a real bundle on real scans."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.batch_fakes import manifest_of
from unetr_app.io import read_geometry, read_label_map

pytestmark = [pytest.mark.slow, pytest.mark.weights]
BUNDLE = "hippocampus_mr_unetr_segmentation"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from unetr_app.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "segment", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_hippocampi_are_found_and_found_once(shared: Path, tmp_path: Path):
    scans = sorted((shared / "data/Task04_Hippocampus/imagesTr").glob("hippocampus_*.nii.gz"))[:2]
    (tmp_path / "in").mkdir()
    for scan in scans:
        shutil.copy(scan, tmp_path / "in")
    (tmp_path / "in/cut.nii.gz").write_bytes(scans[0].read_bytes()[:2000])
    first = run(tmp_path / "in", "-o", tmp_path / "out", "-b", BUNDLE)
    assert first.returncode == 3, first.stderr
    assert "Traceback" not in first.stderr
    assert "3 inputs = 2 done + 1 failed" in first.stdout
    for scan in scans:
        case_id = scan.name.removesuffix(".nii.gz")
        found = read_label_map(tmp_path / "out" / case_id / "labels.nii.gz")
        assert found.geometry.is_close(read_geometry(scan))
        truth = read_label_map(scan.parents[1] / "labelsTr" / scan.name).label_map
        for value in (1, 2):
            a, b = found.label_map == value, truth == value
            assert 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()) > 0.75
    assert all(row["peak_memory_mib"] for row in manifest_of(tmp_path / "out"))
    second = run(tmp_path / "in", "-o", tmp_path / "out", "-b", BUNDLE)
    assert "3 inputs = 0 done + 1 failed + 2 already done" in second.stdout
