"""``unetr inspect`` says what there is, from headers alone, in words and in JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.io_files import OBLIQUE, edit_dicom, integers, save_itk, save_nifti, save_series
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


# --- series ----------------------------------------------------------------------------------

CANARY = "CANARY7"


@pytest.fixture
def hospital(tmp_path: Path) -> Path:
    """A CT series, its localizer and a report; a canary in every text that has room for it."""
    root = tmp_path / "in"
    paths = save_series(root / "ct")
    scout = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "SeriesInstanceUID": "1.2.3"}
    paths.append(edit_dicom(paths[0], root / "scout", SOPInstanceUID="1.2.3.4", **scout))
    words = ("PatientName", "PatientID", "PatientAddress", "SeriesDescription",
             "StudyDescription", "ProtocolName", "AccessionNumber", "InstitutionName",
             "ReferringPhysicianName", "OperatorsName", "StationName", "StudyID",
             "ImageComments", "PatientComments", "BodyPartExamined")  # fmt: skip
    for path in paths:
        edit_dicom(path, PatientBirthDate="19010203", **dict.fromkeys(words, CANARY))
    return root


def test_what_is_set_aside_is_in_json_and_on_request_in_the_table(hospital: Path) -> None:
    done = run(hospital, "--json")
    assert done.exit_code == 0
    regular, scout = json.loads(done.stdout)
    assert regular["kind"] == "regular"
    assert regular["set_aside"] is False
    assert regular["geometry_report"]["median_gap_mm"] == pytest.approx(2.9, abs=1e-3)
    assert scout["kind"] == "localizer"
    assert scout["set_aside"] is True
    assert scout["shape"] is None
    assert scout["files"] == [str(hospital / "scout")]
    assert scout["problems"][0].startswith("scout: a localizer is no slice of a volume. ")
    assert "localizer" not in run(hospital).stdout
    assert "1 DICOM file set aside" in run(hospital).stdout
    assert "localizer" in run(hospital, "--all").stdout
    assert run(hospital / "scout").exit_code == 4


def test_nothing_of_the_headers_text_is_shown(hospital: Path, tmp_path: Path) -> None:
    edit_dicom(hospital / "ct" / "IM0003.dcm", PatientID="CANARY8")
    (tmp_path / "rules.yaml").write_text("rules: [{description: canary}, {description: x}]")
    for options in ((), ("--json",), ("--all",), ("--series-description", "CANARY"),
                    ("--rules", tmp_path / "rules.yaml"), ("--modality", "PT")):  # fmt: skip
        done = run(hospital, *options)
        assert "CANARY" not in done.output
        assert "1901" not in done.output
        assert "Traceback" not in done.output


def test_options_choose_series_and_say_what_there_was(hospital: Path) -> None:
    save_nifti(hospital / "a.nii")
    done = run(hospital, "--modality", "CT", "--min-slices", "7")
    assert done.exit_code == 0
    assert "1 case;" in done.stdout
    assert "1 image left out by the rules" in done.stdout
    none = run(hospital, "--modality", "MR")
    assert none.exit_code == 4
    assert "no series fits the options; there are 1 series of CT, 1 other image" in none.stderr
    assert run(hospital, "--series-description", "(").exit_code == 2
    assert run(hospital, "--rules", hospital / "none.yaml").exit_code == 2


def test_an_archive_is_shown_with_its_members(scans: Path) -> None:
    with zipfile.ZipFile(scans / "all.zip", "w") as out:
        for path in (scans / "ct").iterdir():
            out.write(path, f"in/{path.name}")
            path.unlink()
    done = run(scans, "--json")
    (series,) = (row for row in json.loads(done.stdout) if row["kind"] == "regular")
    assert series["files"][0].startswith(str(scans / "all.zip" / "in"))
    assert series["shape"] == [5, 6, 7]
