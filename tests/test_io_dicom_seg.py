"""SEG: each voxel lies where the segmentation has it, for readers by others too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from highdicom.seg import segread
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.uid import generate_uid

from data.phantom import labels_of, make_bodies, oblique_geometry, phantom
from tests.dicom_judges import dciodvfy_errors, dcmqi_label_map
from tests.io_files import edit_dicom, save_series
from tests.strategies import geometries
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest, UnreadableInput, UnsafeGeometry, UnwritableOutput
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry
from unetr_app.io.dicom import seg_frames
from unetr_app.io.dicom.seg import write_seg
from unetr_app.io.dicom.seg_content import KINDS
from unetr_app.io.dicom.seg_reader import read_seg
from unetr_app.labels import Code, Label, LabelSet
from unetr_app.notice import RESEARCH_NOTICE
from unetr_app.volume import Segmentation

KIDNEY = Label(
    2, "Left kidney", (203, 122, 100), Code("SCT", "64033007", "Kidney"),
    Code("SCT", "91723000", "Anatomical Structure"), Code("SCT", "7771000", "Left"),
)  # fmt: skip
LESION = Label(7, "Läsion", (12, 200, 34))
LABELS = LabelSet((KIDNEY, LESION))
PROVENANCE = {"bundle": "kidney_ct", "bundle_version": "1.2.3", "weights_hash": "abc"}


def tilted(degrees: float, shape: tuple[int, int, int] = (9, 11, 7)) -> Geometry:
    affine = np.diag([0.7, 0.8, 2.5, 1.0])
    affine[1, 2] = 2.5 * np.tan(np.deg2rad(degrees))
    return Geometry(shape, affine)


DECUBITUS = Geometry.from_lps(  # on the right side: a row of pixels runs from front to back
    (9, 11, 7), [[0, -0.8, 0, 40], [0.7, 0, 0, -30], [0, 0, 2.5, 12], [0, 0, 0, 1]]
)
GRIDS = {
    "oblique": oblique_geometry((9, 11, 7)),
    "decubitus": DECUBITUS,
    "feet first": Geometry.from_lps((9, 11, 7), np.diag([-0.7, 0.8, -2.5, 1.0])),
    "sagittal": Geometry.from_lps(
        (9, 11, 7), [[0, 0, 2.5, 1], [0.7, 0, 0, 2], [0, -0.8, 0, 3], [0, 0, 0, 1]]
    ),
}
TILTS = {"tilt": tilted(17.0), "tilt back": tilted(-21.0)}


def labelled(geometry: Geometry, labels: LabelSet = LABELS, seed: int = 0) -> Segmentation:
    """Noise of labels with the first and last slices empty where there are many."""
    values = np.random.default_rng(seed).choice([0, *labels.values], geometry.shape)
    if geometry.shape[2] > 4:
        values[..., [0, -1]] = 0
    return Segmentation(values, geometry, labels, PROVENANCE)


def overlapping(geometry: Geometry, labels: LabelSet = LABELS) -> Segmentation:
    masks = np.random.default_rng(1).random((len(labels), *geometry.shape)) < 0.6
    return Segmentation(masks, geometry, labels, PROVENANCE)


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return save_series(tmp_path / "series", GRIDS["oblique"])


def sources_on(
    folder: Path, geometry: Geometry, **options: Any
) -> tuple[tuple[str, ...], Geometry]:
    """Source paths in the order of the grid that reading gives, and that grid."""
    save_series(folder, geometry, **options)
    (case,) = find_cases([folder])
    assert case.geometry is not None
    return case.paths, case.geometry


# --- laws ------------------------------------------------------------------------------------


@settings(max_examples=8)
@given(geometry=geometries(min_side=2, max_side=6), kind=st.sampled_from(("binary", "labelmap")),
       omit=st.booleans(), seed=st.integers(0, 99))  # fmt: skip
def test_what_is_written_is_read_on_any_grid(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, kind: Any, omit: bool, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("seg")
    paths, grid = sources_on(folder / "series", geometry)
    meant = labelled(grid, seed=seed)
    write_seg(meant, paths, folder / "seg.dcm", kind=kind, omit_empty_frames=omit)
    found = read_seg(folder / "seg.dcm", grid)
    assert np.array_equal(found.data, meant.data)
    assert found.labels == LABELS
    own = read_seg(folder / "seg.dcm")
    if not omit:
        assert own.geometry.is_close(grid)
        assert np.array_equal(own.data, meant.data)


@pytest.mark.parametrize("name", [*GRIDS, *TILTS])
@pytest.mark.parametrize("kind", ["binary", "labelmap"])
def test_highdicom_finds_each_voxel_in_its_source_image(
    tmp_path: Path, name: str, kind: Any
) -> None:
    paths, grid = sources_on(tmp_path / "series", (GRIDS | TILTS)[name])
    meant = labelled(grid)
    write_seg(meant, paths, tmp_path / "seg.dcm", kind=kind)
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    seg = segread(tmp_path / "seg.dcm")
    found = seg.get_pixels_by_source_instance(uids, combine_segments=True).transpose(2, 1, 0)
    if kind == "binary":  # numbered from 1
        found = np.array([0, *LABELS.values])[found]
    assert np.array_equal(found, meant.data)


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize(("kind", "wrong_gap"), [
    ("binary", False), ("binary", True), ("labelmap", True),
])  # fmt: skip
def test_left_stays_left_for_dcmqi(tmp_path: Path, name: str, kind: Any, wrong_gap: bool) -> None:
    """Also where the source says a wrong SpacingBetweenSlices, which decides in dcmqi."""
    tags = {"SpacingBetweenSlices": "5"} if wrong_gap else {}
    shape, angles = (18, 22, 15), GRIDS[name].direction
    place = Geometry.from_parts(shape, (0.9, 1.1, 2.1), angles, (-21, 13, -37))
    bodies = make_bodies(place, "mr")
    paths, grid = sources_on(tmp_path / "series", place, modality="MR", tags=_Tags(tags))
    _, truth = phantom(grid, "mr", bodies=bodies)
    write_seg(truth, paths, tmp_path / "seg.dcm", kind=kind)
    found, at = dcmqi_label_map(tmp_path / "seg.dcm", tmp_path / "dcmqi")
    assert np.array_equal(found, truth.data)
    assert at.is_close(grid, 1e-3)
    for body in bodies:
        if body.value:
            middle = at.index_to_world(np.argwhere(found == body.value).mean(axis=0))
            assert np.abs(middle - body.centre_mm).max() < 1.1


class _Tags(dict[str, Any]):
    """Tags that can be part of a key."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


