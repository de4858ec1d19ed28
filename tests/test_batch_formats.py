"""A segmentation leaves in every format that is asked for, and lies in each where it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tests.batch_fakes import FakeCard, FakeSegmenter, manifest_of, write_bundle, write_cases
from tests.dicom_judges import dciodvfy_errors
from tests.io_files import OBLIQUE, edit_dicom, save_series, series_values
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.outcome import BatchResult
from unetr_app.batch.plan import plan_batch
from unetr_app.batch.runner import run_batch
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest
from unetr_app.io import read_label_map
from unetr_app.io.dicom.rtstruct_reader import read_rtstruct
from unetr_app.io.dicom.seg_reader import read_seg
from unetr_app.outputs import FORMATS

EVERY = tuple(FORMATS)


@pytest.fixture
def segmenter(tmp_path: Path) -> FakeSegmenter:
    return FakeSegmenter(FakeCard(write_bundle(tmp_path / "bundle")))


def _run(
    segmenter: FakeSegmenter, source: Path, out: Path, *formats: str, regularise: bool = False
) -> tuple[BatchResult, Path]:
    options = BatchOptions(formats=formats, regularise=regularise, preview="dicom-sc" in formats)
    cases = find_cases(source)
    result = run_batch(cases, segmenter, out=out, options=options)
    return result, out / cases[0].id


def test_every_format_holds_the_same_voxels(tmp_path: Path, segmenter: FakeSegmenter) -> None:
    save_series(tmp_path / "in", OBLIQUE)
    result, case = _run(segmenter, tmp_path / "in", tmp_path / "out", *EVERY)
    assert [o.status for o in result] == ["done"], result.failed
    assert {p.name for p in case.iterdir()} >= set(FORMATS.values())
    plain = read_label_map(case / "labels.nii.gz")
    assert len(np.unique(plain.label_map)) == 3
    slicer = read_label_map(case / "labels.nrrd")
    segments = read_seg(case / "segmentation.dcm", plain.geometry)
    contours = read_rtstruct(case / "rtstruct.dcm", plain.geometry)
    for found in (slicer, segments, contours):
        np.testing.assert_array_equal(found.label_map, plain.label_map)
        assert found.labels.names == segmenter.card.labels.names
    report = pydicom.dcmread(case / "measurements.dcm")
    seg = pydicom.dcmread(case / "segmentation.dcm")
    assert str(seg.SOPInstanceUID) in str(report)
    assert {str(p.name) for p in case.iterdir()} >= {"preview.dcm"}


@pytest.mark.parametrize("name", ["segmentation.dcm", "measurements.dcm", "preview.dcm"])
def test_dciodvfy_finds_no_error(name: str, tmp_path: Path, segmenter: FakeSegmenter) -> None:
    save_series(tmp_path / "in", OBLIQUE)
    _, case = _run(segmenter, tmp_path / "in", tmp_path / "out", "dicom-sr", "dicom-sc")
    assert dciodvfy_errors(case / name) == []


def test_a_second_run_leaves_them_and_another_format_redoes(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    save_series(tmp_path / "in", OBLIQUE)
    out = tmp_path / "out"
    _run(segmenter, tmp_path / "in", out, "nifti", "dicom-seg")
    result, _ = _run(segmenter, tmp_path / "in", out, "nifti", "dicom-seg")
    assert len(result.skipped) == 1
    result, case = _run(segmenter, tmp_path / "in", out, "nrrd")
    assert len(result.done) == 1
    assert (case / "labels.nrrd").is_file()
    assert not (case / "segmentation.dcm").exists()  # results are those of one recipe


def test_what_is_no_dicom_series_says_so(tmp_path: Path, segmenter: FakeSegmenter) -> None:
    write_cases(tmp_path / "in", 1)
    result, case = _run(segmenter, tmp_path / "in", tmp_path / "out", "nifti", "dicom-seg")
    assert "this is no DICOM series" in str(result.failed[0].error)
    assert not case.exists()


def test_slices_at_uneven_distances_get_what_the_grid_has_there(
    tmp_path: Path, segmenter: FakeSegmenter
) -> None:
    paths = save_series(tmp_path / "in", OBLIQUE)
    paths[len(paths) // 2].unlink()
    result, _ = _run(segmenter, tmp_path / "in", tmp_path / "no", "nifti", "dicom-seg")
    assert "--regularise" in str(result.failed[0].error)
    result, case = _run(segmenter, tmp_path / "in", tmp_path / "out", *EVERY, regularise=True)
    assert [o.status for o in result] == ["done"], result.failed
    said = " ".join(manifest_of(tmp_path / "out")[-1]["warnings"])  # pyright: ignore
    assert "regularised" in said
    assert "no RTSTRUCT was written" in said
    grid = read_label_map(case / "labels.nii.gz")
    assert grid.geometry.shape == series_values(OBLIQUE).shape
    seg = pydicom.dcmread(case / "segmentation.dcm")
    where = {
        str(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID)
        for group in seg.PerFrameFunctionalGroupsSequence
    }
    sources = {str(pydicom.dcmread(p).SOPInstanceUID): p for p in paths if p.exists()}
    assert where == set(sources)
    frames = seg.pixel_array.astype(bool)
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        index = grid.geometry.world_to_index((position * (-1, -1, 1))[None])[0]
        number = group.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label = segmenter.card.labels.values[number - 1]
        plane = grid.label_map[:, :, round(float(index[2]))] == label
        np.testing.assert_array_equal(frame, plane.T)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"formats": ("dicom",)}, "there is no format 'dicom'"),
        ({"formats": ("",)}, "no format is named"),
        ({"seg_type": "surface"}, "no type of DICOM SEG 'surface'"),
        ({"seg_type": "fractional"}, "holds probabilities"),
        ({"seg_type": "fractional", "maps": ("probabilities",), "labels": (1,)}, "all labels"),
    ],
)
def test_wrong_words_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        BatchOptions(**wrong)  # pyright: ignore


def test_nothing_found_is_a_result_too(tmp_path: Path, segmenter: FakeSegmenter) -> None:
    for path in save_series(tmp_path / "in", OBLIQUE):
        edit_dicom(path, RescaleIntercept=-2000)  # nothing reaches the threshold
    result, case = _run(segmenter, tmp_path / "in", tmp_path / "out", *EVERY)
    assert [o.status for o in result] == ["done"], result.failed
    assert not read_label_map(case / "labels.nii.gz").label_map.any()
    assert not (case / "rtstruct.dcm").exists()
    assert "no label has a voxel" in " ".join(result.done[0].warnings)
    assert not read_seg(case / "segmentation.dcm").data.any()


def test_a_plan_says_what_the_run_does(tmp_path: Path, segmenter: FakeSegmenter) -> None:
    write_cases(tmp_path / "files", 1)
    save_series(tmp_path / "series", OBLIQUE)[3].unlink()
    for regularise, wanted in ((False, ["fail", "fail"]), (True, ["do", "fail"])):
        options = BatchOptions(formats=("dicom-seg",), regularise=regularise)
        cases = find_cases([tmp_path / "series", tmp_path / "files"])
        plan = plan_batch(cases, segmenter.card, out=tmp_path / "out", options=options)
        assert sorted(p.action for p in plan) == wanted
