"""Reading of SEG: anybody's, on its own grid or exactly on that of its source, or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom.seg import Segmentation as TheirSegmentation
from highdicom.seg import SegmentDescription
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from data.phantom import oblique_geometry
from tests.io_files import edit_dicom, save_series
from tests.strategies import ALL_ORIENTATIONS
from unetr_app.errors import UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_label_map
from unetr_app.io.dicom.seg import write_seg
from unetr_app.io.dicom.seg_reader import read_seg
from unetr_app.labels import Code, LabelSet
from unetr_app.volume import Segmentation, reoriented_array

GRID = oblique_geometry((9, 11, 7))
LABELS = LabelSet.from_names({1: "one", 2: "two"})


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    return save_series(tmp_path / "series", GRID)


@pytest.fixture
def truth() -> Segmentation:
    values = np.random.default_rng(5).integers(0, 3, GRID.shape).astype(np.uint8)
    return Segmentation(values, GRID, LABELS)


@pytest.fixture
def seg(series: list[Path], truth: Segmentation, tmp_path: Path) -> Path:
    write_seg(truth, series, tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm"


def by_highdicom(series: list[Path], pixels: Any, path: Path, **options: Any) -> Path:
    """A SEG by another writer; pixels (K, J, I) or (K, J, I, L)."""
    count = pixels.shape[3] if pixels.ndim == 4 else int(pixels.max())
    segments = [
        SegmentDescription(
            n + 1, f"thing {n + 1}", codes.SCT.Organ, codes.SCT.Liver, "MANUAL",
        ) for n in range(count)
    ]  # fmt: skip
    TheirSegmentation(
        source_images=[pydicom.dcmread(p) for p in series], pixel_array=pixels,
        segment_descriptions=segments, series_instance_uid=hd.UID(), series_number=5,
        sop_instance_uid=hd.UID(), instance_number=1, manufacturer="other",
        manufacturer_model_name="other", software_versions="1", device_serial_number="1", **options,
    ).save_as(path)  # fmt: skip
    return path


@pytest.mark.parametrize("options", [
    {"segmentation_type": "BINARY"},
    {"segmentation_type": "BINARY", "omit_empty_frames": False},
    {"segmentation_type": "LABELMAP"},  # packed, GDCM aborts on sides that are odd
    {"segmentation_type": "FRACTIONAL", "transfer_syntax_uid": ExplicitVRLittleEndian},
])  # fmt: skip
def test_highdicoms_segs(
    series: list[Path], truth: Segmentation, tmp_path: Path, options: dict[str, Any]
) -> None:
    path = by_highdicom(series, truth.data.transpose(2, 1, 0), tmp_path / "seg.dcm", **options)
    found = read_seg(path)
    assert np.array_equal(found.data, truth.data)
    assert found.geometry.is_close(GRID)
    assert found.labels.names == ("thing 1", "thing 2")
    assert found.labels.find(1).type == Code("SCT", "10200004", "Liver")


def test_one_half_is_in_and_less_is_out(series: list[Path], tmp_path: Path) -> None:
    shares = np.random.default_rng(2).random((7, 11, 9, 2)).astype(np.float32)
    path = by_highdicom(series, shares, tmp_path / "seg.dcm", segmentation_type="FRACTIONAL",
                        max_fractional_value=100)  # fmt: skip
    found = read_seg(path, GRID)
    assert np.array_equal(found.data, (np.around(shares * 100) >= 50).transpose(3, 2, 1, 0))


DCMQI = {
    "liver.dcm": {1: "liver_seg.nrrd"},
    "sparse-labelmap-noppv.dcm": {1: "sparse_labelmap_noppv_seg.nrrd"},
    "sparse-labelmap-ppv5.dcm": {1: "sparse_labelmap_ppv5_seg.nrrd"},
    "23x38x3/seg/label.seg": {1: "23x38x3/nrrd/label.nrrd"},
    "24x38x3/seg/label.seg": {1: "24x38x3/nrrd/label.nrrd"},
    "partial_overlaps.dcm": {1: "partial_overlaps-1.nrrd", 2: "partial_overlaps-2.nrrd",
                             3: "partial_overlaps-3.nrrd", 4: "partial_overlaps-1.nrrd",
                             5: "partial_overlaps-1.nrrd"},
}  # fmt: skip


@pytest.mark.parametrize("name", DCMQI)
def test_dcmqis_reference_segs(shared: Path, name: str) -> None:
    folder = shared / "data" / "dicom" / "dcmqi_segmentations"
    own = read_seg(folder / name)
    for value, file in DCMQI[name].items():
        reference = read_label_map(folder / file)
        assert own.geometry.is_close(reference.geometry, 1e-4)
        assert np.array_equal(own.mask(value), reference.mask(value))
        placed = read_seg(folder / name, reference.geometry)
        assert np.array_equal(placed.mask(value), reference.mask(value))
    assert own.labels.values == tuple(DCMQI[name])
    assert own.is_overlapping == (name == "partial_overlaps.dcm")


def test_codes_names_and_colours_of_others(shared: Path) -> None:
    folder = shared / "data" / "dicom" / "dcmqi_segmentations"
    labels = read_seg(folder / "partial_overlaps.dcm").labels
    assert labels.names == ("GREEN", "ORANGE", "PURPLE", "LIGHT_BLUE", "DARK_BLUE")
    assert labels.find("orange").type == Code("SCT", "51114001", "Artery")
    assert labels.find("green").colour == (128, 174, 128)


# --- placed on a grid ------------------------------------------------------------------------


@pytest.mark.parametrize("codes_", ALL_ORIENTATIONS[::5])
def test_a_grid_in_any_orientation(seg: Path, truth: Segmentation, codes_: str) -> None:
    found = read_seg(seg, GRID.reoriented(codes_))
    assert np.array_equal(found.data, reoriented_array(truth.data, GRID, codes_))


def test_a_larger_grid(seg: Path, truth: Segmentation) -> None:
    found = read_seg(seg, GRID.cropped((-2, -1, -3), (14, 13, 12)))
    assert np.array_equal(found.data[2:11, 1:12, 3:10], truth.data)
    assert np.count_nonzero(found.data) == np.count_nonzero(truth.data)


def test_a_smaller_grid_holds_what_lies_on_it(series: list[Path], tmp_path: Path) -> None:
    values = np.zeros(GRID.shape, np.uint8)
    values[3:6, 4:8, 2:5] = 1
    write_seg(Segmentation(values, GRID, LABELS), series, tmp_path / "seg.dcm")
    found = read_seg(tmp_path / "seg.dcm", GRID.cropped((2, 3, 1), (5, 6, 5)))
    assert np.array_equal(found.data, values[2:7, 3:9, 1:6])
    flipped = GRID.cropped((2, 3, 1), (5, 6, 5)).reoriented("RPI")
    assert np.count_nonzero(read_seg(tmp_path / "seg.dcm", flipped).data) == 3 * 4 * 3
    for start in ((4, 3, 1), (2, 5, 1), (2, 3, 3)):
        with pytest.raises(UnsafeGeometry, match="beyond the grid"):
            read_seg(tmp_path / "seg.dcm", GRID.cropped(start, (5, 6, 5)))


@pytest.mark.parametrize("shift", [(0.5, 0, 0), (0, 0.2, 0), (0, 0, 0.3)])
def test_a_grid_between_the_voxels_is_refused(seg: Path, shift: tuple[float, ...]) -> None:
    affine = GRID.affine.copy()
    affine[:3, 3] = GRID.index_to_world(shift)
    with pytest.raises(UnsafeGeometry, match="does not lie on the grid"):
        read_seg(seg, Geometry(GRID.shape, affine))


def test_a_grid_of_another_spacing_is_refused(seg: Path) -> None:
    with pytest.raises(UnsafeGeometry, match="does not lie on the grid"):
        read_seg(seg, GRID.respaced((0.9, 1.1, 1.25)))


# --- frames ----------------------------------------------------------------------------------


def rewrite(path: Path, change: Callable[[pydicom.Dataset], object]) -> Path:
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


def test_the_order_of_frames_does_not_matter(seg: Path, truth: Segmentation) -> None:
    order = np.random.default_rng(0).permutation(14)

    def shuffle(dataset: pydicom.Dataset) -> None:
        pixels = dataset.pixel_array[order]
        groups = dataset.PerFrameFunctionalGroupsSequence
        dataset.PerFrameFunctionalGroupsSequence = [groups[int(n)] for n in order]
        bits = np.packbits(pixels.ravel(), bitorder="little").tobytes()
        dataset.PixelData = bits + b"\0" * (len(bits) % 2)

    assert np.array_equal(read_seg(rewrite(seg, shuffle)).data, truth.data)


def test_a_wrong_gap_does_not_move_frames(seg: Path, truth: Segmentation) -> None:
    def lie(dataset: pydicom.Dataset) -> None:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = "4"

    found = read_seg(rewrite(seg, lie))
    assert found.geometry.is_close(GRID)
    assert np.array_equal(found.data, truth.data)


def test_a_place_per_frame_alone_is_enough(seg: Path, truth: Segmentation) -> None:
    """Orientation and measures in every frame's own groups, as some makers have them."""

    def spread(dataset: pydicom.Dataset) -> None:
        shared = dataset.SharedFunctionalGroupsSequence[0]
        for groups in dataset.PerFrameFunctionalGroupsSequence:
            groups.PlaneOrientationSequence = shared.PlaneOrientationSequence
            groups.PixelMeasuresSequence = shared.PixelMeasuresSequence
        dataset.SharedFunctionalGroupsSequence = [pydicom.Dataset()]

    assert np.array_equal(read_seg(rewrite(seg, spread), GRID).data, truth.data)