@pytest.mark.parametrize("name", list(TILTS))
def test_a_tilted_series_keeps_its_shear(tmp_path: Path, name: str) -> None:
    paths, grid = sources_on(tmp_path / "series", TILTS[name])
    assert grid.is_sheared
    write_seg(labelled(grid), paths, tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    found = {tuple(g.PlanePositionSequence[0].ImagePositionPatient)
             for g in seg.PerFrameFunctionalGroupsSequence}  # fmt: skip
    assert found == {tuple(pydicom.dcmread(p).ImagePositionPatient) for p in paths}
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(2.5)
    assert read_seg(tmp_path / "seg.dcm").geometry.is_close(grid)


@pytest.mark.parametrize("kind", ["binary", "fractional"])
def test_valid_for_dciodvfy(tmp_path: Path, series: list[Path], kind: Any) -> None:
    meant = labelled(GRIDS["oblique"])
    shares = np.stack([meant.mask(v) for v in LABELS.values]).astype(np.float32)
    write_seg(meant, series, tmp_path / "seg.dcm", kind=kind,
              probabilities=shares if kind == "fractional" else None)  # fmt: skip
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_every_object_names_its_source(tmp_path: Path, series: list[Path]) -> None:
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    seg, first = pydicom.dcmread(tmp_path / "seg.dcm"), pydicom.dcmread(series[0])
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName",
                    "StudyDate", "PatientBirthDate"):  # fmt: skip
        assert seg[keyword].value == first[keyword].value
    assert seg.SeriesInstanceUID != first.SeriesInstanceUID
    named = seg.ReferencedSeriesSequence[0]
    assert named.SeriesInstanceUID == first.SeriesInstanceUID
    uids = [pydicom.dcmread(p).SOPInstanceUID for p in series]
    assert [i.ReferencedSOPInstanceUID for i in named.ReferencedInstanceSequence] == uids
    assert seg.ContentDescription == RESEARCH_NOTICE
    assert "SpacingBetweenSlices" not in first


