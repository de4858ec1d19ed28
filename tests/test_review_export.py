"""Export: what leaves a review says what was done, and lies where it was drawn."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from tests.dicom_judges import dcmqi_label_map
from tests.io_files import OBLIQUE, save_series
from tests.review_out import made, paint, write_out, write_pair
from unetr_app.batch.fingerprint import Recipe
from unetr_app.batch.options import BatchOptions
from unetr_app.batch.results import write_results
from unetr_app.cases import Case, find_cases
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io import read_volume, write_segmentation
from unetr_app.io.dicom.regularise import to_source_frames
from unetr_app.io.dicom.series import source_slices
from unetr_app.labels import LabelSet
from unetr_app.outputs import read_manifest
from unetr_app.review.decision import Decision
from unetr_app.review.desk import Desk
from unetr_app.review.editing.change import Change
from unetr_app.review.export import (
    export_job,
    export_nifti,
    export_report,
    export_seg,
    export_training_set,
)
from unetr_app.review.worklist import Worklist, open_worklist
from unetr_app.volume import Segmentation

NAMES = LabelSet.from_names({1: "Left lump", 2: "Right lump"})


def dicom_out(series: Path, out: Path) -> Worklist:
    """An output folder of one DICOM series, whose prediction is a lump on the patient's left."""
    (case,) = [c for c in find_cases(series) if c.kind == "dicom-series"]
    volume = read_volume(case, regularise=case.problem is not None)
    data = np.zeros(volume.geometry.shape, np.uint8)
    data[lump(volume.geometry, left=True)] = 1
    labels = Segmentation(data, volume.geometry, NAMES, {"bundle": "lumps"})
    folder = out / case.id
    folder.mkdir(parents=True)
    options = BatchOptions(preview=False, formats=("nifti", "dicom-seg"))
    recipe = Recipe({"name": "lumps", "version": "1.0"}, {})
    write_results(volume, labels, case=case, folder=folder, recipe=recipe, options=options)
    row = {"case_id": case.id, "status": "done", "input": str(series), "outputs": [],
           "bundle": {"name": "lumps", "version": "1.0"}}  # fmt: skip
    (out / "manifest.jsonl").write_text(json.dumps(row) + "\n")
    return open_worklist(out)


def lump(geometry: Geometry, *, left: bool) -> tuple[slice, ...]:
    """A box well within the half that lies to the patient's left (RAS+: smaller x)."""
    shape = np.array(geometry.shape)
    axis = geometry.world_axes.index(0)
    low = geometry.orientation[axis] == "R"  # x grows with the index: the left comes first
    begin, size = shape // 3, np.maximum(shape // 4, 1)
    begin[axis] = shape[axis] // 8 if low == left else shape[axis] - shape[axis] // 8 - size[axis]
    return tuple(slice(int(b), int(b + s)) for b, s in zip(begin, size, strict=True))


def draw_right(desk: Desk) -> None:
    """A second lump on the patient's right, in one stroke."""
    mask = np.zeros(desk.history.data.shape, bool)
    mask[lump(desk.loaded.geometry, left=False)] = True
    where = np.flatnonzero(mask & (desk.history.data == 0)).astype(np.int64)
    old = desk.history.data.reshape(-1)[where]
    desk.history.apply(Change("box", where, old, np.full(len(where), 2, old.dtype)))


def x_of_segments(path: Path) -> dict[int, float]:
    """Mean RAS+ x of each segment, by highdicom's reading alone."""
    seg = highdicom.seg.segread(path)
    found: dict[int, list[float]] = {}
    for frame in range(seg.NumberOfFrames):
        item = seg.PerFrameFunctionalGroupsSequence[frame]
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        shared = seg.SharedFunctionalGroupsSequence[0]
        turn = highdicom.spatial.PixelToReferenceTransformer(
            image_position=item.PlanePositionSequence[0].ImagePositionPatient,
            image_orientation=shared.PlaneOrientationSequence[0].ImageOrientationPatient,
            pixel_spacing=shared.PixelMeasuresSequence[0].PixelSpacing,
        )
        rows, columns = np.nonzero(seg.pixel_array[frame])
        if len(rows):
            lps = turn(np.stack([columns, rows], axis=1))
            found.setdefault(number, []).extend((-lps[:, 0]).tolist())
    return {number: float(np.mean(xs)) for number, xs in found.items()}


SERIES = [
    "hippocampus_crop", "brain_mr_oblique", "dcmqi_segmentations/23x38x3/multiframe",
]  # fmt: skip