def _groups(dataset: pydicom.Dataset, n: int = 0) -> pydicom.Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[n]


def _drop_frame(dataset: pydicom.Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[3]


def _move_frame(dataset: pydicom.Dataset) -> None:
    position = _groups(dataset, 2).PlanePositionSequence[0].ImagePositionPatient
    position[2] = float(position[2]) + 0.8


def _no_position(dataset: pydicom.Dataset) -> None:
    del _groups(dataset).PlanePositionSequence


def _turn(dataset: pydicom.Dataset) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def _no_spacing(dataset: pydicom.Dataset) -> None:
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0, 1]


def _strange_segment(dataset: pydicom.Dataset) -> None:
    _groups(dataset).SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _cut(dataset: pydicom.Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:40]


def _far(dataset: pydicom.Dataset) -> None:
    position = _groups(dataset, 2).PlanePositionSequence[0].ImagePositionPatient
    normal = GRID.affine_lps[:3, 2]
    _groups(dataset, 2).PlanePositionSequence[0].ImagePositionPatient = [
        round(float(p) + 1e9 * n, 3) for p, n in zip(position, normal, strict=True)
    ]


@pytest.mark.parametrize(("change", "error", "words"), [
    (_drop_frame, UnreadableInput, "13 descriptions of frames"),
    (_move_frame, UnsafeGeometry, "regular grid"),
    (_no_position, UnsafeGeometry, "frame 1 has no ImagePositionPatient"),
    (_turn, UnsafeGeometry, "perpendicular"),
    (_no_spacing, UnsafeGeometry, "PixelSpacing of frame 1 is 0"),
    (_strange_segment, UnreadableInput, "frame 1 is of no segment"),
    (_cut, UnreadableInput, "truncated"),
    (_far, UnetrError, "grid|voxels"),
    (lambda d: setattr(d, "SegmentationType", "SURFACE"), UnreadableInput, "no DICOM seg"),
    (lambda d: setattr(d, "Rows", 0), UnreadableInput, "Rows"),
    (lambda d: setattr(d, "SegmentSequence", []), UnreadableInput, "no segment"),
])  # fmt: skip
def test_damage_is_refused(
    seg: Path, change: Callable[[pydicom.Dataset], object], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words):
        read_seg(rewrite(seg, change))