def test_segments_say_what_they_are(tmp_path: Path, series: list[Path]) -> None:
    notes = write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    kidney, lesion = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator) == ("64033007", "SCT")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert lesion.SegmentLabel == "Läsion"
    assert lesion.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99UNETR"
    assert [note for note in notes if "Läsion" in note and "kidney" not in note]
    assert kidney.SegmentAlgorithmType == "AUTOMATIC"
    assert kidney.SegmentAlgorithmName == "kidney_ct"
    algorithm = kidney.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmVersion == "1.2.3"
    assert "weights_hash=abc" in algorithm.AlgorithmParameters
    assert kidney.TrackingUID != lesion.TrackingUID


def test_an_edited_seg_goes_on_from_its_predecessor(tmp_path: Path, series: list[Path]) -> None:
    meant = labelled(GRIDS["oblique"])
    first, second = tmp_path / "first.dcm", tmp_path / "second.dcm"
    write_seg(meant, series, first)
    write_seg(meant, series, second, predecessor=first)
    before, after = pydicom.dcmread(first), pydicom.dcmread(second)
    assert before.SOPInstanceUID != after.SOPInstanceUID
    assert before.SeriesInstanceUID != after.SeriesInstanceUID
    assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
    for old, new in zip(before.SegmentSequence, after.SegmentSequence, strict=True):
        assert old.TrackingUID == new.TrackingUID
        assert new.SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert dciodvfy_errors(second) == []


def test_a_predecessor_of_another_study_is_refused(tmp_path: Path, series: list[Path]) -> None:
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "first.dcm")
    edit_dicom(tmp_path / "first.dcm", StudyInstanceUID=generate_uid())
    with pytest.raises(InvalidRequest, match="another study"):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "second.dcm",
                  predecessor=tmp_path / "first.dcm")  # fmt: skip
    with pytest.raises(UnreadableInput, match="no DICOM segmentation"):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "second.dcm",
                  predecessor=series[0])  # fmt: skip


# --- kinds -----------------------------------------------------------------------------------


@pytest.mark.parametrize("omit", [False, True])
def test_overlapping_labels_stay_masks(tmp_path: Path, series: list[Path], omit: bool) -> None:
    meant = overlapping(GRIDS["oblique"])
    write_seg(meant, series, tmp_path / "seg.dcm", omit_empty_frames=omit)
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentsOverlap == "YES"
    found = read_seg(tmp_path / "seg.dcm", GRIDS["oblique"])
    assert found.is_overlapping
    assert np.array_equal(found.data, meant.data)
    assert found.labels.values == LABELS.values


def test_masks_that_do_not_overlap_say_so(tmp_path: Path, series: list[Path]) -> None:
    plain = labelled(GRIDS["oblique"])
    masks = np.stack([plain.mask(v) for v in LABELS.values])
    apart = Segmentation(masks, GRIDS["oblique"], LABELS)
    write_seg(apart, series, tmp_path / "seg.dcm")
    assert pydicom.dcmread(tmp_path / "seg.dcm").SegmentsOverlap == "NO"
    assert np.array_equal(read_seg(tmp_path / "seg.dcm").data, plain.data)


def test_a_label_map_refuses_overlap(tmp_path: Path, series: list[Path]) -> None:
    with pytest.raises(InvalidRequest, match="these labels overlap"):
        write_seg(overlapping(GRIDS["oblique"]), series, tmp_path / "seg.dcm", kind="labelmap")
    assert not (tmp_path / "seg.dcm").exists()


def test_many_labels_take_16_bits(tmp_path: Path, series: list[Path]) -> None:
    labels = LabelSet.from_names({1: "one", 255: "255", 256: "256", 40000: "far"})
    meant = labelled(GRIDS["oblique"], labels)
    write_seg(meant, series, tmp_path / "seg.dcm", kind="labelmap")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.BitsAllocated, seg.PixelPaddingValue) == (16, 0)
    assert [s.SegmentNumber for s in seg.SegmentSequence] == [0, 1, 255, 256, 40000]
    found = read_seg(tmp_path / "seg.dcm")
    assert np.array_equal(found.data, meant.data)
    assert found.labels.values == labels.values


