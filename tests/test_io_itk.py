"""NRRD and MetaImage: what their writers meant, or a refusal that says why."""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io_files import OBLIQUE, integers, save_itk
from tests.strategies import geometries
from unetr_app.cases import find_cases
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_label_map, read_volume, write_segmentation
from unetr_app.labels import Label, LabelSet
from unetr_app.volume import Segmentation

ENDINGS = [".nrrd", ".mha"]


@settings(max_examples=30, deadline=None)
@given(geometry=geometries(min_side=2), ending=st.sampled_from([*ENDINGS, ".mhd"]),
       packed=st.booleans(),
       dtype=st.sampled_from(["uint8", "int16", "float32", "float64"]))  # fmt: skip
def test_what_simpleitk_writes_is_read_on_its_grid(
    tmp_path_factory: pytest.TempPathFactory,
    geometry: Geometry, ending: str, packed: bool, dtype: str,
) -> None:  # fmt: skip
    data = integers(geometry.shape, high=200).astype(dtype)
    path = save_itk(tmp_path_factory.getbasetemp() / f"a{ending}", data, geometry, packed=packed)
    volume = read_volume(path)
    assert np.array_equal(volume.data[0], data)
    assert volume.geometry.is_close(geometry, 1e-6)
    assert read_geometry(path) == volume.geometry


def nrrd(
    path: Path, fields: str, *, content: bytes = bytes(range(60)), sizes: str = "3 4 5",
    encoding: str = "raw", kind: str = "uint8", order: str = "endian: little\n",
) -> Path:  # fmt: skip
    count = len(sizes.split())
    head = f"NRRD0005\n# by hand\ntype: {kind}\ndimension: {count}\nsizes: {sizes}\n"
    path.write_bytes(f"{head}encoding: {encoding}\n{order}{fields}\n\n".encode() + content)
    return path


PLACED = "space directions: (1,0,0) (0,2,0) (0,0,3)\nspace origin: (10,20,30)"


@pytest.mark.parametrize(
    ("space", "origin", "orientation"),
    [("left-posterior-superior", (-10, -20, 30), "LPS"), ("LPS", (-10, -20, 30), "LPS"),
     ("right-anterior-superior", (10, 20, 30), "RAS"), ("RAS", (10, 20, 30), "RAS"),
     ("left-anterior-superior", (-10, 20, 30), "LAS")],
)  # fmt: skip
def test_every_space_of_nrrd_becomes_ras(
    tmp_path: Path, space: str, origin: tuple[float, ...], orientation: str
) -> None:
    geometry = read_volume(nrrd(tmp_path / "a.nrrd", f"space: {space}\n{PLACED}")).geometry
    assert geometry.origin == origin
    assert geometry.orientation == orientation
    assert geometry.spacing == (1, 2, 3)


def mha(path: Path, place: str, *, content: bytes = bytes(range(60)), size: str = "3 4 5",
        more: str = "", kind: str = "MET_UCHAR", file: str = "LOCAL") -> Path:  # fmt: skip
    head = f"ObjectType = Image\nNDims = {len(size.split())}\nBinaryData = True\n{more}{place}\n"
    rest = f"DimSize = {size}\nElementType = {kind}\nElementDataFile = {file}\n"
    path.write_bytes((head + rest).encode() + (content if file == "LOCAL" else b""))
    return path


MATRIX = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 10 20 30\nElementSpacing = 1 2 3"


def test_metaimage_with_its_voxels_beside_it(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(range(60)))
    volume = read_volume(mha(tmp_path / "a.mhd", MATRIX, file="a.raw"))
    assert volume.geometry.origin == (-10, -20, 30)
    assert volume.data[0, 1, 0, 0] == 1