def test_what_is_no_seg_is_refused(series: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no DICOM segmentation"):
        read_seg(series[0])
    (tmp_path / "empty.dcm").write_bytes(b"")
    with pytest.raises(UnreadableInput, match="empty"):
        read_seg(tmp_path / "empty.dcm")


@pytest.mark.parametrize("cut", [200, 900, 3000, 6000])
def test_a_file_cut_short_is_refused(seg: Path, cut: int) -> None:
    whole = seg.read_bytes()
    seg.write_bytes(whole[:cut])
    assert cut < len(whole)
    with pytest.raises(UnetrError):
        read_seg(seg)


def test_a_label_map_with_a_value_nobody_described(
    series: list[Path], truth: Segmentation, tmp_path: Path
) -> None:
    write_seg(truth, series, tmp_path / "seg.dcm", kind="labelmap")
    rewrite(tmp_path / "seg.dcm", lambda d: d.SegmentSequence.pop(2))
    with pytest.raises(UnreadableInput, match="2 are of no segment"):
        read_seg(tmp_path / "seg.dcm")


def test_a_segment_0_that_is_no_background(
    series: list[Path], truth: Segmentation, tmp_path: Path
) -> None:
    """The standard lets it mean anything where no padding value says otherwise."""
    write_seg(truth, series, tmp_path / "seg.dcm", kind="labelmap")

    def named(dataset: pydicom.Dataset) -> None:
        del dataset.PixelPaddingValue
        item = dataset.SegmentSequence[0]
        item.SegmentLabel = "air"
        item.SegmentedPropertyTypeCodeSequence = dataset.SegmentSequence[
            1
        ].SegmentedPropertyTypeCodeSequence

    found = read_seg(rewrite(tmp_path / "seg.dcm", named))
    assert found.labels.find("air").value == 3
    assert np.array_equal(found.data, np.where(truth.data == 0, 3, truth.data))


def test_names_that_repeat_are_told_apart(seg: Path) -> None:
    def same(dataset: pydicom.Dataset) -> None:
        for item in dataset.SegmentSequence:
            item.SegmentLabel = "tumour"

    assert read_seg(rewrite(seg, same)).labels.names == ("tumour", "tumour 2")


def test_numbers_of_others_are_segment_numbers(seg: Path) -> None:
    edit_dicom(seg, ManufacturerModelName="other", SOPInstanceUID=generate_uid())
    assert read_seg(seg).labels.values == (1, 2)