def _shares(layout: str, dtype: Any, folder: Path) -> NDArray[Any]:
    shape = (2, *GRIDS["oblique"].shape)
    shares = np.random.default_rng(3).integers(0, 256, shape, np.uint8)
    if layout == "with background":
        shares = np.concatenate([shares[:1] * 0 if n != 2 and n != 7 else shares[[(2, 7).index(n)]]
                                 for n in range(8)])  # fmt: skip
    if layout == "last":
        mapped = np.memmap(folder / "p.raw", np.uint8, "w+", shape=(*shape[1:], 2))
        mapped[:] = np.moveaxis(shares, 0, -1)
        return mapped
    return shares if dtype is np.uint8 else (shares / np.float32(255)).astype(dtype)


@pytest.mark.parametrize(("layout", "dtype"), [
    ("first", np.uint8), ("first", np.float32), ("last", np.uint8), ("with background", np.uint8),
])  # fmt: skip
def test_probabilities_are_kept_in_255ths(
    tmp_path: Path, series: list[Path], layout: str, dtype: Any
) -> None:
    grid = GRIDS["oblique"]
    meant = np.moveaxis(np.asarray(_shares("last", np.uint8, tmp_path)), -1, 0)
    write_seg(labelled(grid), series, tmp_path / "seg.dcm", kind="fractional",
              probabilities=_shares(layout, dtype, tmp_path))  # fmt: skip
    seg = segread(tmp_path / "seg.dcm")
    uids = [pydicom.dcmread(p).SOPInstanceUID for p in series]
    found = seg.get_pixels_by_source_instance(uids, rescale_fractional=False)
    assert np.array_equal(found, meant.transpose(3, 2, 1, 0))
    halves = read_seg(tmp_path / "seg.dcm")
    assert np.array_equal(halves.data, meant >= 128)


@pytest.mark.parametrize(("kind", "shares", "error", "words"), [
    ("binary", np.zeros((2, 9, 11, 7), np.uint8), InvalidRequest, "belong to"),
    ("fractional", None, InvalidRequest, "belong to"),
    ("fractional", np.zeros((2, 9, 11, 8), np.uint8), UnsafeGeometry, "do not fit"),
    ("fractional", np.zeros((3, 9, 11, 7), np.uint8), InvalidRequest, "3 channels"),
    ("fractional", np.full((2, 9, 11, 7), 1.5, np.float32), InvalidRequest, "outside 0 to 1"),
    ("fractional", np.full((2, 9, 11, 7), np.nan, np.float32), InvalidRequest, "outside 0 to 1"),
    ("surface", None, InvalidRequest, "no kind"),
])  # fmt: skip
def test_what_a_kind_cannot_hold_is_refused(
    tmp_path: Path, series: list[Path], kind: Any, shares: Any, error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm", kind=kind,
                  probabilities=shares)  # fmt: skip
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize("kind", ["binary", "labelmap"])
@pytest.mark.parametrize("omit", [False, True])
def test_nothing_found_is_a_valid_result(
    tmp_path: Path, series: list[Path], kind: Any, omit: bool
) -> None:
    empty = Segmentation(np.zeros((9, 11, 7), np.uint8), GRIDS["oblique"], LABELS)
    notes = write_seg(empty, series, tmp_path / "seg.dcm", kind=kind, omit_empty_frames=omit)
    assert any("no voxel" in note for note in notes) == omit
    found = read_seg(tmp_path / "seg.dcm")
    assert found.geometry.is_close(GRIDS["oblique"])
    assert not found.data.any()
    if kind == "binary":
        assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_omitting_leaves_out_what_is_empty_alone(tmp_path: Path, series: list[Path]) -> None:
    values = np.zeros((9, 11, 7), np.uint8)
    values[3:5, 2:7, 2], values[1:3, 4:6, 5] = 2, 2  # nothing between, nothing of label 7
    meant = Segmentation(values, GRIDS["oblique"], LABELS)
    write_seg(meant, series, tmp_path / "seg.dcm", omit_empty_frames=True)
    assert pydicom.dcmread(tmp_path / "seg.dcm").NumberOfFrames == 2
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    own = read_seg(tmp_path / "seg.dcm")
    assert np.array_equal(own.data, values[..., 2:6])  # the frames between are filled in
    assert own.geometry.is_close(GRIDS["oblique"].cropped((0, 0, 2), (9, 11, 4)))