@pytest.mark.parametrize("name", SERIES)
def test_left_stays_left_through_dicom_review_and_seg(
    shared: Path, tmp_path: Path, name: str
) -> None:
    worklist = dicom_out(shared / "data" / "dicom" / name, tmp_path / "out")
    (case_id,) = worklist.cases
    path = tmp_path / "edited.dcm"
    with worklist.open(case_id, "anna") as desk:
        draw_right(desk)
        painted = desk.history.data.copy()
        assert export_seg(desk, path) is not None
        geometry = desk.loaded.geometry
    x = x_of_segments(path)
    assert x[1] < x[2]  # RAS+: the patient's left has the smaller x
    middle = {v: geometry.index_to_world(np.argwhere(painted == v)).mean(axis=0)[0] for v in (1, 2)}
    assert x == pytest.approx(middle, abs=0.01)
    before = pydicom.dcmread(worklist.folder.parent / case_id / "segmentation.dcm")
    seg = pydicom.dcmread(path)
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert seg.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    assert seg.SOPInstanceUID != before.SOPInstanceUID


def test_another_program_reads_what_was_painted(shared: Path, tmp_path: Path) -> None:
    worklist = dicom_out(shared / "data" / "dicom" / "hippocampus_crop", tmp_path / "out")
    path = tmp_path / "edited.dcm"
    with worklist.open(worklist.cases[0], "anna") as desk:
        draw_right(desk)
        export_seg(desk, path)
        painted, geometry = desk.history.data.copy(), desk.loaded.geometry
    found, grid = dcmqi_label_map(path, tmp_path / "dcmqi")
    theirs = {v: grid.index_to_world(np.argwhere(found == v)).mean(axis=0) for v in (1, 2)}
    for value, centre in theirs.items():
        ours = geometry.index_to_world(np.argwhere(painted == value)).mean(axis=0)
        assert np.abs(centre - ours).max() < 0.01
        assert int((found == value).sum()) == int((painted == value).sum())


def test_what_nobody_changed_stays_automatic_and_has_no_predecessor(tmp_path: Path) -> None:
    save_series(tmp_path / "series", OBLIQUE)
    worklist = dicom_out(tmp_path / "series", tmp_path / "out")
    path = tmp_path / "same.dcm"
    with worklist.open(worklist.cases[0], "anna") as desk:
        paint(desk, 10)
        desk.history.undo()
        desk.record(Decision("accepted"))
        export_seg(desk, path)
        assert desk.versions.all() == []
    seg = pydicom.dcmread(path)
    assert {s.SegmentAlgorithmType for s in seg.SegmentSequence} == {"AUTOMATIC"}
    assert "SourceImageSequence" not in seg
    assert {s.SegmentAlgorithmName for s in seg.SegmentSequence} == {"lumps"}


def test_uneven_slices_come_home_slice_by_slice(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "dicom" / "dicom2nifti" / "failing" / "sliceincrement" / "001"
    worklist = dicom_out(source, tmp_path / "out")
    path = tmp_path / "edited.dcm"
    with worklist.open(worklist.cases[0], "anna") as desk:
        assert desk.loaded.volume is not None
        draw_right(desk)
        export_seg(desk, path)
        case, painted = desk.loaded.image, desk.history.data.copy()
        geometry = desk.loaded.geometry
    assert case is not None
    seg = highdicom.seg.segread(path)
    expected = to_source_frames(painted, geometry, source_slices(case.paths))
    assert int(seg.pixel_array.sum()) == int((expected > 0).sum())
    assert seg.NumberOfFrames == 2 * len(case.paths)


def test_no_seg_of_what_is_no_dicom(tmp_path: Path) -> None:
    worklist = open_worklist(write_out(tmp_path, 1))
    with worklist.open("case_1", "anna") as desk:
        with pytest.raises(UnreadableInput, match="no DICOM series") as caught:
            export_seg(desk, tmp_path / "x.dcm")
        assert caught.value.cure
        (tmp_path / "images" / "case_1.nii.gz").unlink()
    with (
        worklist.open("case_1", "anna") as desk,
        pytest.raises(UnreadableInput, match="not to be had"),
    ):
        export_seg(desk, tmp_path / "x.dcm")
    assert not (tmp_path / "x.dcm").exists()


def test_nifti_lies_on_the_source_grid(tmp_path: Path) -> None:
    worklist = open_worklist(write_out(tmp_path, 1))
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100, 9, 2)
        assert export_nifti(desk, tmp_path / "labels.nii.gz") == ()
        painted = desk.history.data.copy()
        assert [v.reason for v in desk.versions.all()] == ["exported"]
    found = nibabel.Nifti1Image.load(tmp_path / "labels.nii.gz")
    image = nibabel.Nifti1Image.load(tmp_path / "images" / "case_1.nii.gz")
    assert np.array_equal(np.asarray(found.dataobj), painted)
    assert np.allclose(found.affine, image.affine, atol=1e-4)
    export_nifti(worklist.load("case_1"), tmp_path / "again.nrrd")
    assert (tmp_path / "again.nrrd").exists()