REFUSED_NRRD = {
    "no space": ({"fields": "spacings: 1 2 3"}, UnsafeGeometry, "where in the patient"),
    "space without names": ({"fields": f"space dimension: 3\n{PLACED}"}, UnsafeGeometry, "where"),
    "no origin": ({"fields": "space: LPS\nspace directions: (1,0,0) (0,1,0) (0,0,1)"},
                  UnsafeGeometry, "where"),
    "flat": ({"fields": "space: LPS\nspace directions: (1,0,0) (1,0,0) (0,0,1)\n"
                        "space origin: (0,0,0)"}, UnsafeGeometry, "singular"),
    "NaN": ({"fields": "space: LPS\nspace directions: (1,0,0) (0,nan,0) (0,0,1)\n"
                       "space origin: (0,0,0)"}, UnsafeGeometry, "finite"),
    "words": ({"fields": "space: LPS\nspace directions: (1,0,0) (0,x,0) (0,0,1)\n"
                         "space origin: (0,0,0)"}, UnreadableInput, "numbers"),
    "zero spacing": ({"fields": "space: LPS\nspace directions: (1,0,0) (0,2,0) (0,0,0)\n"
                                "space origin: (0,0,0)"}, UnsafeGeometry, "singular"),
    "truncated": ({"fields": f"space: LPS\n{PLACED}", "content": bytes(59)}, UnreadableInput,
                  "truncated"),
    "too long": ({"fields": f"space: LPS\n{PLACED}", "content": bytes(61)}, UnreadableInput,
                 "more data"),
    "lying": ({"fields": f"space: LPS\n{PLACED}", "sizes": "32767 32767 32767"}, UnreadableInput,
              "32767 x 32767"),
    "constant": ({"fields": f"space: LPS\n{PLACED}", "content": bytes(60)}, UnreadableInput,
                 "same value"),
    "colour": ({"fields": f"kinds: vector domain domain domain\nspace: LPS\n{PLACED}",
                "sizes": "3 2 2 5"}, UnreadableInput, "3 values a voxel"),
    "picture": ({"fields": f"space: LPS\n{PLACED}", "sizes": "3 20"}, UnreadableInput, "2 axes"),
    "slice": ({"fields": f"space: LPS\n{PLACED}", "sizes": "3 20 1"}, UnsafeGeometry,
              "single slice"),
    "sizes": ({"fields": f"space: LPS\n{PLACED}", "sizes": "3 4 -5"}, UnreadableInput, "axis"),
    "detached": ({"fields": f"data file: ../secret\nspace: LPS\n{PLACED}"}, UnreadableInput,
                 "separate"),
    "bzip2": ({"fields": f"space: LPS\n{PLACED}", "encoding": "bzip2"}, UnreadableInput, "bzip2"),
    "type": ({"fields": f"space: LPS\n{PLACED}", "kind": "block"}, UnreadableInput, "block"),
    "byte order": ({"fields": f"space: LPS\n{PLACED}", "kind": "float", "sizes": "3 1 5",
                    "order": ""}, UnreadableInput, "endian"),
    "skip": ({"fields": f"byte skip: 7\nspace: LPS\n{PLACED}"}, UnreadableInput, "skip"),
}  # fmt: skip

