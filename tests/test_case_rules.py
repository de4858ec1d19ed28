"""Rules choose series by what their headers say, and say nothing of it themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import yaml

from tests.io_files import OBLIQUE, edit_dicom, integers, save_nifti, save_series
from unetr_app.batch.inputs import input_hash
from unetr_app.cases import Rules, find_cases, make_rule, read_rules, survey
from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_volume

FRAME, STUDY = "1.2.3.1", "1.2.3.2"
CANARY = "DOE JANE"


def add(root: Path, name: str, geometry: Geometry = OBLIQUE, **tags: Any) -> None:
    """A series of the study, with its name in the description."""
    tags = {"SeriesDescription": name, "StudyInstanceUID": STUDY, "FrameOfReferenceUID": FRAME,
            "SeriesNumber": len(list(root.glob("*"))) + 1, **tags}  # fmt: skip
    for path in save_series(root / name.replace(" ", "_"), geometry, seed=len(name),
                            modality="MR"):  # fmt: skip
        edit_dicom(path, SeriesInstanceUID=f"1.2.3.4.{sum(map(ord, str(root) + name))}", **tags)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    root.mkdir()
    for name in ("ax T1", "ax T1 gad", "ax T2", "FLAIR", f"scout {CANARY}"):
        add(root, name)
    save_series(root / "ct", Geometry((4, 4, 3), np.diag([1, 1, 2, 1.0])))
    save_nifti(root / "file.nii")
    return root


def written(tmp_path: Path, rules: Any, name: str = "rules.yaml") -> Path:
    path = tmp_path / name
    path.write_text(
        json.dumps(rules) if name.endswith("json") else yaml.safe_dump(rules, sort_keys=False)
    )
    return path


def chosen(study: Path, rules: Rules) -> list[str]:
    return sorted(Path(case.input).name for case in find_cases(study, rules=rules))


def test_options_must_all_hold(study: Path) -> None:
    assert chosen(study, Rules(make_rule(modality="CT"))) == ["ct"]
    assert chosen(study, Rules(make_rule(description="t1"))) == ["ax_T1", "ax_T1_gad"]
    assert chosen(study, Rules(make_rule(modality="ct,mr", min_slices=7, description="^F"))) == [
        "FLAIR"
    ]
    assert len(chosen(study, Rules())) == 7


@pytest.mark.parametrize("name", ["rules.yaml", "rules.json"])
def test_any_rule_of_a_file_admits(study: Path, tmp_path: Path, name: str) -> None:
    path = written(tmp_path, {"rules": [
        {"description": "gad", "modality": "MR"},
        {"modality": ["CT", "PT"], "max_slices": 3, "kind": "regular"},
        {"image_type": ["NO_SUCH"]},
    ]}, name)  # fmt: skip
    rules = read_rules(path)
    assert chosen(study, rules) == ["ax_T1_gad", "ct"]
    found = survey(study, rules=rules)
    assert found.left_out == 5
    assert found.notes == (
        "no series fits rule 3; there are 1 series of CT, 5 series of MR, 1 other image",
    )
    narrow = read_rules(path, every=make_rule(modality="CT"))
    assert chosen(study, narrow) == ["ct"]


def test_a_rule_that_fits_nothing_says_what_there_was(study: Path) -> None:
    found = survey(study, rules=Rules(make_rule(modality="PT")))
    assert found.cases == ()
    assert found.notes == (
        "no series fits the options; there are 1 series of CT, 5 series of MR, 1 other image",
    )


def test_descriptions_are_matched_and_never_kept(study: Path) -> None:
    found = survey(study, rules=Rules(make_rule(description=CANARY)))
    (case,) = found.cases
    assert CANARY not in repr(found)
    assert case.facts is None
    assert CANARY not in json.dumps([case.id, case.report, *case.warnings, *found.notes])


CHANNELS = {"t1": {"description": "T1(?! gad)"}, "t1c": {"description": "gad"},
            "flair": {"description": "flair"}}  # fmt: skip


def test_channels_of_a_study_make_one_case(study: Path, tmp_path: Path) -> None:
    rules = read_rules(written(tmp_path, {"channels": CHANNELS}))
    (case,) = find_cases(study, rules=rules, channels=("T1", "flair", "T1C"))
    assert case.problem is None
    assert case.channels == ("t1", "flair", "t1c")
    volume = read_volume(case)
    for n, name in enumerate(("ax_T1", "FLAIR", "ax_T1_gad")):
        assert np.array_equal(volume.data[n], read_volume(study / name).data[0])
    assert find_cases(study, rules=rules)[0].channels == ("t1", "t1c", "flair")
    with pytest.raises(InvalidRequest, match="the bundle takes 2 channels"):
        find_cases(study, rules=rules, channels=("t1", "t2"))


def test_a_channel_that_none_or_several_fit_is_refused(study: Path, tmp_path: Path) -> None:
    channels = {**CHANNELS, "t1": {"description": "T1"}, "dwi": {"description": "dwi"}}
    (case,) = find_cases(study, rules=read_rules(written(tmp_path, {"channels": channels})))
    said = str(case.problem)
    assert "no series of the study fits channel dwi" in said
    assert "2 fit channel t1 (MR-001-" in said


def test_two_studies_and_two_patients_stay_apart(tmp_path: Path) -> None:
    root = tmp_path / "in"
    for n in range(2):
        (root / f"{n}").mkdir(parents=True)
        for name in ("ax T1", "FLAIR"):
            add(root / f"{n}", name, PatientID=f"P{n}")
    rules = {"channels": {"t1": {"description": "T1"}, "flair": {"description": "flair"}}}
    found = find_cases(root, rules=read_rules(written(tmp_path, rules)))
    assert [case.problem for case in found] == [None, None]
    for case in found:
        assert len({Path(p).parent.parent.name for p in case.paths}) == 1


def test_channels_of_other_frames_of_reference_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    add(root, "ax T1")
    add(root, "FLAIR", FrameOfReferenceUID="1.2.99")
    rules = {"channels": {"t1": {"description": "T1"}, "flair": {"description": "flair"}},
             "resample": True}  # fmt: skip
    (case,) = find_cases(root, rules=read_rules(written(tmp_path, rules)))
    assert isinstance(case.problem, UnsafeGeometry)
    assert "frame of reference" in str(case.problem)


def test_other_grids_are_refused_unless_resampling_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    coarse = Geometry.from_parts((4, 5, 6), (1.1, 1.7, 3.4), OBLIQUE.direction, OBLIQUE.origin)
    add(root, "ax T1")
    add(root, "FLAIR", coarse)
    channels = {"t1": {"description": "T1"}, "flair": {"description": "flair"}}
    (plain,) = find_cases(root, rules=read_rules(written(tmp_path, {"channels": channels})))
    with pytest.raises(UnsafeGeometry, match="does not lie on the grid"):
        read_volume(plain)
    asked = read_rules(written(tmp_path, {"channels": channels, "resample": True}))
    (case,) = find_cases(root, rules=asked)
    volume = read_volume(case)
    assert volume.geometry == read_geometry(case) == read_volume(root / "ax_T1").geometry
    assert any("flair was resampled onto the grid of channel t1" in w for w in volume.warnings)
    flair = read_volume(root / "FLAIR")
    assert np.allclose(volume.data[1, 0, 0, 0], flair.data[0, 0, 0, 0])  # one place of both grids
    assert input_hash(case) != input_hash(plain)


def test_a_channel_that_hardly_covers_the_first_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    add(root, "ax T1")
    far = OBLIQUE.affine.copy()
    far[:3, 3] += (2.5, 4, 12)
    add(root, "FLAIR", Geometry(OBLIQUE.shape, far))
    rules = {"channels": {"t1": {"description": "T1"}, "flair": {"description": "flair"}},
             "resample": True}  # fmt: skip
    (case,) = find_cases(root, rules=read_rules(written(tmp_path, rules)))
    with pytest.raises(UnsafeGeometry, match=r"covers only \d+ %"):
        read_volume(case)


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "no rules"), ({}, "no rules"), ("text", "no rules"), ({"x": []}, "there is no x"),
        ({"rules": {}}, "no list"), ({"rules": [3]}, "rule 1 is no table"),
        ({"rules": [{"slices": 3}]}, "no condition slices"),
        ({"rules": [{"description": "("}]}, "no regular expression"),
        ({"rules": [{"description": 3}]}, "no text"),
        ({"rules": [{"min_slices": -1}]}, "no whole number"),
        ({"rules": [{"modality": [3]}]}, "no word"),
        ({"channels": {"t1": None}}, "channel t1 is no table"),
        ({"resample": "yes"}, "neither true nor false"),
    ],
)  # fmt: skip
def test_rules_that_make_no_sense_are_refused(tmp_path: Path, rules: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        read_rules(written(tmp_path, rules))
    assert caught.value.cure
    assert str(caught.value).startswith("rules.yaml: ")


@pytest.mark.parametrize("text", [b"\xff\xfe\x00", b"a: [", b"!!python/object:os.system {}"])
def test_rubbish_is_no_rules(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "rules.yaml").write_bytes(text)
    with pytest.raises(InvalidRequest, match="no YAML"):
        read_rules(tmp_path / "rules.yaml")
    with pytest.raises(InvalidRequest, match="could not be read"):
        read_rules(tmp_path / "none.yaml")


def test_files_are_no_series_and_the_test_data_are_not_empty(study: Path) -> None:
    assert chosen(study, Rules(make_rule(min_slices=1))) == [
        "FLAIR", "ax_T1", "ax_T1_gad", "ax_T2", "ct", f"scout_{CANARY.replace(' ', '_')}",
    ]  # fmt: skip
    header = pydicom.dcmread(next((study / "FLAIR").iterdir()))
    assert header.SeriesDescription == "FLAIR"
    assert integers((2, 2, 2)).any()
