"""``unetr convert``: labels and images come out on the right grid, or there are words why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from tests.io_files import (
    OBLIQUE,
    edit_dicom,
    integers,
    save_itk,
    save_nifti,
    save_series,
    series_values,
)
from tests.rtstruct_files import Roi, box, save_rtstruct
from tests.test_datasets import dicom_case
from unetr_app.cli import main
from unetr_app.io import read_geometry, read_label_map
from unetr_app.io.dicom.seg import write_seg
from unetr_app.io.dicom.series import source_slices
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["convert", *(str(a) for a in arguments)])
    said = capsys.readouterr()
    return code, said.out, said.err


def itk_value(path: Path, world_lps: Any) -> int:
    image = sitk.ReadImage(str(path))
    return int(image.GetPixel(image.TransformPhysicalPointToIndex([float(x) for x in world_lps])))


@pytest.mark.parametrize("form", ["rtstruct", "seg"])
@pytest.mark.parametrize("ending", [".nii.gz", ".seg.nrrd", ".mha"])
def test_labels_lie_where_they_were_drawn_judged_by_simpleitk(
    form: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, _ = dicom_case(tmp_path / "in", 1, form=form)
    out = tmp_path / "out" / f"made{ending}"
    code, said, _ = run(capsys, tmp_path / "in" / f"{form}.dcm", "-o", out,
                        "--reference", tmp_path / "in" / "images")  # fmt: skip
    assert code == 0
    assert "Labels: Anterior, Posterior" in said
    indices = np.argwhere(truth.label_map)
    for index in indices[:: max(len(indices) // 40, 1)]:
        place = truth.geometry.affine_lps @ (*index, 1)
        assert itk_value(out, place[:3]) == truth.label_map[tuple(index)]
    assert read_label_map(out).geometry.is_close(truth.geometry, 1e-4)
    rows = json.loads((tmp_path / "out" / "made.json").read_text())["labels"]
    assert [(row["value"], row["name"]) for row in rows] == [(1, "Anterior"), (2, "Posterior")]


def test_an_rtstruct_finds_its_images_beside_it_or_asks_for_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, _ = dicom_case(tmp_path / "in", 1)
    dicom_case(tmp_path / "in" / "other", 2)
    assert run(capsys, tmp_path / "in" / "rtstruct.dcm", "-o", tmp_path / "out")[0] == 0
    assert np.array_equal(
        read_label_map(tmp_path / "out" / "labels.nii.gz").label_map, truth.label_map
    )
    (tmp_path / "alone").mkdir()
    (tmp_path / "in" / "rtstruct.dcm").rename(tmp_path / "alone" / "rtstruct.dcm")
    code, _, said = run(capsys, tmp_path / "alone" / "rtstruct.dcm", "-o", tmp_path / "no")
    assert code == 2
    assert "--reference" in said
    assert not (tmp_path / "no").exists()


def test_the_wrong_series_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dicom_case(tmp_path / "in", 1)
    save_series(tmp_path / "other")
    code, _, said = run(capsys, tmp_path / "in" / "rtstruct.dcm", "-o", tmp_path / "no.nii.gz",
                        "--reference", tmp_path / "other")  # fmt: skip
    assert code == 4
    assert "another series" in said
    assert not (tmp_path / "no.nii.gz").exists()


def test_labels_that_overlap_become_a_file_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_series(tmp_path / "in")
    from unetr_app.io import read_geometry

    grid = read_geometry(tmp_path / "in")
    rois = [
        Roi("Organ", [box(grid, 2, (-0.5, -0.5), (3.5, 3.5))]),
        Roi("a/b", [box(grid, 2, (0.5, 0.5), (2.5, 2.5))]),
        Roi("A b", [box(grid, 2, (0.5, 0.5), (1.5, 2.5))]),
    ]
    save_rtstruct(tmp_path / "in" / "rt.dcm", rois, paths[0])
    for out, names in (
        ("x.nii.gz", ["x_organ.nii.gz", "x_a_b.nii.gz", "x_a_b_.nii.gz"]),
        ("folder", ["labels/organ.nii.gz", "labels/a_b.nii.gz", "labels/a_b_.nii.gz"]),
    ):
        code, _, said = run(capsys, tmp_path / "in" / "rt.dcm", "-o", tmp_path / "out" / out)
        assert code == 0
        assert "overlap" in said
        where = tmp_path / "out" / ("" if "." in out else out)
        counts = [int(read_label_map(where / name).label_map.sum()) for name in names]
        assert counts == [16, 4, 2]


def test_a_series_becomes_an_image_value_for_value(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_series(tmp_path / "ct")
    for name in ("ct.nii.gz", "ct.nrrd", "ct.mha"):
        assert run(capsys, tmp_path / "ct", "-o", tmp_path / name)[0] == 0
        made = sitk.ReadImage(str(tmp_path / name))
        assert np.array_equal(sitk.GetArrayFromImage(made).transpose(), series_values())
        corner = made.TransformIndexToPhysicalPoint((4, 5, 6))
        assert np.allclose(corner, (OBLIQUE.affine_lps @ (4, 5, 6, 1))[:3], atol=1e-3)
    assert nibabel.load(tmp_path / "ct.nii.gz").get_data_dtype() == np.int16


def test_label_maps_change_their_format_and_keep_their_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, _ = dicom_case(tmp_path / "in", 1)
    chain = ["a.nii.gz", "b.mha", "c.nrrd", "d.nii"]
    source = tmp_path / "in" / "rtstruct.dcm"
    for name in chain:
        code, said, _ = run(capsys, source, "-o", tmp_path / name)
        assert code == 0
        assert "Anterior, Posterior" in said
        source = tmp_path / name
        assert np.array_equal(read_label_map(source).label_map, truth.label_map)


def test_images_of_whole_numbers_are_images_where_they_cannot_be_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = integers(OBLIQUE.shape) - 500
    save_nifti(tmp_path / "ct.nii.gz", data)
    code, said, _ = run(capsys, tmp_path / "ct.nii.gz", "-o", tmp_path / "ct.nrrd")
    assert code == 0
    assert "Labels" not in said
    assert not (tmp_path / "ct.json").exists()
    made = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "ct.nrrd")))
    assert np.array_equal(made.transpose(), data)
    save_itk(tmp_path / "few.nrrd", (integers(OBLIQUE.shape) % 7).astype(np.uint8), OBLIQUE)
    for words, table in (((), True), (("--image",), False)):
        out = tmp_path / f"few{len(words)}.nii"
        assert run(capsys, tmp_path / "few.nrrd", "-o", out, *words)[0] == 0
        assert out.with_suffix(".json").exists() == table


def test_nothing_is_replaced_unless_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_series(tmp_path / "ct")
    (tmp_path / "ct.nii.gz").write_text("mine")
    code, _, said = run(capsys, tmp_path / "ct", "-o", tmp_path / "ct.nii.gz")
    assert code == 2
    assert "--overwrite" in said
    assert (tmp_path / "ct.nii.gz").read_text() == "mine"
    assert run(capsys, tmp_path / "ct", "-o", tmp_path / "ct.nii.gz", "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("source", "out", "code", "words"),
    [
        ("absent", "o.nii", 4, "absent"),
        ("notes.txt", "o.nii", 4, "not of an image format"),
        ("ct", "o.jpg", 2, "ending"),
        ("empty", "o.nii", 4, "nothing that is converted"),
        (".", "o.nii", 2, "2 images"),
    ],
)
def test_what_cannot_be_converted_is_said(
    source: str, out: str, code: int, words: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    save_series(tmp_path / "ct")
    save_nifti(tmp_path / "a.nii")
    (tmp_path / "notes.txt").write_text("words")
    done, _, said = run(capsys, tmp_path / source, "-o", tmp_path / "out" / out)
    assert done == code, said
    assert words in said


def test_dcmqis_own_files_are_as_its_nrrd_has_them(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared / "data" / "dicom" / "dcmqi_segmentations"
    code, *_ = run(capsys, folder / "liver.dcm", "-o", tmp_path / "liver.nii.gz",
                   "--reference", folder / "ct-3slice")  # fmt: skip
    assert code == 0
    theirs = sitk.ReadImage(str(folder / "liver_seg.nrrd")) > 0
    ours = sitk.ReadImage(str(tmp_path / "liver.nii.gz"), sitk.sitkUInt8)
    moved = sitk.Resample(theirs, ours, sitk.Transform(), sitk.sitkNearestNeighbor)
    assert sitk.GetArrayViewFromImage(ours).sum() > 1000
    assert np.array_equal(
        sitk.GetArrayViewFromImage(moved) > 0, sitk.GetArrayViewFromImage(ours) > 0
    )
    code, *_ = run(capsys, folder / "partial_overlaps.dcm", "-o", tmp_path / "parts")
    assert code == 0
    assert len(list((tmp_path / "parts" / "labels").iterdir())) == 5


def _two_echoes(folder: Path) -> list[Path]:
    """A series of two volumes at the same places, told apart by their echo."""
    second = save_series(folder / "b", OBLIQUE)
    for n, path in enumerate(second):
        edit_dicom(path, SOPInstanceUID=f"1.2.3.{n + 1}", EchoNumbers=2, InstanceNumber=100 + n)
    for path in save_series(folder / "a", OBLIQUE):
        edit_dicom(path, EchoNumbers=1)
    return second


def test_one_of_several_volumes_is_chosen_by_its_id(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _two_echoes(tmp_path / "in")
    code, _, said = run(capsys, tmp_path / "in", "-o", tmp_path / "x.nii.gz")
    assert code == 2
    ids = re.findall(r"CT-\d+-[0-9a-f]{8}", said)
    assert len(ids) == 2
    for case_id in ids:
        out = tmp_path / f"{case_id}.nii.gz"
        assert run(capsys, tmp_path / "in", "-o", out, "--case", case_id)[0] == 0
        assert out.is_file()
    code, _, said = run(capsys, tmp_path / "in", "-o", tmp_path / "x.nii.gz", "--case", "none")
    assert code == 2
    assert ids[0] in said


def test_labels_of_one_of_several_volumes_find_it_by_their_references(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = _two_echoes(tmp_path / "in")
    grid = read_geometry(tmp_path / "in" / "b")
    data = np.zeros(grid.shape, np.uint8)
    data[2:5, 3:7, 1:3] = 1
    labels = LabelSet.from_names({1: "Anything"})
    ordered = [s.path for s in source_slices([str(p) for p in second])]
    write_seg(Segmentation(data, grid, labels), ordered, tmp_path / "seg.dcm")
    out = tmp_path / "out.nii.gz"
    code, _, said = run(capsys, tmp_path / "seg.dcm", "-o", out, "--reference", tmp_path / "in")
    assert code == 0, said
    np.testing.assert_array_equal(read_label_map(out).label_map, data)


def test_slices_at_uneven_distances_need_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_series(tmp_path / "in", OBLIQUE)
    paths[3].unlink()
    code, _, said = run(capsys, tmp_path / "in", "-o", tmp_path / "x.nii.gz")
    assert code == 4
    assert "--regularise" in said
    code, _, said = run(capsys, tmp_path / "in", "-o", tmp_path / "x.nii.gz", "--regularise")
    assert code == 0, said
    assert nibabel.nifti1.load(tmp_path / "x.nii.gz").shape == OBLIQUE.shape


def test_a_damaged_slice_is_the_cause_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = save_series(tmp_path / "in", OBLIQUE)
    paths[3].write_bytes(paths[3].read_bytes()[:200])
    code, _, said = run(capsys, tmp_path / "in", "-o", tmp_path / "x.nii.gz")
    assert code == 4
    assert "slice is missing" in said