REFUSED_MHA = {
    "no matrix": ({"place": "Offset = 1 2 3\nElementSpacing = 1 2 3"}, UnsafeGeometry, "where"),
    "no offset": ({"place": "TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 1 2 3"},
                  UnsafeGeometry, "where"),
    "flat": ({"place": MATRIX.replace("0 1 0 0 0 1", "1 0 0 0 0 1")}, UnsafeGeometry, "singular"),
    "zero spacing": ({"place": MATRIX.replace("1 2 3", "0 2 3")}, UnsafeGeometry, "singular"),
    "words": ({"place": MATRIX.replace("10 20 30", "a b c")}, UnreadableInput, "numbers"),
    "truncated": ({"place": MATRIX, "content": bytes(59)}, UnreadableInput, "truncated"),
    "too long": ({"place": MATRIX, "content": bytes(61)}, UnreadableInput, "more data"),
    "lying": ({"place": MATRIX, "size": "32767 32767 32767"}, UnreadableInput, "32767 x"),
    "lying and packed": ({"place": MATRIX, "size": "700 700 700", "more": "CompressedData = True\n",
                          "content": zlib.compress(bytes(60))}, UnreadableInput, "cannot come out"),
    "colour": ({"place": MATRIX, "more": "ElementNumberOfChannels = 3\n"}, UnreadableInput,
               "3 values a voxel"),
    "scaled": ({"place": MATRIX, "more": "ElementToIntensityFunctionSlope = 2\n"},
               UnreadableInput, "scales"),
    "text": ({"place": MATRIX.replace("Offset", "BinaryData = False\nOffset")}, UnreadableInput,
             "text"),
    "elsewhere": ({"place": MATRIX, "file": "../secret.raw"}, UnreadableInput, "beside"),
    "a list": ({"place": MATRIX, "file": "LIST"}, UnreadableInput, "beside"),
    "nowhere": ({"place": MATRIX, "file": "absent.raw"}, UnreadableInput, "no such file"),
    "picture": ({"place": MATRIX, "size": "3 20"}, UnetrError, "2 axes"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED_NRRD)
def test_nrrd_refused_with_cause_and_cure(tmp_path: Path, what: str) -> None:
    options, kind, words = REFUSED_NRRD[what]
    with pytest.raises(kind, match=rf"^a\.nrrd: .*{words}") as caught:  # type: ignore[arg-type]
        read_volume(nrrd(tmp_path / "a.nrrd", **options))  # type: ignore[arg-type]
    assert caught.value.cure


@pytest.mark.parametrize("what", REFUSED_MHA)
def test_metaimage_refused_with_cause_and_cure(
    tmp_path: Path, what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    options, kind, words = REFUSED_MHA[what]
    with pytest.raises(kind, match=words) as caught:  # type: ignore[arg-type]
        read_volume(mha(tmp_path / "a.mha", **options))  # type: ignore[arg-type]
    assert caught.value.cure
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("packed")
    return {
        ending: save_itk(folder / f"a{ending}", integers(OBLIQUE.shape), OBLIQUE).read_bytes()
        for ending in ENDINGS
    }


@settings(max_examples=80, deadline=None)
@given(ending=st.sampled_from(ENDINGS), cut=st.integers(0, 10**6))
def test_cut_anywhere_it_is_refused(
    tmp_path_factory: pytest.TempPathFactory, packed: dict[str, bytes], ending: str, cut: int
) -> None:
    path = tmp_path_factory.getbasetemp() / f"cut{ending}"
    path.write_bytes(packed[ending][: cut % len(packed[ending])])
    with pytest.raises(UnetrError):
        read_volume(path)


@settings(max_examples=80, deadline=None)
@given(ending=st.sampled_from(ENDINGS), position=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_a_bit_flipped_in_packed_voxels_never_changes_one(
    tmp_path_factory: pytest.TempPathFactory,
    packed: dict[str, bytes], ending: str, position: int, bit: int,
) -> None:  # fmt: skip
    whole = packed[ending]
    mark = b"LOCAL\n" if ending == ".mha" else b"\n\n"
    start = whole.index(mark) + len(mark)
    position = start + position % (len(whole) - start)
    damaged = bytearray(whole)
    damaged[position] ^= 1 << bit
    path = tmp_path_factory.getbasetemp() / f"flipped{ending}"
    path.write_bytes(damaged)
    try:
        volume = read_volume(path)
    except UnetrError:
        return
    assert np.array_equal(volume.data[0], integers(OBLIQUE.shape))
    assert position < start + 10 or position >= len(whole) - 9  # what no checksum covers


def test_names_and_colours_travel_in_nrrd_as_3d_slicer_has_them(tmp_path: Path) -> None:
    labels = LabelSet((Label(2, "Left kidney", (230, 10, 128)), Label(7, "Größe: #1=x")))
    data = np.zeros(OBLIQUE.shape, np.uint8)
    data[0, 0, :2] = (2, 7)
    path = write_segmentation(Segmentation(data, OBLIQUE, labels), tmp_path / "labels.seg.nrrd")
    image = sitk.ReadImage(str(path))
    assert image.GetMetaData("Segment0_Name") == "Left kidney"
    assert image.GetMetaData("Segment0_LabelValue") == "2"
    colour = [float(c) * 255 for c in image.GetMetaData("Segment0_Color").split()]
    assert np.allclose(colour, (230, 10, 128), atol=1e-3)
    assert read_label_map(path).labels.names == labels.names


def test_there_is_only_one_volume(tmp_path: Path) -> None:
    path = save_itk(tmp_path / "a.nrrd", integers(OBLIQUE.shape), OBLIQUE)
    assert read_volume(path, channel=0).data.shape == (1, *OBLIQUE.shape)
    with pytest.raises(InvalidRequest, match="no volume 1"):
        read_volume(path, channel=1)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    path = save_itk(tmp_path / "a.mha", integers(OBLIQUE.shape), OBLIQUE)
    for name in ("a.nrrd", "a.nii.gz", "scan"):
        (tmp_path / name).write_bytes(path.read_bytes())
        assert read_volume(tmp_path / name).geometry.is_close(OBLIQUE, 1e-6)


def test_real_segmentations_of_dcmqi_read(shared: Path) -> None:
    folder = shared / "data" / "dicom" / "dcmqi_segmentations"
    for path in sorted(folder.rglob("*.nrrd")):
        found = read_label_map(path)
        theirs = sitk.ReadImage(str(path))
        assert np.array_equal(found.data, sitk.GetArrayFromImage(theirs).transpose())
        last = [n - 1 for n in found.geometry.shape]
        place = np.array(theirs.TransformIndexToPhysicalPoint(last)) * (-1, -1, 1)
        assert np.allclose(found.geometry.index_to_world(last), place, atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
def test_a_name_that_is_no_text_reads_and_is_not_written(tmp_path: Path) -> None:
    path = save_itk(tmp_path / "a.mha", integers(OBLIQUE.shape), OBLIQUE)
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mha")
    os.rename(path, odd)
    assert read_volume(odd).geometry.shape == OBLIQUE.shape
    (case,) = find_cases(tmp_path)
    assert case.id == "case"
    labels = Segmentation(np.zeros(OBLIQUE.shape, int), OBLIQUE, LabelSet(()))
    with pytest.raises(InvalidRequest, match="Rename"):  # SimpleITK would end the process
        write_segmentation(labels, odd)


@settings(max_examples=150, deadline=None)
@given(ending=st.sampled_from(ENDINGS), at=st.integers(0, 10**6), kept=st.integers(0, 5),
       text=st.text("0123456789.- ()e,\n=:naAifNLPS", max_size=8))  # fmt: skip
def test_rubbish_in_the_header_raises_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory,
    packed: dict[str, bytes], ending: str, at: int, kept: int, text: str,
) -> None:  # fmt: skip
    whole = packed[ending]
    at %= len(whole) - 100
    path = tmp_path_factory.getbasetemp() / f"rubbish{ending}"
    path.write_bytes(whole[:at] + text.encode() + whole[at + kept :])
    for read in (read_volume, read_geometry):
        with contextlib.suppress(UnetrError):
            read(path)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", ["int16", "uint16", "int32", "float", "double", "int64"])
def test_nrrd_of_either_byte_order_is_read_as_simpleitk_does(
    tmp_path: Path, order: str, kind: str
) -> None:
    dtype = np.dtype({"float": "float32", "double": "float64"}.get(kind, kind))
    content = integers((3, 4, 5)).astype(dtype.newbyteorder("<" if order == "little" else ">"))
    path = nrrd(tmp_path / "a.nrrd", f"space: RAS\n{PLACED}", kind=kind,
                content=content.tobytes(order="F"))  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"endian: little", f"endian: {order}".encode()))
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).transpose()
    assert np.array_equal(read_volume(path).data[0], theirs)


@pytest.mark.parametrize("big", ["True", "False"])
@pytest.mark.parametrize("kind", ["MET_SHORT", "MET_USHORT", "MET_INT", "MET_FLOAT", "MET_DOUBLE"])
def test_metaimage_of_either_byte_order_is_read_as_simpleitk_does(
    tmp_path: Path, big: str, kind: str
) -> None:
    dtype = {"MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_FLOAT": "f4",
             "MET_DOUBLE": "f8"}[kind]  # fmt: skip
    content = integers((3, 4, 5)).astype((">" if big == "True" else "<") + dtype)
    path = mha(tmp_path / "a.mha", MATRIX, kind=kind, more=f"BinaryDataByteOrderMSB = {big}\n",
               content=content.tobytes(order="F"))  # fmt: skip
    theirs = sitk.ReadImage(str(path))
    volume = read_volume(path)
    assert np.array_equal(volume.data[0], sitk.GetArrayFromImage(theirs).transpose())
    assert np.allclose(volume.geometry.origin, np.array(theirs.GetOrigin()) * (-1, -1, 1))
