"""NIfTI: values and affine as the standard has them, or a refusal that says why."""

from __future__ import annotations

import gzip
import subprocess
import sys
import textwrap
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.io_files import OBLIQUE, integers, save_itk, save_nifti
from tests.strategies import geometries
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_label_map, read_volume, write_segmentation
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation

Header = Any


def set_fields(**fields: Any) -> Callable[[Header], None]:
    def edit(header: Header) -> None:
        for name, value in fields.items():
            header[name] = value

    return edit


# --- what is right ---------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(geometry=geometries(min_side=2), version=st.sampled_from([1, 2]),
       order=st.sampled_from("<>"), name=st.sampled_from(["a.nii", "a.nii.gz"]))  # fmt: skip
def test_values_and_affine_are_those_of_nibabel(
    tmp_path_factory: pytest.TempPathFactory,
    geometry: Geometry, version: int, order: str, name: str,
) -> None:  # fmt: skip
    path = tmp_path_factory.getbasetemp() / name
    save_nifti(path, integers(geometry.shape), affine=geometry.affine, version=version, order=order)
    try:
        image = nibabel.load(path)
    except ValueError:  # its own half turn, rounded up: see below
        assume(False)
    volume = read_volume(path)
    assert np.array_equal(volume.data[0], np.asarray(image.dataobj, dtype=np.float32))
    assert np.array_equal(volume.geometry.affine, image.affine)
    assert read_geometry(path) == volume.geometry
    assert volume.source == str(path)


@pytest.mark.parametrize(
    "encoding",
    [("int16", "<", 1, 0), ("int32", ">", 1, 0), ("int64", "<", 0, 77), ("float32", ">", np.nan, 0),
     ("float64", "<", 0, 100), ("int16", ">", 0, 100), ("halved", "<", 2, 0),
     ("shifted", ">", 1, -1000)],
)  # fmt: skip
def test_one_scan_reads_the_same_in_every_encoding(
    tmp_path: Path, encoding: tuple[str, str, float, float]
) -> None:
    kind, order, slope, inter = encoding
    scan = integers(OBLIQUE.shape) * 2
    stored = {"halved": scan // 2, "shifted": scan + 1000}.get(kind, scan)
    stored = stored.astype("int16" if kind in ("halved", "shifted") else kind)
    path = save_nifti(tmp_path / "a.nii.gz", stored, order=order,
                      edit=set_fields(scl_slope=slope, scl_inter=inter))  # fmt: skip
    assert np.array_equal(read_volume(path).data[0], scan)


@settings(max_examples=20, deadline=None)
@given(geometry=geometries(min_side=3), seed=st.integers(0, 9))
def test_nibabel_and_simpleitk_put_a_marker_at_the_same_place(
    tmp_path_factory: pytest.TempPathFactory, geometry: Geometry, seed: int
) -> None:
    folder = tmp_path_factory.getbasetemp()
    index = np.random.default_rng(seed).integers(0, geometry.shape)
    data = np.zeros(geometry.shape, np.float32)
    data[tuple(index)] = 9
    image = nibabel.Nifti1Image(data, geometry.affine)
    image.set_qform(geometry.affine, 1)
    nibabel.save(image, folder / "marker.nii")
    for path in (folder / "marker.nii", save_itk(folder / "marker.nrrd", data, geometry),
                 save_itk(folder / "marker.mha", data, geometry)):  # fmt: skip
        volume = read_volume(path)
        found = np.unravel_index(int(volume.data[0].argmax()), geometry.shape)
        ours = volume.geometry.index_to_world(found)
        theirs = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint([int(n) for n in index])
        # A quaternion near half a turn loses half its digits, and SimpleITK may read that one.
        assert np.allclose(ours * (-1, -1, 1), theirs, atol=5e-3)
        assert np.allclose(ours, geometry.index_to_world(index), atol=1e-3)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 0.001), (10, 1)])
