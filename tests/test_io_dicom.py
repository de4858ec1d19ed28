"""DICOM series: a volume that is exactly right, or a refusal that names files and cause."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
    generate_uid,
)

from tests.io_files import OBLIQUE, edit_dicom, save_series, series_values
from tests.strategies import geometries
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_label_map, read_volume
from unetr_app.io.dicom.index import index_slices
from unetr_app.io.dicom.slice import read_slice
from unetr_app.io.dicom.stack import Kind

Files = list[Path]


@pytest.fixture
def series(tmp_path: Path) -> Files:
    return save_series(tmp_path / "series")


def kinds_of(folder: Path) -> list[str]:
    slices = [read_slice(p) for p in sorted(folder.rglob("*")) if p.is_file()]
    return [str(v.stack.kind) for v in index_slices(slices).volumes]


# --- what is right ---------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(geometry=geometries(min_side=2, max_side=5), seed=st.integers(0, 99),
       suffix=st.sampled_from([".dcm", "", ".IMA"]))  # fmt: skip
def test_order_and_names_of_files_do_not_matter(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, seed: int, suffix: str
) -> None:
    folder = tmp_path_factory.mktemp("series")
    save_series(folder, geometry, shuffle=True, seed=seed, suffix=suffix)
    volume = read_volume(folder)
    _assert_same_voxels(volume.data[0], volume.geometry, series_values(geometry), geometry)
    assert read_geometry(folder) == volume.geometry
    assert volume.modality == "CT"


def _assert_same_voxels(
    found: np.ndarray[Any, Any], at: Geometry, meant: np.ndarray[Any, Any], place: Geometry
) -> None:
    """Same values at the same places, axis k in either direction."""
    flipped = not np.allclose(at.origin, place.origin, atol=1e-4)
    order = slice(None, None, -1) if flipped else slice(None)
    assert np.array_equal(found, meant[..., order])
    k = np.arange(place.shape[2])[order]
    corners = np.stack([np.array([[0, 0, n], [place.shape[0] - 1, place.shape[1] - 1, n]])
                        for n in k])  # fmt: skip
    ours = np.stack([np.array([[0, 0, n], [place.shape[0] - 1, place.shape[1] - 1, n]])
                     for n in range(len(k))])  # fmt: skip
    assert np.allclose(at.index_to_world(ours), place.index_to_world(corners), atol=1e-4)


def test_simpleitk_agrees_on_a_regular_series(series: Files) -> None:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(series[0].parent)))
    theirs = reader.Execute()
    volume = read_volume(series[0].parent)
    assert np.array_equal(volume.data[0], sitk.GetArrayFromImage(theirs).transpose())
    for index in ((0, 0, 0), (4, 5, 6), (1, 2, 3)):
        place = np.array(theirs.TransformIndexToPhysicalPoint(index)) * (-1, -1, 1)
        assert np.allclose(volume.geometry.index_to_world(index), place, atol=1e-4)


@pytest.mark.parametrize("tilt", [20, -20, 5])
def test_a_tilted_gantry_keeps_its_shear(tmp_path: Path, tilt: float) -> None:
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[1, 2] = 2.5 * np.tan(np.deg2rad(tilt))
    geometry = Geometry((6, 7, 5), affine)
    save_series(tmp_path, geometry)
    volume = read_volume(tmp_path)
    assert volume.geometry.is_sheared
    _assert_same_voxels(volume.data[0], volume.geometry, series_values(geometry), geometry)
    assert kinds_of(tmp_path) == [Kind.TILT]


def test_rescale_is_applied_slice_by_slice(series: Files) -> None:
    expected = np.empty(OBLIQUE.shape, np.float32)
    for n, path in enumerate(series):
        stored = pydicom.dcmread(path).pixel_array
        edit_dicom(path, RescaleSlope=1 + n / 4, RescaleIntercept=-1000 + 10 * n)
        expected[..., n] = stored.T * (1 + n / 4) - 1000 + 10 * n
    assert np.array_equal(read_volume(series[0].parent).data[0], expected)


def stored_type(dataset: pydicom.Dataset) -> str:
    return "<i2" if dataset.PixelRepresentation else "<u2"


def _rewritten(dataset: pydicom.Dataset, syntax: str) -> pydicom.Dataset:
    """The same values in another unpacked transfer syntax."""
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    pixels = dataset.pixel_array.astype(stored_type(dataset).replace("<", order)).tobytes()
    fresh = pydicom.Dataset()
    fresh.update({element.tag: element for element in dataset})
    fresh.PixelData = pixels
    fresh.file_meta = dataset.file_meta
    fresh.file_meta.TransferSyntaxUID = syntax
    return fresh


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_every_syntax_gives_the_same_values(series: Files, syntax: str) -> None:
    before = read_volume(series[0].parent)
    for path in series:
        dataset = pydicom.dcmread(path)
        if syntax == RLELossless:
            dataset.compress(RLELossless, generate_instance_uid=False)
        else:
            dataset = _rewritten(dataset, syntax)
        dataset.save_as(path, enforce_file_format=True)
    after = read_volume(series[0].parent)
    assert np.array_equal(after.data, before.data)
    assert after.geometry == before.geometry


def test_a_file_without_the_preamble_reads_if_named_dcm(series: Files) -> None:
    before = read_volume(series[0].parent)
    for path in series:
        dataset = pydicom.dcmread(path)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(path, implicit_vr=True, little_endian=True)
        assert path.read_bytes()[128:132] != b"DICM"
    assert np.array_equal(read_volume(series[0].parent).data, before.data)


def test_monochrome1_is_turned_over(series: Files) -> None:
    before = read_volume(series[0].parent)
    for path in series:
        dataset = pydicom.dcmread(path)
        top = (1 << dataset.BitsStored) - 1
        stored = dataset.pixel_array
        turned = ~stored if dataset.PixelRepresentation else top - stored
        dataset.PixelData = turned.astype(stored_type(dataset)).tobytes()
        dataset.PhotometricInterpretation = "MONOCHROME1"
        dataset.save_as(path)
    assert np.array_equal(read_volume(series[0].parent).data, before.data)


@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("limit", [None, 63540])
def test_padding_becomes_air_in_ct(series: Files, signed: int, limit: int | None) -> None:
    expected = series_values()
    for n, path in enumerate(series):
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.astype(np.uint16)
        stored[0, :2] = 63536
        if limit:
            stored[0, 1] = limit - 1
        dataset.PixelRepresentation = signed
        dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", "US", 63536)  # declared unsigned, whatever pixels are
        if limit:
            dataset.add_new("PixelPaddingRangeLimit", "US", limit)
        dataset.save_as(path)
        expected[:2, 0, n] = -1000
    assert np.array_equal(read_volume(series[0].parent).data[0], expected)


@pytest.mark.parametrize("padding", [0, 4000])
def test_padding_becomes_background_in_mr(tmp_path: Path, padding: int) -> None:
    for path in save_series(tmp_path, modality="MR"):
        dataset = pydicom.dcmread(path)
        stored = np.maximum(dataset.pixel_array, 5).astype(stored_type(dataset))
        stored[1, 1], stored[0, 0] = 5, padding
        dataset.PixelData = stored.tobytes()
        dataset.add_new("PixelPaddingValue", "US", padding)
        dataset.save_as(path)
    data = read_volume(tmp_path).data[0]
    assert (data[0, 0] == (0 if padding == 0 else 5)).all()
    assert data[1:].min() == 5


def test_bits_that_are_no_part_of_the_pixel_do_not_count(series: Files) -> None:
    before = read_volume(series[0].parent)
    for path in series:
        dataset = pydicom.dcmread(path)
        stored = dataset.pixel_array.astype(np.uint16) & 0x0FFF
        stored[::2] |= 0x8000  # an overlay of the old kind
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 0
        dataset.PixelData = stored.tobytes()
        dataset.save_as(path)
    assert np.array_equal(read_volume(series[0].parent).data, before.data)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "signed, 12 of 16 bits": ("<i2", {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}),
    "8 bits": ("u1", {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
    "32 bits": ("<u4", {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}),
    "32 bits, signed": ("<i4", {"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31,
                                "PixelRepresentation": 1}),
    "floats": ("<f4", {"BitsAllocated": 32}),
    "doubles": ("<f8", {"BitsAllocated": 64}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pixel_keeps_its_values(series: Files, kind: str) -> None:
    dtype, tags = KINDS[kind]
    expected = np.empty(OBLIQUE.shape, np.float32)
    low = -100 if "i" in dtype else 0
    for n, path in enumerate(series):
        dataset = pydicom.dcmread(path)
        values = (np.arange(30).reshape(6, 5) * 5 + n + low).astype(dtype)
        if "f" in dtype:
            values += 0.25
            for name in ("BitsStored", "HighBit", "PixelRepresentation"):
                del dataset[name]
        del dataset.PixelData
        for name, value in {"PixelRepresentation": 0, **tags}.items():
            if not ("f" in dtype and name == "PixelRepresentation"):
                setattr(dataset, name, value)
        stored = values.astype("<i2") & 0x0FFF if "12 of" in kind else values  # no sign extension
        keyword = {"<f4": "FloatPixelData", "<f8": "DoubleFloatPixelData"}.get(dtype, "PixelData")
        setattr(dataset, keyword, stored.tobytes())
        if keyword == "PixelData":
            dataset["PixelData"].VR = "OB" if dtype == "u1" else "OW"
        dataset.RescaleIntercept = "0"
        dataset.save_as(path)
        expected[..., n] = values.T
    assert np.array_equal(read_volume(series[0].parent).data[0], expected)


# --- what is left out, and said --------------------------------------------------------------


def test_exact_copies_are_left_out_and_recorded(series: Files) -> None:
    before = read_volume(series[0].parent)
    shutil.copy(series[2], series[2].with_name("copy.dcm"))
    edit_dicom(series[3], series[3].with_name("renumbered.dcm"), SOPInstanceUID=generate_uid())
    after = read_volume(series[0].parent)
    assert np.array_equal(after.data, before.data)
    assert after.geometry == before.geometry
    assert any("2 files left out: exact copies" in w for w in after.warnings)


def test_a_localizer_is_left_out_and_recorded(series: Files) -> None:
    before = read_volume(series[0].parent)
    edit_dicom(series[2], series[2].with_name("scout.dcm"), SOPInstanceUID=generate_uid(),
               ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])  # fmt: skip
    across = [*OBLIQUE.affine_lps[:3, 1] / 1.3, *OBLIQUE.affine_lps[:3, 2] / 2.9]
    edit_dicom(series[2], series[2].with_name("across.dcm"), SOPInstanceUID=generate_uid(),
               ImageOrientationPatient=[f"{v:.9f}" for v in across])  # fmt: skip
    after = read_volume(series[0].parent)
    assert np.array_equal(after.data, before.data)
    assert any("2 files of the series left out" in w for w in after.warnings)


def test_objects_that_are_no_slices_are_set_aside(series: Files) -> None:
    before = read_volume(series[0].parent)
    for name, sop_class in (("sr", "88.33"), ("seg", "66.4"), ("struct", "481.3"), ("pr", "11.1")):
        path = edit_dicom(
            series[0], series[0].with_name(name), SOPInstanceUID=generate_uid(),
            SOPClassUID=f"1.2.840.10008.5.1.4.1.1.{sop_class}", Rows=None, Columns=None,
            PixelData=None, ImagePositionPatient=None, ImageOrientationPatient=None,
        )  # fmt: skip
        assert read_slice(path).aside
    assert np.array_equal(read_volume(series[0].parent).data, before.data)


def test_a_missing_first_slice_is_said(series: Files) -> None:
    series[0].unlink()
    volume = read_volume(series[0].parent)
    assert np.array_equal(volume.data[0], series_values()[..., 1:])
    assert any("2 to 7" in w for w in volume.warnings)


@pytest.mark.parametrize(("intercept", "words"), [(0, "intercept"), (-5000, "padding")])
def test_values_that_ct_does_not_have_are_said(series: Files, intercept: int, words: str) -> None:
    assert read_volume(series[0].parent).warnings == ()
    for path in series:
        edit_dicom(path, RescaleIntercept=intercept)
    assert any(words in w for w in read_volume(series[0].parent).warnings)


# --- what is refused -------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(missing=st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True))
def test_a_missing_slice_is_refused_and_its_neighbours_named(
    tmp_path_factory: pytest.TempPathFactory, missing: list[int]
) -> None:
    left = [n for n in range(7) if n not in missing]
    assume(len(set(np.diff(left))) > 1)  # every second slice makes a coarser grid, and a right one
    folder = tmp_path_factory.mktemp("gaps")
    paths = save_series(folder)
    for n in missing:
        paths[n].unlink()
    with pytest.raises(UnsafeGeometry) as caught:
        read_volume(folder)
    named = [n for n, path in enumerate(paths) if path.name in str(caught.value)]
    assert len(named) == 2
    assert named[1] - named[0] >= 2
    assert set(range(named[0] + 1, named[1])) <= set(missing)
    assert str(folder) not in str(caught.value)


def test_every_second_slice_is_a_coarser_grid_and_said(series: Files) -> None:
    for path in series[1::2]:
        path.unlink()
    volume = read_volume(series[0].parent)
    assert np.isclose(volume.geometry.spacing[2], 2 * OBLIQUE.spacing[2], atol=1e-4)
    assert any("4 slices run from 1 to 7" in w for w in volume.warnings)


def _new_place(path: Path, mm: float) -> None:
    dataset = pydicom.dcmread(path)
    normal = OBLIQUE.affine_lps[:3, 2] / 2.9
    place = np.array([float(v) for v in dataset.ImagePositionPatient]) + mm * normal
    edit_dicom(path, ImagePositionPatient=[f"{v:.6f}" for v in place])


def _other_pixels(paths: Files) -> None:
    dataset = pydicom.dcmread(paths[2])
    dataset.SOPInstanceUID = generate_uid()
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(paths[2].with_name("other.dcm"))


def _halve(paths: Files) -> None:
    paths[3].write_bytes(paths[3].read_bytes()[:-30])


def _mirror_half(paths: Files) -> None:
    for path in paths[4:]:
        found = [-float(v) for v in pydicom.dcmread(path).ImageOrientationPatient[:3]]
        rest = [float(v) for v in pydicom.dcmread(path).ImageOrientationPatient[3:]]
        edit_dicom(path, ImageOrientationPatient=[f"{v:.9f}" for v in (*found, *rest)])


def _crop_one(paths: Files) -> None:
    edit_dicom(paths[6], Rows=4, PixelData=bytes(4 * 5 * 2))


def _shift_sideways(paths: Files) -> None:
    dataset = pydicom.dcmread(paths[3])
    place = [float(v) for v in dataset.ImagePositionPatient]
    edit_dicom(paths[3], ImagePositionPatient=[place[0] + 2, place[1], place[2]])


def _all(**tags: Any) -> Callable[[Files], None]:
    return lambda paths: [edit_dicom(path, **tags) for path in paths] and None


def _one(**tags: Any) -> Callable[[Files], None]:
    return lambda paths: edit_dicom(paths[4], **tags) and None


REFUSED: dict[str, tuple[Callable[[Files], object], type[UnetrError], str, str]] = {
    "same place, other pixels": (_other_pixels, UnsafeGeometry, "IM0002.dcm.*other.dcm|other.*IM",
                                 "duplicates"),
    "variable spacing": (lambda p: [_new_place(q, 0.8 * n * n) for n, q in enumerate(p)],
                         UnsafeGeometry, "varies from .* to", "variable"),
    "jitter": (lambda p: _new_place(p[3], 0.4), UnsafeGeometry, "varies from 2.5 to 3.3",
               "variable"),
    "shifted sideways": (_shift_sideways, UnsafeGeometry, "IM0003", "not-a-volume|variable"),
    "two patients": (_one(PatientID="SECRET^OTHER"), UnsafeGeometry, "different patients",
                     "mixed-patients"),
    "two patients by name": (_one(PatientID=None, PatientName="SECRET^OTHER"), UnsafeGeometry,
                             "different patients", "mixed-patients"),
    "mirrored half": (_mirror_half, UnsafeGeometry, "differ in orientation", "not-a-volume"),
    "one smaller slice": (_crop_one, UnsafeGeometry, "IM0006.dcm differ in matrix size",
                          "not-a-volume"),
    "another pixel spacing": (_one(PixelSpacing=[1.0, 0.8]), UnsafeGeometry,
                              "differ in pixel spacing", "not-a-volume"),
    "another frame of reference": (_one(FrameOfReferenceUID=generate_uid()), UnsafeGeometry,
                                   "frame of reference", "not-a-volume"),
    "one slice without rescale": (_one(RescaleSlope=None, RescaleIntercept=None), UnreadableInput,
                                  "IM0004.*RescaleSlope is absent .* 1 of 7 slices", "regular"),
    "monochrome1 that no ct can be": (_all(PhotometricInterpretation="MONOCHROME1"),
                                      UnreadableInput, "MONOCHROME1.*CT does not have", "regular"),
    "no position": (_one(ImagePositionPatient=None), UnsafeGeometry,
                    "IM0004.*ImagePositionPatient is absent", "not-a-volume"),
    "no position at all": (_all(ImagePositionPatient=None), UnsafeGeometry,
                           r"ImagePositionPatient is absent.*\(7 of 7", "not-a-volume"),
    "no orientation": (_all(ImageOrientationPatient=None), UnsafeGeometry,
                       "ImageOrientationPatient is absent", "not-a-volume"),
    "no spacing": (_all(PixelSpacing=None), UnsafeGeometry, "PixelSpacing is absent",
                   "not-a-volume"),
    "zero spacing": (_all(PixelSpacing=[0, 0]), UnsafeGeometry, "PixelSpacing is 0, 0",
                     "not-a-volume"),
    "zero orientation": (_all(ImageOrientationPatient=[0] * 6), UnsafeGeometry, "perpendicular",
                         "not-a-volume"),
    "slope 0": (_one(RescaleSlope=0), UnsafeGeometry, "RescaleSlope is 0", "not-a-volume"),
    "no rows": (_one(Rows=0), UnsafeGeometry, "Rows and Columns", "not-a-volume"),
    "a single slice": (lambda p: [q.unlink() for q in p[1:]], UnsafeGeometry, "single slice",
                       "single"),
    "truncated": (_halve, UnreadableInput, "IM0003.dcm: .*truncated", "regular"),
    "all at one place": (_all(ImagePositionPatient=[1, 2, 3]), UnsafeGeometry, "same place",
                         "duplicates"),
    "several frames": (_all(NumberOfFrames=3), UnreadableInput, "several frames", "enhanced"),
    "mosaic": (_all(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"]), UnreadableInput, "mosaic",
               "mosaic"),
    "colour": (_all(SamplesPerPixel=3), UnsafeGeometry, "SamplesPerPixel is 3", "not-a-volume"),
    "no pixels": (_all(PixelData=None), UnreadableInput, "truncated|absent", "regular"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_files_cause_and_cure(series: Files, what: str) -> None:
    spoil, kind, words, form = REFUSED[what]
    spoil(series)
    folder = series[0].parent
    with pytest.raises(kind, match=words) as caught:
        read_volume(folder)
    assert caught.value.cure
    assert "SECRET" not in str(caught.value)
    assert str(folder.parent) not in str(caught.value)
    found = kinds_of(folder)
    assert len(found) == 1
    assert found[0] in form.split("|")


@settings(max_examples=20, deadline=None)
@given(tag=st.sampled_from(["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"]),
       which=st.integers(0, 6),
       value=st.sampled_from([None, "", [1.0], ["1", "x", "3"]]))  # fmt: skip
def test_a_tag_spoilt_in_any_slice_is_named(
    tmp_path_factory: pytest.TempPathFactory, tag: str, which: int, value: Any
) -> None:
    folder = tmp_path_factory.mktemp("tags")
    path = save_series(folder)[which]
    dataset = pydicom.dcmread(path)
    del dataset[tag]
    if value is not None:  # as text of another kind, which pydicom does not check
        dataset.add_new(tag, "LO", value if isinstance(value, str) else [str(v) for v in value])
    dataset.save_as(path)
    with pytest.raises(UnsafeGeometry, match=rf"{path.name}: {tag}"):
        read_volume(folder)


@settings(max_examples=25, deadline=None)
@given(keep=st.integers(0, 10**6))
def test_a_slice_cut_anywhere_never_gives_a_volume(
    tmp_path_factory: pytest.TempPathFactory, keep: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = save_series(folder, Geometry((3, 4, 4), np.diag([1, 1, 2, 1.0])))[1]
    whole = path.read_bytes()
    path.write_bytes(whole[: keep % len(whole)])
    with pytest.raises(UnetrError):
        read_volume(folder)


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=400), at=st.integers(0, 900))
def test_rubbish_in_the_header_raises_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int
) -> None:
    folder = tmp_path_factory.mktemp("rubbish")
    paths = save_series(folder, Geometry((3, 4, 2), np.diag([1, 1, 2, 1.0])))
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[: 132 + at] + data + whole[132 + at + len(data) :])
    try:
        read_volume(folder)
    except UnetrError as error:
        assert error.cure  # noqa: PT017  every outcome but a foreign error is fine


def test_a_folder_of_two_series_asks_which(series: Files, tmp_path: Path) -> None:
    for path in save_series(tmp_path / "b", seed=5):
        shutil.copy(path, series[0].with_name(f"b{path.name}"))
    with pytest.raises(InvalidRequest, match="2 volumes"):
        read_volume(series[0].parent)


def test_dicom_is_not_read_as_a_label_map(series: Files) -> None:
    with pytest.raises(UnreadableInput, match="label map"):
        read_label_map(series[0])


# --- what is told apart ----------------------------------------------------------------------


def _again(paths: Files, folder: Path, **tags: Any) -> None:
    """Every slice once more, with other pixels and tags."""
    folder.mkdir(exist_ok=True)
    for path in paths:
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = generate_uid()
        dataset.PixelData = bytes(reversed(dataset.PixelData))
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"again_{path.name}")


@pytest.mark.parametrize(
    "tags",
    [{"EchoNumbers": 2}, {"TemporalPositionIdentifier": 2}, {"AcquisitionNumber": 9},
     {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, {"SeriesNumber": 99}],
)  # fmt: skip
def test_volumes_at_one_place_are_told_apart_by_their_tags(
    series: Files, tags: dict[str, Any]
) -> None:
    for path in series:
        edit_dicom(path, AcquisitionNumber=1, EchoNumbers=1)
    _again(series, series[0].parent, **{"AcquisitionNumber": 1, "EchoNumbers": 1, **tags})
    kind = "regular" if "SeriesNumber" in tags else "phases"
    assert kinds_of(series[0].parent) == [kind, kind]


def test_and_by_their_folder(series: Files) -> None:
    _again(series, series[0].parent / "again")
    assert kinds_of(series[0].parent) == ["regular", "regular"]


def test_two_stacks_of_other_orientation_are_two_volumes(series: Files, tmp_path: Path) -> None:
    uid = pydicom.dcmread(series[0]).SeriesInstanceUID
    save_series(tmp_path / "across", OBLIQUE.reoriented("PIR"), seed=3)
    for path in (tmp_path / "across").iterdir():
        first = pydicom.dcmread(series[0])
        edit_dicom(path, series[0].with_name(f"across_{path.name}"), SeriesInstanceUID=uid,
                   StudyInstanceUID=first.StudyInstanceUID, SeriesNumber=first.SeriesNumber,
                   FrameOfReferenceUID=first.FrameOfReferenceUID)  # fmt: skip
    assert kinds_of(series[0].parent) == ["regular", "regular"]


def test_series_without_uid_are_grouped_by_folder(tmp_path: Path) -> None:
    for name in "ab":
        for path in save_series(tmp_path / name, seed=ord(name)):
            edit_dicom(path, SeriesInstanceUID="", StudyInstanceUID="", FrameOfReferenceUID=None)
        volume = read_volume(tmp_path / name)
        assert any("no UID" in w for w in volume.warnings)
    assert kinds_of(tmp_path) == ["regular", "regular"]