def test_the_report_tells_of_every_case(tmp_path: Path) -> None:
    out = write_out(tmp_path, 2)
    worklist = open_worklist(out)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100, 9, 2)
        desk.record(Decision("accepted", grade=4, comment="=1+1 <b>fine</b>"))
        volumes = {v: int((desk.history.data == v).sum()) for v in (1, 2)}
        ml = desk.loaded.geometry.voxel_ml
    table, data, page = export_report(worklist, tmp_path / "report")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(r["case_id"], r["status"], r["name"]) for r in rows] == [
        ("case_1", "accepted", "Anterior"), ("case_1", "accepted", "Posterior"),
        ("case_2", "unreviewed", "Anterior"), ("case_2", "unreviewed", "Posterior"),
    ]  # fmt: skip
    assert [int(r["voxels"]) for r in rows[:2]] == list(volumes.values())
    assert float(rows[1]["millilitres"]) == pytest.approx(volumes[2] * ml, rel=1e-4)
    assert rows[0]["comment"].startswith("'=")
    found = json.loads(data.read_text())
    assert found["cases"][0]["comment"] == "=1+1 <b>fine</b>"
    assert found["cases"][1]["labels"][0]["voxels"] == int(made(2)[1].mask(1).sum())
    assert "&lt;b&gt;fine" in page.read_text()
    assert "<b>fine" not in page.read_text()


def test_accepted_cases_become_a_training_set(tmp_path: Path) -> None:
    worklist = open_worklist(write_out(tmp_path, 4))
    painted = {}
    for n, status in enumerate(("accepted", "accepted", "rejected", "accepted"), start=1):
        with worklist.open(f"case_{n}", "anna") as desk:
            if n != 2:
                paint(desk, 100 * n, 9, 2)
            desk.record(Decision(status))  # pyright: ignore
            painted[n] = desk.history.data.copy()
    (tmp_path / "images" / "case_4.nii.gz").unlink()
    said = export_training_set(worklist, tmp_path / "set", folds=2, seed=3)
    assert [case_id for case_id, _ in said.left_out] == ["case_4"]
    table = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert table["labels"] == {"0": "background", "1": "Anterior", "2": "Posterior"}
    assert len(table["training"]) == 2
    for n in (1, 2):
        labels = nibabel.Nifti1Image.load(tmp_path / "set" / f"labelsTr/case_{n}.nii.gz")
        image = nibabel.Nifti1Image.load(tmp_path / "set" / f"imagesTr/case_{n}.nii.gz")
        assert np.array_equal(np.asarray(labels.dataobj), painted[n])
        assert np.array_equal(np.asarray(image.dataobj), made(n)[0].data[0])
    again = export_training_set(worklist, tmp_path / "set", folds=2, seed=3)
    assert again.made.resumed == 2


def test_what_was_replaced_after_it_was_accepted_is_left_out(tmp_path: Path) -> None:
    out = write_out(tmp_path, 2)
    worklist = open_worklist(out)
    for case_id in worklist.cases:
        with worklist.open(case_id, "anna") as desk:
            desk.record(Decision("accepted"))
    write_segmentation(made(9)[1], out / "case_1" / "labels.nii.gz")
    said = export_training_set(worklist, tmp_path / "set", folds=2)
    ((case_id, problem),) = said.left_out
    assert case_id == "case_1"
    assert "prediction was replaced since" in str(problem)
    shutil.rmtree(tmp_path / "set")
    shutil.copy(tmp_path / "images" / "case_1.nii.gz", tmp_path / "images" / "case_2.nii.gz")
    with pytest.raises(UnetrError, match="since"):
        export_training_set(worklist, tmp_path / "set", folds=2)


def test_no_accepted_case_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="no case is accepted"):
        export_training_set(open_worklist(write_out(tmp_path, 1)), tmp_path / "set")


def test_the_manifest_of_a_dicom_case_leads_back_to_it(tmp_path: Path) -> None:
    save_series(tmp_path / "series", OBLIQUE)
    worklist = dicom_out(tmp_path / "series", tmp_path / "out")
    (case_id,) = worklist.cases
    assert set(read_manifest(tmp_path / "out")) == {case_id}
    loaded = worklist.load(case_id)
    assert isinstance(loaded.image, Case)
    assert loaded.image.kind == "dicom-series"
    assert loaded.seg is not None


