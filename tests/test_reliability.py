"""From DICOM series to results: whatever the acquisition, labels lie where the anatomy is.

A threshold takes the place of a network, so that the right answer is known in millimetres.
"""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from data.phantom_files import write_dicom_series
from tests.batch_fakes import FakeCard, FakeSegmenter, write_bundle
from tests.io_files import edit_dicom
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.runner import run_batch
from unetr_app.cases import find_cases
from unetr_app.geometry import Geometry
from unetr_app.io import read_label_map
from unetr_app.io.dicom.seg_reader import read_seg
from unetr_app.outputs import FORMATS
from unetr_app.volume import Volume

CENTRES = {1: np.array([-21.0, 9.0, 14.0]), 2: np.array([13.0, -6.0, 31.0])}  # RAS+ mm
RADIUS = 7.0
INTENSITY = {1: 150.0, 2: 400.0}
UPRIGHT = Geometry(
    (44, 30, 28),
    np.array([[1.5, 0, 0, -38], [0, 1.75, 0, -24], [0, 0, 2.0, -6], [0, 0, 0, 1.0]]),
)
ALL_CODES = [
    "".join(letters[n] for letters, n in zip(order, sides, strict=True))
    for order in itertools.permutations(("RL", "AP", "SI"))
    for sides in itertools.product((0, 1), repeat=3)
]
CANARY = "Quetzalcoatlus"


def _spheres(geometry: Geometry) -> Volume:
    """Two spheres in air, the dimmer one on the patient's left."""
    index = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    world = geometry.index_to_world(index)
    data = np.zeros(geometry.shape, np.float32)
    for value, centre in CENTRES.items():
        data[np.linalg.norm(world - centre, axis=-1) < RADIUS] = INTENSITY[value]
    data[0, 0, 0] = -5.0  # so that the series is not of two values alone
    return Volume(data[None], geometry, modality="CT")


def _centroids(
    label_map: NDArray[np.integer], geometry: Geometry
) -> dict[int, NDArray[np.float64]]:
    return {
        value: geometry.index_to_world(np.argwhere(label_map == value)).mean(axis=0)
        for value in CENTRES
    }


def _segment(tmp_path: Path, *formats: str) -> Path:
    segmenter = FakeSegmenter(FakeCard(write_bundle(tmp_path / "bundle")))
    cases = find_cases(tmp_path / "in")
    options = BatchOptions(formats=formats, preview="dicom-sc" in formats)
    result = run_batch(cases, segmenter, out=tmp_path / "out", options=options)
    assert [o.status for o in result] == ["done"], result.failed
    return tmp_path / "out" / cases[0].id


@pytest.mark.parametrize("first", range(0, 48, 8))
def test_all_48_orientations_give_the_same_labels(first: int, tmp_path: Path) -> None:
    upright = _spheres(UPRIGHT)
    wanted = np.select([upright.data[0] >= 200, upright.data[0] >= 100], [2, 1])
    for n, codes in enumerate(ALL_CODES[first : first + 8]):
        folder = tmp_path / str(n)
        write_dicom_series(upright.reorient(codes), folder / "in", shuffle=True, suffix="")
        case = _segment(folder, "nifti", "dicom-seg")
        found = read_label_map(case / "labels.nii.gz")
        np.testing.assert_array_equal(found.reorient("RAS").label_map, wanted, err_msg=codes)
        segments = read_seg(case / "segmentation.dcm", found.geometry)
        np.testing.assert_array_equal(segments.label_map, found.label_map, err_msg=codes)


@pytest.mark.parametrize("position", ["HFS", "HFP", "HFDL", "HFDR", "FFS", "FFP", "FFDL", "FFDR"])
def test_the_patient_position_decides_nothing(position: str, tmp_path: Path) -> None:
    paths = write_dicom_series(_spheres(UPRIGHT), tmp_path / "in")
    for path in paths:
        edit_dicom(path, PatientPosition=position)
    found = read_label_map(_segment(tmp_path, "nifti") / "labels.nii.gz")
    for value, centre in _centroids(found.label_map, found.geometry).items():
        assert np.linalg.norm(centre - CENTRES[value]) < 0.5


@pytest.mark.parametrize("degrees", [-20.0, -7.0, 16.5, 20.0])
def test_a_tilted_gantry_moves_no_label(degrees: float, tmp_path: Path) -> None:
    affine = UPRIGHT.affine.copy()
    affine[1, 2] = 2.0 * np.tan(np.deg2rad(degrees))
    sheared = Geometry((44, 46, 28), affine + np.array([[0] * 4, [0, 0, 0, -14], [0] * 4, [0] * 4]))
    write_dicom_series(_spheres(sheared), tmp_path / "in", shuffle=True)
    case = _segment(tmp_path, "nifti", "dicom-seg", "rtstruct")
    found = read_label_map(case / "labels.nii.gz")
    for value, centre in _centroids(found.label_map, found.geometry).items():
        assert np.linalg.norm(centre - CENTRES[value]) < 1.0
    segments = read_seg(case / "segmentation.dcm")  # on its own grid
    for value, centre in _centroids(segments.label_map, segments.geometry).items():
        assert np.linalg.norm(centre - CENTRES[value]) < 1.0


def test_nothing_of_the_patient_leaves_but_in_dicom(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = write_dicom_series(_spheres(UPRIGHT), tmp_path / "in")
    for path in paths:
        dataset = pydicom.dcmread(path)
        for keyword in (
            "PatientName", "PatientID", "PatientComments", "InstitutionName", "StudyDescription",
            "SeriesDescription", "ReferringPhysicianName", "AccessionNumber", "StudyID",
            "ProtocolName", "OperatorsName", "StationName", "ImageComments",
        ):  # fmt: skip
            setattr(dataset, keyword, CANARY)
        dataset.add_new((0x0009, 0x0010), "LO", CANARY)
        dataset.add_new((0x0009, 0x1001), "LT", CANARY)
        dataset.save_as(path)
    case = _segment(tmp_path, *FORMATS)
    said = capsys.readouterr()
    assert CANARY not in said.out + said.err
    seen = 0
    for path in (tmp_path / "out").rglob("*"):
        assert CANARY not in path.name
        if path.is_file() and path.suffix != ".dcm":
            content = path.read_bytes()
            content += gzip.decompress(content) if path.suffix == ".gz" else b""
            assert CANARY.encode() not in content, path.name
            seen += 1
    assert seen >= 5
    assert str(pydicom.dcmread(case / "segmentation.dcm").PatientID) == CANARY  # whose it is
