"""``unetr inspect`` says what there is, from headers alone, in words and in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.io_files import OBLIQUE, integers, save_itk, save_nifti, save_series
from unetr_app.cli.inspect import command


def run(*arguments: object) -> Any:
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    save_nifti(tmp_path / "one.nii.gz")
    save_itk(tmp_path / "two.nrrd", integers(OBLIQUE.shape), OBLIQUE)
    save_series(tmp_path / "ct")
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_all_fine_is_exit_code_0(scans: Path) -> None:
    done = run(scans)
    assert done.exit_code == 0
    assert "5 x 6 x 7" in done.stdout
    assert "0.8 x 1.3 x 2.9" in done.stdout
    assert "regular" in done.stdout
    assert "3 cases; 1 file passed over" in done.stdout


def test_problems_are_shown_with_exit_code_3(scans: Path) -> None:
    (scans / "ct" / "IM0003.dcm").unlink()
    (scans / "empty.nii").touch()
    done = run(scans)
    assert done.exit_code == 3
    assert "1 slice is missing" in done.stdout
    assert "the file is empty" in done.stdout


def test_nothing_usable_is_exit_code_4(tmp_path: Path) -> None:
    assert run(tmp_path).exit_code == 4
    save_nifti(tmp_path / "flat.nii", integers((5, 6, 1)))
    done = run(tmp_path)
    assert done.exit_code == 4
    assert "single slice" in done.stdout


def test_a_path_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    done = run(tmp_path / "absent")
    assert done.exit_code == 2
    assert "no such file" in done.stderr


def test_json_is_a_list_of_objects(scans: Path) -> None:
    (scans / "empty.nii").touch()
    done = run(scans, "--json")
    rows = {row["case_id"]: row for row in json.loads(done.stdout)}
    assert set(rows["one"]) >= {"case_id", "kind", "modality", "shape", "spacing", "affine",
                                "files", "problems"}  # fmt: skip
    for case_id in set(rows) - {"empty"}:
        assert rows[case_id]["shape"] == [5, 6, 7]
        assert np.allclose(rows[case_id]["spacing"], OBLIQUE.spacing, atol=1e-5)
        assert rows[case_id]["problems"] == []
    assert np.allclose(rows["one"]["affine"], OBLIQUE.affine, atol=1e-4)
    assert rows["one"]["kind"] == "nifti"
    assert rows["two"]["kind"] == "nrrd"
    (series,) = (row for row in rows.values() if row["kind"] == "regular")
    assert series["modality"] == "CT"
    assert len(series["files"]) == 7
    assert rows["empty"]["shape"] is None
    assert "empty" in rows["empty"]["problems"][0]


def test_neither_torch_nor_monai_is_imported(scans: Path) -> None:
    code = (
        "import sys; from unetr_app.cli.inspect import command; from unetr_app.cases import survey;"
        "from unetr_app.io import read_geometry;"
        "import contextlib, typer;\n"
        "with contextlib.suppress(typer.Exit): command([sys.argv[1]], as_json=True)\n"
        "print(sorted({'torch', 'monai', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(scans)], capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_folder_of_nifti_alone_loads_no_other_library(tmp_path: Path) -> None:
    save_nifti(tmp_path / "a.nii")
    code = (
        "import sys; from unetr_app.cases import find_cases; from unetr_app.io import read_volume;"
        "[read_volume(c) for c in find_cases(sys.argv[1])];"
        "print(sorted({'SimpleITK', 'torch', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_a_bundles_channels_make_cases(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for n in range(2):
        save_nifti(tmp_path / "in" / f"a_000{n}.nii.gz")
    bundle = tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    formats = {
        "inputs": {"image": {"channel_def": {"0": "T1", "1": "FLAIR"}}},
        "outputs": {"pred": {"channel_def": {"0": "background", "1": "lesion"}}},
    }
    metadata = {"version": "1.0", "description": "", "network_data_format": formats}
    (bundle / "configs/metadata.json").write_text(json.dumps(metadata))
    assert "2 cases" in run(tmp_path / "in").stdout
    done = run(tmp_path / "in", "--bundle", bundle)
    assert done.exit_code == 0
    assert "1 case" in done.stdout
    missing = run(tmp_path / "in", "--bundle", tmp_path / "none")
    assert missing.exit_code == 2
    assert "Traceback" not in missing.output