def test_no_export_writes_over_what_is_reviewed(tmp_path: Path) -> None:
    image, _ = write_pair(tmp_path / "data", "scan")
    before = image.read_bytes()
    worklist = open_worklist(tmp_path / "data")
    with worklist.open("scan", "anna") as desk:
        paint(desk, 100)
        desk.record(Decision("accepted"))
    said = export_job(worklist, "nifti", tmp_path / "data")
    assert said.written == 0
    assert "folder of its own" in str(said)
    assert image.read_bytes() == before
    for _ in range(2):  # an export that is there already is written anew
        assert export_job(worklist, "nifti", tmp_path / "export").written == 1


@pytest.mark.parametrize("kind", ["nifti", "training_set"])
def test_an_accepted_case_that_is_not_there_any_more_is_told(tmp_path: Path, kind: str) -> None:
    out = write_out(tmp_path, 3)
    worklist = open_worklist(out)
    for case_id in worklist.cases:
        with worklist.open(case_id, "anna") as desk:
            desk.record(Decision("accepted"))
    write_segmentation(made(9)[1], out / "case_1" / "labels.nii.gz")
    shutil.rmtree(out / "case_2")
    worklist = open_worklist(out)
    said = export_job(worklist, kind, tmp_path / "export")
    assert said.written == 1
    problems = {case_id: str(problem) for case_id, problem in said.failed}
    assert set(problems) == {"case_1", "case_2"}
    assert "prediction was replaced since" in problems["case_1"]
    export_job(worklist, "report", tmp_path / "report")
    rows = list(csv.DictReader((tmp_path / "report" / "review.csv").read_text().splitlines()))
    assert "prediction was replaced since" in rows[0]["problem"]
    with worklist.open("case_1", "bert") as desk:
        assert any("it was accepted, and the prediction" in words for words in desk.warnings)


def test_the_report_measures_what_was_decided_about(tmp_path: Path) -> None:
    worklist = open_worklist(write_out(tmp_path, 1))
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100, 9, 2)
        desk.save()
        voxels = int((desk.history.data == 2).sum())
        paint(desk, 900, 30, 2)
        last = desk.save()
    assert last is not None
    (last.folder / "labels.nii.gz").write_bytes(b"")
    with worklist.open("case_1", "anna") as desk:
        desk.record(Decision("accepted"))
    _, data, _ = export_report(worklist, tmp_path / "report")
    (case,) = json.loads(data.read_text())["cases"]
    assert (case["status"], case["version"]) == ("accepted", 1)
    assert case["labels"][1]["voxels"] == voxels


@pytest.mark.parametrize(
    "damage", [{"voxels": "a"}, {"millilitres": None}, {"millilitres": float("nan")}]
)
def test_damaged_measurements_are_measured_again(tmp_path: Path, damage: dict[str, object]) -> None:
    out = write_out(tmp_path, 1)
    path = out / "case_1" / "measurements.json"
    told = json.loads(path.read_text())
    told["labels"][0] |= damage
    path.write_text(json.dumps(told))
    _, data, _ = export_report(open_worklist(out), tmp_path / "report")
    (case,) = json.loads(data.read_text())["cases"]
    assert case["labels"][0]["voxels"] == int(made(1)[1].mask(1).sum())


def test_no_training_set_is_written_among_results(tmp_path: Path) -> None:
    out = write_out(tmp_path, 1)
    worklist = open_worklist(out)
    with worklist.open("case_1", "anna") as desk:
        desk.record(Decision("accepted"))
    before = (out / "manifest.jsonl").read_bytes()
    with pytest.raises(InvalidRequest, match="something else"):
        export_training_set(worklist, out)
    assert (out / "manifest.jsonl").read_bytes() == before


def test_an_export_tells_all_that_the_reviewer_was_told(tmp_path: Path) -> None:
    out = write_out(tmp_path, 1)
    worklist = open_worklist(out)
    with worklist.open("case_1", "anna") as desk:
        paint(desk, 100)
        saved = desk.save()
    assert saved is not None
    (saved.folder / "labels.nii.gz").write_bytes(b"")
    with worklist.open("case_1", "anna", read_only=True) as desk:
        write_segmentation(made(9)[1], out / "case_1" / "labels.nii.gz")
        desk.check_files()
        told = " ".join(export_nifti(desk, tmp_path / "case.nii.gz"))
    assert "an older state is shown" in told
    assert "prediction was replaced or removed while" in told


def test_few_cases_are_dealt_into_few_folds(tmp_path: Path) -> None:
    worklist = open_worklist(write_out(tmp_path, 3))
    for case_id in worklist.cases:
        with worklist.open(case_id, "anna") as desk:
            desk.record(Decision("accepted"))
    said = export_job(worklist, "training_set", tmp_path / "set")
    assert said.written == 3
    assert not [words for words in said.warnings if "folds" in words]
    table = json.loads((tmp_path / "set" / "dataset.json").read_text())
    assert {row["fold"] for row in table["training"]} == {0, 1, 2}