def test_units_are_heeded(tmp_path: Path, code: int, factor: float) -> None:
    affine = OBLIQUE.affine.copy()
    affine[:3] /= factor
    path = save_nifti(tmp_path / "a.nii", affine=affine, edit=set_fields(xyzt_units=code))
    assert read_volume(path).geometry.is_close(OBLIQUE, 1e-3)


def test_the_sform_counts_where_the_qform_has_no_code(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii",
                      edit=set_fields(qform_code=0, pixdim=[0, -1, 1, 1, 0, 0, 0, 0]))  # fmt: skip
    assert read_volume(path).geometry.is_close(OBLIQUE, 1e-4)


@pytest.mark.parametrize("qfac", [None, 0])
def test_the_qform_counts_where_the_sform_has_no_code(tmp_path: Path, qfac: int | None) -> None:
    def edit(header: Header) -> None:
        header["sform_code"] = 0
        header["srow_x"] = np.nan
        if qfac is not None:
            header["pixdim"][0] = qfac

    path = save_nifti(tmp_path / "a.nii", edit=edit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = nibabel.load(path).affine
    assert np.array_equal(read_volume(path).geometry.affine, theirs)
    assert read_volume(path).geometry.is_close(OBLIQUE, 1e-3)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("code", [0, 1])
def test_half_a_turn_rounded_up_is_no_fault(tmp_path: Path, version: int, code: int) -> None:
    turned = np.diag([-1.0, -1.0, 1.0, 1.0])  # LPS, as most scanners write
    path = save_nifti(tmp_path / "a.nii", affine=turned, version=version,
                      edit=set_fields(quatern_d=1 + 4e-7, sform_code=code))  # fmt: skip
    with pytest.raises(ValueError, match="w2"):
        nibabel.load(path).header.get_qform()
    assert np.allclose(read_volume(path).geometry.affine, turned, atol=1e-6)


def test_shear_is_kept(tmp_path: Path) -> None:
    sheared = OBLIQUE.affine.copy()
    sheared[:3, 2] += 0.3 * sheared[:3, 1]
    path = save_nifti(tmp_path / "a.nii", edit=lambda h: (h.set_sform(sheared, 1),
                                                          h.set_qform(None, 0)))  # fmt: skip
    assert read_volume(path).geometry.is_sheared
    assert np.allclose(read_volume(path).geometry.affine, sheared, atol=1e-5)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("content", ["plain", "packed"])
def test_content_decides_and_not_the_name(tmp_path: Path, name: str, content: str) -> None:
    right = save_nifti(tmp_path / ("x.nii" if content == "plain" else "x.nii.gz"))
    path = tmp_path / name
    path.write_bytes(right.read_bytes())
    assert np.array_equal(read_volume(path).data[0], integers(OBLIQUE.shape))


def test_trailing_axes_of_length_one_do_not_count(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", integers((5, 6, 7, 1, 1)))
    assert read_volume(path).data.shape == (1, 5, 6, 7)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_one_volume_of_several_can_be_asked_for(tmp_path: Path, name: str) -> None:
    data = integers((5, 6, 7, 3))
    path = save_nifti(tmp_path / name, data)
    for channel in range(3):
        assert np.array_equal(read_volume(path, channel=channel).data[0], data[..., channel])
    with pytest.raises(InvalidRequest, match="no volume 3"):
        read_volume(path, channel=3)


# --- what is refused -------------------------------------------------------------------------


def _with(index: tuple[int, ...], value: float) -> np.ndarray[Any, Any]:
    data = integers(OBLIQUE.shape).astype(np.float64)
    data[index] = value
    return data


def _disagree(header: Header) -> None:
    header.set_qform(np.diag([-1, 1, 1, 1]) @ OBLIQUE.affine, 1)


REFUSED: dict[str, tuple[dict[str, Any], type[UnetrError], str]] = {
    "NaN": ({"data": _with((1, 2, 3), np.nan)}, UnreadableInput,
            r"1 voxels are not finite.*\(1, 2, 3\)"),
    "infinity": ({"data": _with((0, 0, 1), np.inf)}, UnreadableInput, "not finite"),
    "all NaN": ({"data": np.full((5, 6, 7), np.nan)}, UnreadableInput, "210 voxels"),
    "constant": ({"data": np.full((5, 6, 7), 3, np.int16)}, UnreadableInput, "same value, 3"),
    "beyond float32": ({"data": _with((1, 1, 1), 1e300)}, UnreadableInput, "3.4e38"),
    "slope without intercept": ({"edit": set_fields(scl_slope=2, scl_inter=np.nan)},
                                UnreadableInput, "intercept"),
    "overflowing slope": ({"edit": set_fields(scl_slope=3e38, scl_inter=0)}, UnreadableInput,
                          "3.4e38"),
    "zero sform": ({"edit": set_fields(srow_x=0, srow_y=0, srow_z=0, qform_code=0)},
                   UnsafeGeometry, "singular"),
    "flat sform": ({"edit": lambda h: (h.set_sform(np.diag([1, 1, 0, 1]), 1),
                                        set_fields(qform_code=0)(h))}, UnsafeGeometry, "singular"),
    "NaN sform": ({"edit": set_fields(srow_y=np.nan, qform_code=0)}, UnsafeGeometry,
                  "not finite"),
    "no codes": ({"edit": set_fields(sform_code=0, qform_code=0)}, UnsafeGeometry,
                 "both 0.*set_sform"),
    "left-right contradiction": ({"edit": _disagree}, UnsafeGeometry, "sform .*qform .*code"),
    "broken quaternion": ({"edit": set_fields(sform_code=0, quatern_b=5)}, UnsafeGeometry,
                          "qform"),
    "negative spacing in the qform": (
        {"edit": lambda h: (set_fields(sform_code=0)(h), h["pixdim"].__setitem__(2, -1.0))},
        UnsafeGeometry, "qform"),
    "unknown unit": ({"edit": set_fields(xyzt_units=5)}, UnsafeGeometry, "unit"),
    "three volumes": ({"data": integers((5, 6, 7, 3))}, UnreadableInput,
                      "3 volumes.*each volume as a file of its own"),
    "five axes": ({"data": integers((5, 6, 7, 1, 3))}, UnreadableInput, "5 axes"),
    "a picture": ({"data": integers((5, 6))}, UnreadableInput, "2 axes"),
    "a single slice": ({"data": integers((5, 6, 1))}, UnsafeGeometry, "single slice"),
    "a single column": ({"data": integers((1, 6, 7))}, UnsafeGeometry, "single slice"),
    "an empty axis": ({"edit": set_fields(dim=[3, 5, 0, 7, 1, 1, 1, 1])}, UnreadableInput,
                      "axis without voxels"),
    "a negative axis": ({"edit": set_fields(dim=[3, 5, -6, 7, 1, 1, 1, 1])}, UnreadableInput,
                        "axis without voxels"),
    "nine axes": ({"edit": set_fields(dim=[9, 5, 6, 7, 1, 1, 1, 1])}, UnreadableInput, "9 axes"),
    "complex": ({"data": integers((5, 6, 7)).astype(np.complex64)}, UnreadableInput, "complex"),
    "colour": ({"data": np.zeros((5, 6, 7), [("R", "u1"), ("G", "u1"), ("B", "u1")])},
               UnreadableInput, "RGB"),
    "an unknown type": ({"edit": set_fields(datatype=777)}, UnreadableInput, "type 777"),
    "voxels far away": ({"edit": set_fields(vox_offset=1e9)}, UnreadableInput, "truncated|cannot"),
    "voxels in the header": ({"edit": set_fields(vox_offset=100)}, UnreadableInput, "byte 100"),
    "voxels nowhere": ({"edit": set_fields(vox_offset=np.nan)}, UnreadableInput, "byte nan"),
    "lying sizes": ({"edit": set_fields(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])},
                    UnreadableInput, "32767 x 32767 x 32767"),
    "more than there is": ({"edit": set_fields(dim=[3, 90, 600, 700, 1, 1, 1, 1])},
                           UnreadableInput, "truncated"),
    "fewer than there are": ({"data": integers((40, 40, 40)),
                                  "edit": set_fields(dim=[3, 40, 40, 3, 1, 1, 1, 1])},
                             UnreadableInput, "more data"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("what", REFUSED)
def test_refused_with_file_cause_and_cure(tmp_path: Path, what: str, name: str) -> None:
    options, kind, words = REFUSED[what]
    path = save_nifti(tmp_path / name, **options)
    with pytest.raises(kind, match=rf"(?s)^{name}: .*{words}") as caught:
        read_volume(path)
    assert caught.value.cure
    assert str(tmp_path) not in str(caught.value)


HEADER_ALONE = set(REFUSED) - {"NaN", "infinity", "all NaN", "constant", "beyond float32",
                               "overflowing slope", "fewer than there are"}  # fmt: skip


@pytest.mark.parametrize("what", sorted(HEADER_ALONE))
def test_headers_alone_show_it_already(tmp_path: Path, what: str) -> None:
    options, kind, _ = REFUSED[what]
    with pytest.raises(kind):
        read_geometry(save_nifti(tmp_path / "a.nii.gz", **options))


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (bytes(3000), "zeros"), (b"hello, this is text" * 99, "not of an image"),
     (b"\x1f\x8b", "truncated"), (gzip.compress(b"text", mtime=0), "not of an image"),
     (gzip.compress(bytes(4), mtime=0), "not of an image"),
     (b"\x5c\x01\0\0" + bytes(344), "pair"),
     (gzip.compress(gzip.compress(b"twice", mtime=0), mtime=0), "not of an image")],
)  # fmt: skip
def test_what_is_no_image_says_so(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    for read in (read_volume, read_geometry, read_label_map):
        with pytest.raises(UnreadableInput, match=words):
            read(path)


def test_a_missing_file_and_a_folder_say_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"^b\.nii: there is no such file"):
        read_volume(tmp_path / "b.nii")
    with pytest.raises(UnreadableInput, match="no DICOM files"):
        read_volume(tmp_path)


_LIMITED = """
import resource, sys, time
import unetr_app.io.nifti
from unetr_app.errors import UnreadableInput
from unetr_app.io import read_volume
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.monotonic()
try:
    read_volume(sys.argv[1])
except UnreadableInput as error:
    print("refused", time.monotonic() - start, peak() - before, error, sep="|")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="memory is measured as POSIX does")
@pytest.mark.parametrize("bomb", ["promised", "unpromised", "lying"])
def test_bombs_are_refused_at_once_and_without_memory(tmp_path: Path, bomb: str) -> None:
    path = tmp_path / "bomb.nii.gz"
    zeros = gzip.compress(bytes(20_000_000), 9) * 40  # 800 MB in 780 kB; members follow each other
    if bomb == "promised":  # and the header says so
        header = save_nifti(tmp_path / "a.nii", np.zeros((2, 2, 2), np.int16), edit=set_fields(
            dim=[3, 1000, 1000, 400, 1, 1, 1, 1])).read_bytes()[:352]  # fmt: skip
        path.write_bytes(gzip.compress(header) + zeros)
    elif bomb == "unpromised":
        path.write_bytes(gzip.compress(save_nifti(tmp_path / "a.nii").read_bytes()) + zeros)
    else:
        save_nifti(path, edit=set_fields(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]))
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(_LIMITED), str(path)],
                          capture_output=True, text=True, check=True)  # fmt: skip
    refused, seconds, megabytes, _ = done.stdout.split("|")
    assert refused == "refused"
    assert float(seconds) < 1
    assert float(megabytes) < 100


def test_a_mostly_empty_label_map_is_no_bomb(tmp_path: Path) -> None:
    data = np.zeros((256, 256, 64), np.uint8)
    data[1, 2, 3] = 1
    assert read_label_map(save_nifti(tmp_path / "a.nii.gz", data)).data.sum() == 1


# --- label maps ------------------------------------------------------------------------------

NAMES = LabelSet.from_names({1: "Anterior", 2: "Posterior"})


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "int64"])
def test_whole_numbers_are_labels_however_stored(tmp_path: Path, dtype: str) -> None:
    data = integers(OBLIQUE.shape, high=2)
    found = read_label_map(save_nifti(tmp_path / "a.nii.gz", data.astype(dtype)), NAMES)
    assert found.data.dtype == np.uint8
    assert np.array_equal(found.data, data)
    assert found.labels == NAMES


def test_an_empty_label_map_is_one(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a.nii.gz", np.zeros(OBLIQUE.shape, np.uint8))
    assert len(read_label_map(path).labels) == 0
    assert read_label_map(path, NAMES).labels == NAMES


def test_values_without_a_name_get_one(tmp_path: Path) -> None:
    data = np.zeros(OBLIQUE.shape, np.int16)
    data[0, 0, :3] = (7, 300, 7)
    assert read_label_map(save_nifti(tmp_path / "a.nii", data)).labels.names == (
        "label_7", "label_300")  # fmt: skip


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.5, r"whole numbers, but there is 0.5 at index \(1, 2, 3\)"), (-1, "-1"), (70000, "70000"),
     (np.nan, "not finite")],
)  # fmt: skip
def test_other_numbers_are_no_labels(tmp_path: Path, value: float, words: str) -> None:
    data = np.zeros(OBLIQUE.shape)
    data[1, 2, 3] = value
    with pytest.raises(UnreadableInput, match=rf"a\.nii: .*{words}"):
        read_label_map(save_nifti(tmp_path / "a.nii", data))


def test_a_value_that_the_label_set_lacks_is_refused_with_the_file(tmp_path: Path) -> None:
    data = np.zeros(OBLIQUE.shape, np.uint8)
    data[0, 0, 0] = 3
    with pytest.raises(InvalidRequest, match=r"a\.nii: .*\[3\]"):
        read_label_map(save_nifti(tmp_path / "a.nii", data), NAMES)


# --- writing ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(geometry=geometries(), seed=st.integers(0, 9),
       ending=st.sampled_from([".nii.gz", ".nii", ".nrrd", ".mha"]),
       shear=st.sampled_from([0.0, 0.3]), high=st.sampled_from([2, 400]))  # fmt: skip
def test_labels_and_grid_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    geometry: Geometry, seed: int, ending: str, shear: float, high: int,
) -> None:  # fmt: skip
    affine = geometry.affine.copy()
    affine[:3, 2] += shear * affine[:3, 1]
    shape = tuple(max(n, 2) for n in geometry.shape)
    geometry = Geometry((shape[0], shape[1], shape[2]), affine)
    data = np.random.default_rng(seed).integers(0, high + 1, geometry.shape)
    labels = LabelSet.from_names({v: f"L{v}" for v in range(1, high + 1)})
    path = tmp_path_factory.getbasetemp() / f"labels{ending}"
    assert write_segmentation(Segmentation(data, geometry, labels), path) == path
    found = read_label_map(path, labels)
    assert np.array_equal(found.data, data)
    assert found.data.dtype == (np.uint8 if high < 256 else np.uint16)
    assert found.geometry.is_close(geometry, 1e-4)


def _segmentation(geometry: Geometry) -> Segmentation:
    return Segmentation(integers(geometry.shape, high=2), geometry, NAMES)


@settings(max_examples=60, deadline=None)
@given(geometry=geometries(min_side=2), form=st.sampled_from(["both", "qform", "sform"]),
       unit=st.sampled_from([0, 1, 2, 3]), ending=st.sampled_from([".nii", ".nii.gz"]))  # fmt: skip
def test_the_grid_of_a_nifti_source_comes_back_as_its_32_bits_have_it(
    tmp_path_factory: pytest.TempPathFactory,
    geometry: Geometry, form: str, unit: int, ending: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.getbasetemp()
    codes = {"both": (1, 1), "qform": (0, 1), "sform": (1, 0)}[form]
    affine = geometry.affine.copy()
    affine[:3] /= {0: 1, 1: 1000, 2: 1, 3: 0.001}[unit]
    source = save_nifti(folder / "source.nii", integers(geometry.shape), affine=affine,
        edit=set_fields(sform_code=codes[0], qform_code=codes[1], xyzt_units=unit))  # fmt: skip
    volume = read_volume(source)
    path = write_segmentation(_segmentation(volume.geometry), folder / f"l{ending}")
    found = nibabel.load(path).affine
    assert np.array_equal(read_label_map(path).geometry.affine, found)
    if form == "qform":  # an affine out of a quaternion need not fit 32 bits
        assert np.allclose(found, volume.geometry.affine, rtol=1e-6, atol=1e-6)
    else:
        assert np.array_equal(found, volume.geometry.affine)


def test_the_header_says_what_readers_need_and_nothing_more(tmp_path: Path) -> None:
    path = write_segmentation(_segmentation(OBLIQUE), tmp_path / "labels.nii.gz")
    header = nibabel.load(path).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units() == ("mm", "unknown")
    assert header.get_data_dtype() == np.uint8
    assert header["descrip"].item() == b""
    assert header["intent_name"].item() == b""
    assert len(header.extensions) == 0
    image = sitk.ReadImage(str(path))
    assert np.allclose(image.GetSpacing(), OBLIQUE.spacing, atol=1e-5)


def test_a_sheared_grid_is_stated_by_the_sform_alone(tmp_path: Path) -> None:
    affine = OBLIQUE.affine.copy()
    affine[:3, 2] += 0.3 * affine[:3, 1]
    path = write_segmentation(_segmentation(Geometry(OBLIQUE.shape, affine)), tmp_path / "l.nii.gz")
    header = nibabel.load(path).header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 0)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_equal_segmentations_give_equal_bytes(tmp_path: Path, ending: str) -> None:
    first = write_segmentation(_segmentation(OBLIQUE), tmp_path / f"a{ending}").read_bytes()
    time.sleep(1.05)  # formats note seconds, if they note the time
    assert first == write_segmentation(_segmentation(OBLIQUE), tmp_path / f"b{ending}").read_bytes()


@pytest.mark.parametrize("ending", [".nii.gz", ".NII.GZ", ".nrrd", ".NRRD", ".mha"])
def test_far_from_the_origin_and_under_any_name_it_is_written(tmp_path: Path, ending: str) -> None:
    affine = OBLIQUE.affine.copy()
    affine[:3, 3] = (-4321.123456, 2500.987654, 9999.5)
    far = Geometry(OBLIQUE.shape, affine)
    path = write_segmentation(_segmentation(far), tmp_path / f"labels{ending}")
    assert read_label_map(path).geometry.is_close(far, 2e-3)


def test_one_slice_can_be_written(tmp_path: Path) -> None:
    flat = Geometry((5, 6, 1), OBLIQUE.affine)
    path = write_segmentation(_segmentation(flat), tmp_path / "l.nii.gz")
    assert nibabel.load(path).shape == (5, 6, 1)


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"\.nii\.gz"):
        write_segmentation(_segmentation(OBLIQUE), tmp_path / "labels.txt")
    assert list(tmp_path.iterdir()) == []


def test_overlapping_labels_are_refused(tmp_path: Path) -> None:
    masks = np.zeros((2, *OBLIQUE.shape), bool)
    with pytest.raises(InvalidRequest, match="overlap"):
        write_segmentation(Segmentation(masks, OBLIQUE, NAMES), tmp_path / "l.nii.gz")


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_what_does_not_read_back_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    from unetr_app.io import itk, nifti

    module = nifti if ending == ".nii.gz" else itk
    write = module.write

    def short(data: Any, geometry: Geometry, path: Path, *rest: Any) -> None:
        write(data, geometry, path, *rest)
        path.write_bytes(path.read_bytes()[:-9])  # as ITK leaves it on a full disk

    monkeypatch.setattr(module, "write", short)
    with pytest.raises(UnetrError, match=f"labels{ending}: what was read back"):
        write_segmentation(_segmentation(OBLIQUE), tmp_path / f"labels{ending}")
    assert list(tmp_path.iterdir()) == []