def test_labels_are_needed(tmp_path: Path, series: list[Path]) -> None:
    nothing = Segmentation(np.zeros((9, 11, 7), np.uint8), GRIDS["oblique"], LabelSet(()))
    for kind in KINDS[:2]:
        with pytest.raises(InvalidRequest, match="at least one label"):
            write_seg(nothing, series, tmp_path / "seg.dcm", kind=kind)


# --- sources ---------------------------------------------------------------------------------


def test_the_order_of_the_sources_does_not_matter(tmp_path: Path, series: list[Path]) -> None:
    meant = labelled(GRIDS["oblique"])
    write_seg(meant, series[::-1], tmp_path / "seg.dcm")
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", GRIDS["oblique"]).data, meant.data)


@pytest.mark.parametrize("change", ["shape", "moved", "turned", "stretched"])
def test_a_segmentation_beside_its_sources_is_refused(
    tmp_path: Path, series: list[Path], change: str
) -> None:
    grid = GRIDS["oblique"]
    affine = grid.affine.copy()
    if change == "moved":
        affine[:3, 3] += 0.2
    elif change == "turned":
        affine[:3, :3] = affine[:3, :3] @ [[1, -1e-3, 0], [1e-3, 1, 0], [0, 0, 1]]
    elif change == "stretched":
        affine[:3, 0] *= 1.001
    shape = (9, 12, 7) if change == "shape" else grid.shape
    with pytest.raises(UnsafeGeometry, match="grid"):
        write_seg(labelled(Geometry(shape, affine)), series, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()


def test_missing_and_doubled_sources_are_refused(tmp_path: Path, series: list[Path]) -> None:
    meant = labelled(GRIDS["oblique"])
    with pytest.raises(UnsafeGeometry, match="no source image lies at index 3"):
        write_seg(meant, [*series[:3], *series[4:]], tmp_path / "seg.dcm")
    with pytest.raises(UnsafeGeometry, match="same place"):
        write_seg(meant, [*series, series[0]], tmp_path / "seg.dcm")
    with pytest.raises(InvalidRequest, match="no source"):
        write_seg(meant, [], tmp_path / "seg.dcm")


@pytest.mark.parametrize("tag", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_sources_without_a_name_are_refused(tmp_path: Path, series: list[Path], tag: str) -> None:
    for path in series:
        dataset = pydicom.dcmread(path)
        setattr(dataset, tag, "")
        dataset.save_as(path)
    with pytest.raises(UnreadableInput, match=tag):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")


ANONYMISED = ["PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate",
              "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
              "PositionReferenceIndicator", "SliceThickness", "FrameOfReferenceUID", "Manufacturer",
              "InstanceNumber", "SeriesNumber"]  # fmt: skip


def test_what_an_anonymiser_removed_is_filled_in(tmp_path: Path, series: list[Path]) -> None:
    for path in series:
        edit_dicom(path, **dict.fromkeys(ANONYMISED))
    meant = labelled(GRIDS["oblique"])
    notes = write_seg(meant, series, tmp_path / "seg.dcm")
    assert any("FrameOfReferenceUID" in note for note in notes)
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    assert np.array_equal(read_seg(tmp_path / "seg.dcm").data, meant.data)
    write_seg(meant, series, tmp_path / "again.dcm", kind="labelmap")
    one, two = (pydicom.dcmread(tmp_path / f"{n}.dcm") for n in ("seg", "again"))
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID


def test_values_against_the_rules_are_not_passed_on(tmp_path: Path, series: list[Path]) -> None:
    for path in series:
        data = path.read_bytes()
        for old, new in ((b"19000101", b"01.01.00"), (b"CS\x02\x00O ", b"CS\x02\x00x ")):
            assert old in data
            data = data.replace(old, new)
        path.write_bytes(data)
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.PatientBirthDate, seg.PatientSex) == ("", "")
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []


def test_lossy_compression_is_not_forgotten(tmp_path: Path, series: list[Path]) -> None:
    for path in series:
        edit_dicom(path, LossyImageCompression="01", LossyImageCompressionRatio="7.5",
                   LossyImageCompressionMethod="ISO_10918_1")  # fmt: skip
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    seg = pydicom.dcmread(tmp_path / "seg.dcm")
    assert (seg.LossyImageCompression, seg.LossyImageCompressionRatio) == ("01", 7.5)


def test_names_in_any_script_come_through(tmp_path: Path, series: list[Path]) -> None:
    for path in series:
        edit_dicom(path, SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Åsa")
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == "Müller^Åsa"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_an_enhanced_image_is_a_source(shared: Path, tmp_path: Path, order: Any) -> None:
    """Frames in any order in the file; the segmentation names the right ones."""
    folder = shared / "data" / "dicom" / "dcmqi_segmentations" / "23x38x3"
    enhanced = pydicom.dcmread(folder / "multiframe" / "mf.dcm")
    pixels, groups = enhanced.pixel_array, list(enhanced.PerFrameFunctionalGroupsSequence)
    enhanced.PixelData = pixels[list(order)].tobytes()
    enhanced.PerFrameFunctionalGroupsSequence = [groups[n] for n in order]
    enhanced.save_as(tmp_path / "enhanced.dcm")
    meant = labelled(read_geometry(folder / "image"))
    write_seg(meant, [tmp_path / "enhanced.dcm"], tmp_path / "seg.dcm")
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    assert np.array_equal(read_seg(tmp_path / "seg.dcm").data, meant.data)
    for frame in pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence:
        named = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        theirs = enhanced.PerFrameFunctionalGroupsSequence[named - 1].PlanePositionSequence[0]
        ours = frame.PlanePositionSequence[0]
        assert theirs.ImagePositionPatient == ours.ImagePositionPatient


REAL = ["brain_mr_oblique", "ct_tilt/S3010", "hippocampus_crop", "dcmqi_segmentations/ct-3slice",
        "dicom2nifti/ge/anatomical/001", "dicom2nifti/siemens/anatomical/001",
        "dicom2nifti/generic/compressed_j2k/001"]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_series(shared: Path, tmp_path: Path, name: str) -> None:
    (case,) = find_cases([shared / "data" / "dicom" / name])
    assert case.geometry is not None
    middle = np.array(case.geometry.shape) // 2
    values = np.zeros(case.geometry.shape, np.uint8)
    values[middle[0] :, : middle[1] // 2, 1:] = 2
    values[: middle[0] // 3, middle[1] :, :-1] = 7
    meant = Segmentation(values, case.geometry, LABELS)
    write_seg(meant, case.paths, tmp_path / "seg.dcm")
    assert dciodvfy_errors(tmp_path / "seg.dcm") == []
    found, at = dcmqi_label_map(tmp_path / "seg.dcm", tmp_path / "dcmqi")
    assert np.array_equal(found, np.choose(np.searchsorted([0, 2, 7], values), [0, 1, 2]))
    if not case.geometry.is_sheared:  # dcmqi has no word for shear
        assert at.is_close(case.geometry, 0.05)


# --- what goes wrong -------------------------------------------------------------------------


def test_a_file_that_is_not_as_meant_is_not_put_in_place(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = seg_frames._bits

    def flipped(blocks: Any) -> Any:
        for n, piece in enumerate(honest(blocks)):
            yield piece ^ np.uint8(4) if n == 1 else piece

    monkeypatch.setattr(seg_frames, "_bits", flipped)
    (tmp_path / "seg.dcm").write_bytes(b"before")
    with pytest.raises(UnwritableOutput, match="not what was written"):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    assert (tmp_path / "seg.dcm").read_bytes() == b"before"
    assert {p.name for p in tmp_path.iterdir()} == {"series", "seg.dcm"}


def test_frames_swapped_are_noticed(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = seg_frames._frame
    monkeypatch.setattr(
        seg_frames, "_frame", lambda source, number, index: honest(source, 1, [1, index[1]])
    )
    with pytest.raises(UnwritableOutput):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")


def test_more_than_a_file_can_hold_is_refused(
    tmp_path: Path, series: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetr_app.io.dicom.seg._MOST_PIXEL_BYTES", 100)
    with pytest.raises(InvalidRequest, match="labelmap"):
        write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm")
    write_seg(labelled(GRIDS["oblique"]), series, tmp_path / "seg.dcm", kind="labelmap")


def test_phantom_labels_all_come_back(tmp_path: Path) -> None:
    paths, grid = sources_on(tmp_path / "series", oblique_geometry((21, 26, 17)))
    _, truth = phantom(grid, "ct")
    for kind in ("binary", "labelmap"):
        write_seg(truth, paths, tmp_path / f"{kind}.dcm", kind=kind)
        found = read_seg(tmp_path / f"{kind}.dcm")
        assert np.array_equal(found.data, truth.data)
        assert found.labels.names == labels_of("ct").names
