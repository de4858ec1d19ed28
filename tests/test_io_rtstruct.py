"""RTSTRUCT written: contours on the source's slices, complete, voxel for voxel as meant."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon
from pydicom.uid import ImplicitVRLittleEndian

from data.phantom import oblique_geometry, phantom, write_dicom_series
from tests.io_files import content, edit_dicom
from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry
from unetr_app.io.dicom import rtstruct
from unetr_app.io.dicom.rtstruct import write_rtstruct
from unetr_app.io.dicom.rtstruct_reader import read_rtstruct
from unetr_app.labels import Code, Label, LabelSet
from unetr_app.volume import Segmentation

AXIAL = Geometry.from_parts((31, 26, 12), (0.9, 1.2, 3.0), np.diag([-1.0, -1.0, 1.0]), (20, 9, -5))
OBLIQUE = oblique_geometry((31, 26, 12))
TILT = Geometry((31, 26, 12), AXIAL.affine @ np.array(
    [[1, 0, 0, 0], [0, 1, 0.9, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))  # fmt: skip
GRIDS = {"axial": AXIAL, "oblique": OBLIQUE, "tilted": TILT}


def _holed(label_map: np.ndarray) -> np.ndarray:
    """With two holes, one of them with an island, and a lone pixel."""
    data = label_map.copy()
    inside = np.argwhere(data == 1)
    i, j, k = inside[len(inside) // 2]
    data[i - 1 : i + 2, j - 1 : j + 2, k] = 0
    data[i, j, k] = 1
    data[i, j - 3, k - 1] = 0
    data[0, 0, 2] = data[-1, -1, 5] = 1
    return data


def _case(folder: Path, grid: Geometry, **options: Any) -> tuple[Segmentation, list[Path]]:
    volume, truth = phantom(grid, noise=1)
    paths = write_dicom_series(volume, folder, shuffle=True, **options)
    found = read_geometry(folder)
    assert found.is_close(grid)
    return Segmentation(_holed(truth.label_map), found, truth.labels), paths


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_read_back_is_what_was_written(name: str, tmp_path: Path) -> None:
    segmentation, paths = _case(tmp_path / "s", GRIDS[name])
    assert write_rtstruct(segmentation, paths[::-1], tmp_path / "rt.dcm") == ()
    found = read_rtstruct(tmp_path / "rt.dcm", segmentation.geometry)
    assert np.array_equal(found.label_map, segmentation.label_map)
    assert [(v.value, v.name, v.colour) for v in found.labels] == [
        (v.value, v.name, v.colour) for v in segmentation.labels
    ]
    assert found.provenance["warnings"] == ()


@pytest.mark.parametrize("name", GRIDS)
def test_every_contour_lies_on_the_image_that_it_names_judged_by_that_image_alone(
    name: str, tmp_path: Path
) -> None:
    """Each slice's own tags (PS3.3 C.7.6.2.1.1) and another library's fill, contour by contour."""
    segmentation, paths = _case(tmp_path / "s", GRIDS[name])
    write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    images = {}
    for path in paths:
        image = pydicom.dcmread(path)
        images[image.SOPInstanceUID] = image
    position = {
        tuple(np.round(segmentation.geometry.affine_lps[:3] @ (0, 0, k, 1), 4)): k
        for k in range(segmentation.geometry.shape[2])
    }
    made = {label.value: np.zeros(segmentation.geometry.shape, bool)
            for label in segmentation.labels}  # fmt: skip
    for roi in pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence:
        for contour in roi.ContourSequence:
            (reference,) = contour.ContourImageSequence
            image = images[reference.ReferencedSOPInstanceUID]
            assert reference.ReferencedSOPClassUID == image.SOPClassUID
            points = np.array(contour.ContourData, float).reshape(-1, 3)
            assert len(points) == contour.NumberOfContourPoints
            row, column = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
            away = points - np.array(image.ImagePositionPatient, float)
            assert np.abs(away @ np.cross(row, column)).max() < 1e-5
            down, along = map(float, image.PixelSpacing)
            pixels = np.stack([away @ row / along, away @ column / down], axis=1)
            centres = np.indices((image.Columns, image.Rows)).reshape(2, -1).T
            inside = Polygon(np.vstack([pixels, pixels[:1]])).contains_points(centres)
            k = position[tuple(np.round(np.array(image.ImagePositionPatient, float), 4))]
            mask = made[int(roi.ReferencedROINumber)]
            mask[..., k] |= inside.reshape(image.Columns, image.Rows)
    for value, mask in made.items():
        assert np.array_equal(mask, segmentation.mask(value))


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), share=st.floats(0.02, 0.95))
def test_any_labels_come_back_overlapping_or_not(seed: int, share: float, tmp_path: Path) -> None:
    folder = tmp_path / "noise"
    grid = oblique_geometry((7, 6, 4))
    if not folder.exists():
        write_dicom_series(phantom(grid, noise=1)[0], folder)
    found = read_geometry(folder)
    masks = np.random.default_rng(seed).random((2, *found.shape)) < share
    if not masks.any():
        masks[0, 3, 2, 1] = True
    labels = LabelSet.from_names({3: "one", 7: "other"})
    written = Segmentation(masks, found, labels)
    write_rtstruct(written, sorted(folder.iterdir()), tmp_path / "rt.dcm")
    back = read_rtstruct(tmp_path / "rt.dcm", found)
    for value in labels.values:
        there = back.mask(value) if value in back.labels.values else np.zeros(found.shape, bool)
        assert np.array_equal(there, written.mask(value))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is absent")
@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_dciodvfy_finds_nothing_to_say(modality: str, tmp_path: Path) -> None:
    grid = OBLIQUE
    volume, truth = phantom(grid, "mr", noise=1)
    from unetr_app.volume import Volume

    paths = write_dicom_series(Volume(volume.data, grid, modality=modality), tmp_path / "s")
    coded = LabelSet(tuple(
        Label(v.value, v.name, v.colour, Code("SCT", "4958002", "Amygdala")) for v in truth.labels
    ))  # fmt: skip
    segmentation = Segmentation(truth.label_map, read_geometry(tmp_path / "s"), coded)
    write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    for words in ([], ["-new"]):
        done = subprocess.run(
            ["dciodvfy", *words, tmp_path / "rt.dcm"], capture_output=True, text=True, check=False
        )
        assert done.stderr.strip() == "RTStructureSet"


def test_the_tags_that_other_writers_leave_out_are_there(tmp_path: Path) -> None:
    segmentation, paths = _case(tmp_path / "s", OBLIQUE)
    write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    made, source = pydicom.dcmread(tmp_path / "rt.dcm"), pydicom.dcmread(paths[0])
    for keyword in ("FrameOfReferenceUID", "StudyInstanceUID", "PatientID", "PatientName"):
        assert made[keyword].value == source[keyword].value
    for keyword in ("PositionReferenceIndicator", "ReferringPhysicianName", "AccessionNumber",
                    "OperatorsName", "StructureSetLabel", "StructureSetDate"):  # fmt: skip
        assert keyword in made
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.StructureSetDescription == "Research use only. Not for diagnosis."
    observed = [int(item.ReferencedROINumber) for item in made.RTROIObservationsSequence]
    stated = [int(item.ROINumber) for item in made.StructureSetROISequence]
    assert stated == observed == list(segmentation.labels.values)
    frame = made.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    named = {image.ReferencedSOPInstanceUID for image in series.ContourImageSequence}
    assert named == {pydicom.dcmread(path).SOPInstanceUID for path in paths}


def test_contours_longer_than_explicit_vrs_can_say_are_whole(tmp_path: Path) -> None:
    grid = Geometry.from_parts((280, 128, 2), (0.7, 0.8, 3.0), np.diag([-1, -1, 1.0]), (99, 88, 3))
    paths = write_dicom_series(phantom(grid, noise=1)[0], tmp_path / "s")
    comb = np.zeros(grid.shape, np.uint8)
    comb[2:-2, 4:-4:4] = comb[2:-2:2, 5:-4:4] = 1  # jagged teeth
    comb[64, 4:-4] = 1
    segmentation = Segmentation(comb, read_geometry(tmp_path / "s"), LabelSet.from_names({1: "c"}))
    write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    made = pydicom.dcmread(tmp_path / "rt.dcm")
    assert made.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    contours = made.ROIContourSequence[0].ContourSequence
    assert max(len("\\".join(map(str, c.ContourData))) for c in contours) > 65534


def test_empty_labels_and_names_that_do_not_fit_are_told_of(tmp_path: Path) -> None:
    segmentation, paths = _case(tmp_path / "s", AXIAL)
    long = "the very long name of a label that no ROI Name of sixty-four characters holds, "
    labels = LabelSet.from_names({1: long + "one", 2: long + "two", 5: "nothing"})
    given_ = Segmentation(segmentation.label_map, segmentation.geometry, labels)
    notes = write_rtstruct(given_, paths, tmp_path / "rt.dcm")
    assert len(notes) == 3
    assert "empty: nothing" in notes[-1]
    made = pydicom.dcmread(tmp_path / "rt.dcm")
    names = [item.ROIName for item in made.StructureSetROISequence]
    assert len(set(names)) == 3
    assert max(map(len, names)) <= 64
    found = read_rtstruct(tmp_path / "rt.dcm", segmentation.geometry)
    assert found.labels.values == (1, 2)
    assert np.array_equal(found.label_map, segmentation.label_map)


def test_sources_that_are_not_the_labels_grid_are_refused(tmp_path: Path) -> None:
    segmentation, paths = _case(tmp_path / "s", AXIAL)
    moved = segmentation.geometry.affine.copy()
    moved[0, 3] += 2
    other = Segmentation(
        segmentation.label_map, Geometry(segmentation.geometry.shape, moved), segmentation.labels
    )
    with pytest.raises(UnsafeGeometry):
        write_rtstruct(other, paths, tmp_path / "rt.dcm")
    with pytest.raises(UnsafeGeometry, match="index"):
        write_rtstruct(segmentation, paths[1:], tmp_path / "rt.dcm")
    nothing = Segmentation(
        np.zeros_like(segmentation.label_map), segmentation.geometry, segmentation.labels
    )
    with pytest.raises(InvalidRequest, match="no label"):
        write_rtstruct(nothing, paths, tmp_path / "rt.dcm")
    edit_dicom(paths[2], SOPInstanceUID="")
    with pytest.raises(UnreadableInput, match="UID"):
        write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    assert "rt.dcm" not in content(tmp_path)


def test_a_file_that_is_not_as_meant_never_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmentation, paths = _case(tmp_path / "s", AXIAL)
    outlines = rtstruct.outlines
    monkeypatch.setattr(rtstruct, "outlines", lambda mask: [x + 1 for x in outlines(mask)])
    with pytest.raises(UnwritableOutput, match="read back"):
        write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    assert not [path for path in tmp_path.iterdir() if path.is_file()]


_RT_UTILS = """
import sys, numpy as np
from rt_utils import RTStructBuilder
made = RTStructBuilder.create_from(dicom_series_path=sys.argv[1], rt_struct_path=sys.argv[2])
np.savez(sys.argv[3], **{name: made.get_roi_mask_by_name(name) for name in made.get_roi_names()})
"""


@pytest.mark.skipif(importlib.util.find_spec("rt_utils") is None, reason="rt-utils is absent")
def test_rt_utils_reads_it_within_the_pixels_that_it_rounds_to(tmp_path: Path) -> None:
    """It rounds corners to whole pixels and draws the line itself: at most one pixel at the rim."""
    from scipy.ndimage import binary_dilation

    square = Geometry.from_parts(  # of others it mixes up rows and columns
        (31, 31, 12), (1.1, 1.1, 3.0), np.diag([-1.0, -1.0, 1.0]), (20, 9, -5)
    )
    segmentation, paths = _case(tmp_path / "s", square)
    write_rtstruct(segmentation, paths, tmp_path / "rt.dcm")
    done = subprocess.run(  # apart, because OpenCV brings a Qt of its own
        [sys.executable, "-c", _RT_UTILS, tmp_path / "s", tmp_path / "rt.dcm", tmp_path / "m.npz"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], bool)[..., None]
    with np.load(tmp_path / "m.npz") as masks:
        for label in segmentation.labels:
            theirs = masks[label.name].swapaxes(0, 1)  # rows, columns
            ours = segmentation.mask(label.value)
            assert not (theirs & ~binary_dilation(ours, cross)).any()
            assert not (ours & ~binary_dilation(theirs, cross)).any()
            assert 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum()) > 0.85


def test_frames_of_a_multi_frame_source_are_named(shared: Path, tmp_path: Path) -> None:
    (source,) = (shared / "data/dicom/dcmqi_segmentations/23x38x3/multiframe").glob("*")
    header = pydicom.dcmread(source)
    places = [frame.PlanePositionSequence[0].ImagePositionPatient
              for frame in header.PerFrameFunctionalGroupsSequence]  # fmt: skip
    first = header.get("SharedFunctionalGroupsSequence")[0]
    row = next(
        groups.PlaneOrientationSequence[0].ImageOrientationPatient
        for groups in (first, *header.PerFrameFunctionalGroupsSequence)
        if "PlaneOrientationSequence" in groups
    )
    measures = next(
        groups.PixelMeasuresSequence[0].PixelSpacing
        for groups in (first, *header.PerFrameFunctionalGroupsSequence)
        if "PixelMeasuresSequence" in groups
    )
    affine = np.eye(4)
    affine[:3, 0] = np.array(row[:3], float) * float(measures[1])
    affine[:3, 1] = np.array(row[3:], float) * float(measures[0])
    ordered = np.unique(np.array(places, float), axis=0)
    affine[:3, 2] = ordered[1] - ordered[0]
    affine[:3, 3] = ordered[0]
    grid = Geometry.from_lps((header.Columns, header.Rows, len(ordered)), affine)
    data = np.zeros(grid.shape, np.uint8)
    data[3:9, 5:15, 1] = 1
    segmentation = Segmentation(data, grid, LabelSet.from_names({1: "box"}))
    write_rtstruct(segmentation, [source], tmp_path / "rt.dcm")
    (contour,) = pydicom.dcmread(tmp_path / "rt.dcm").ROIContourSequence[0].ContourSequence
    (image,) = contour.ContourImageSequence
    assert image.ReferencedSOPInstanceUID == header.SOPInstanceUID
    number = np.atleast_1d(image.ReferencedFrameNumber)[0]
    assert np.allclose(np.array(places[number - 1], float), ordered[1])


def test_real_series_tilted_and_oblique(shared: Path, tmp_path: Path) -> None:
    for name in ("brain_mr_oblique", "ct_tilt/S3010"):
        folder = shared / "data" / "dicom" / name
        from unetr_app.cases import find_cases

        (case,) = find_cases(folder)
        assert case.geometry is not None
        shape = case.geometry.shape
        i, j, k = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
        away = ((i - 0.2) / 0.3) ** 2 + ((j + 0.1) / 0.2) ** 2 + ((k - 0.1) / 0.6) ** 2
        data = ((away < 1) & (away > 0.2)).astype(np.uint8)
        segmentation = Segmentation(data, case.geometry, LabelSet.from_names({1: "shell"}))
        write_rtstruct(segmentation, case.paths, tmp_path / "rt.dcm")
        back = read_rtstruct(tmp_path / "rt.dcm", case.geometry)
        assert np.array_equal(back.label_map, data)
