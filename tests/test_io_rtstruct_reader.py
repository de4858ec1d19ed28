"""RTSTRUCT read: what planning systems of any maker write, onto the grid of the images."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from data.phantom import oblique_geometry, phantom, write_dicom_series
from tests.rtstruct_files import Roi, box, flat, save_rtstruct
from unetr_app.errors import InvalidRequest, UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry
from unetr_app.io.dicom.rtstruct_reader import read_rtstruct

GRID = oblique_geometry((20, 17, 9))
UPRIGHT = Geometry.from_parts((20, 20, 9), (1.1, 1.1, 3), np.diag([-1.0, -1.0, 1.0]), (20, 9, -5))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One slice of a series on GRID."""
    return write_dicom_series(phantom(GRID)[0], tmp_path_factory.mktemp("series"))[0]


def _read(path: Path, rois: list[Roi], source: Path, **options: Any) -> Any:
    return read_rtstruct(save_rtstruct(path / "rt.dcm", rois, source, **options), GRID)


def _filled(boxes: list[tuple[int, tuple[int, int], tuple[int, int]]]) -> np.ndarray:
    mask = np.zeros(GRID.shape, bool)
    for k, (a, b), (c, d) in boxes:
        mask[a:c, b:d, k] = True
    return mask


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_names_colours_and_numbers(tmp_path: Path, source: Path, syntax: Any) -> None:
    rois = [
        Roi("Leber", [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))], number=12, colour=(1, 2, 250)),
        Roi("Milz  li.", [box(GRID, 3, (2.5, 3.5), (8.5, 9.5))], number=4, colour=None),
    ]
    found = _read(tmp_path, rois, source, syntax=syntax)
    assert [(v.value, v.name) for v in found.labels] == [(4, "Milz li."), (12, "Leber")]
    assert found.labels.find(12).colour == (1, 2, 250)
    assert np.array_equal(found.mask(12), _filled([(2, (3, 4), (9, 10))]))
    assert np.array_equal(found.mask(4), _filled([(3, (3, 4), (9, 10))]))
    assert found.geometry == GRID


def test_names_in_other_alphabets_without_a_name_and_twice(tmp_path: Path, source: Path) -> None:
    part = [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))]
    rois = [Roi("Größe", part), Roi("", part), Roi("größe", part)]
    found = _read(tmp_path, rois, source, SpecificCharacterSet="ISO_IR 192")
    assert found.labels.names == ("Größe", "ROI 2", "größe (2)")
    assert found.is_overlapping


def test_rois_that_overlap_are_masks(tmp_path: Path, source: Path) -> None:
    rois = [
        Roi("PTV", [box(GRID, 2, (1.5, 1.5), (9.5, 9.5))], number=9),
        Roi("GTV", [box(GRID, 2, (3.5, 3.5), (6.5, 6.5))], number=2),
    ]
    found = _read(tmp_path, rois, source)
    assert found.is_overlapping
    assert np.array_equal(found.mask(9), _filled([(2, (2, 2), (10, 10))]))
    assert np.array_equal(found.mask(2), _filled([(2, (4, 4), (7, 7))]))


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_holes_and_islands_of_several_contours(tmp_path: Path, source: Path, kind: str) -> None:
    contours = [
        box(GRID, 4, (6.5, 6.5), (8.5, 8.5), kind=kind),
        box(GRID, 4, (1.5, 1.5), (13.5, 13.5), kind=kind),
        box(GRID, 4, (4.5, 4.5), (10.5, 10.5), kind=kind),
        box(GRID, 4, (14.5, 1.5), (17.5, 4.5), kind=kind),
    ]
    found = _read(tmp_path, [Roi("ring", contours)], source)
    expected = _filled([(4, (2, 2), (14, 14)), (4, (15, 2), (18, 5))])
    expected[5:11, 5:11, 4] = False
    expected[7:9, 7:9, 4] = True
    assert np.array_equal(found.mask(1), expected)


def test_a_hole_by_keyhole_whose_channel_has_some_width(tmp_path: Path, source: Path) -> None:
    outer = [(7.48, 13.5), (1.5, 13.5), (1.5, 1.5), (13.5, 1.5), (13.5, 13.5), (7.52, 13.5)]
    inner = [(7.52, 10.5), (10.5, 10.5), (10.5, 4.5), (4.5, 4.5), (4.5, 10.5), (7.48, 10.5)]
    corners = [*outer, *inner]
    found = _read(tmp_path, [Roi("ring", [flat(GRID, 4, corners)])], source)
    expected = _filled([(4, (2, 2), (14, 14))])
    expected[5:11, 5:11, 4] = False
    assert np.array_equal(found.mask(1), expected)


def test_what_encloses_nothing_is_set_aside_and_told_of(tmp_path: Path, source: Path) -> None:
    good = box(GRID, 2, (2.5, 3.5), (8.5, 9.5))
    rois = [
        Roi("isocentre", [flat(GRID, 1, [(3, 4)], "POINT")]),
        Roi("wire", [flat(GRID, 1, [(3, 4), (5, 6), (7, 9)], "OPEN_PLANAR")]),
        Roi("tumour", [good, flat(GRID, 3, [(1, 1), (3, 3)])]),
        Roi("nothing yet"),
        Roi("speck", [box(GRID, 2, (2.2, 3.2), (2.3, 3.3))]),
    ]
    found = _read(tmp_path, rois, source)
    assert found.labels.names == ("tumour", "speck")
    assert np.array_equal(found.mask(3), _filled([(2, (3, 4), (9, 10))]))
    assert not found.mask(5).any()
    said = "\n".join(found.provenance["warnings"])
    for words in ("isocentre: 1 points", "wire: 1 points", "tumour: 1 points",
                  "nothing yet: has no closed contour", "speck: .*no voxel's centre"):  # fmt: skip
        assert re.search(words, said), words


def test_contours_without_an_entry_and_entries_without_contours(
    tmp_path: Path, source: Path
) -> None:
    path = save_rtstruct(
        tmp_path / "rt.dcm", [Roi("a", [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))]), Roi("b")], source
    )
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[0].ReferencedROINumber = 7
    del dataset.ROIContourSequence[1]
    dataset.save_as(path)
    found = read_rtstruct(path, GRID)
    assert [(v.value, v.name) for v in found.labels] == [(7, "ROI 7")]


def test_contours_go_to_the_nearest_slice_and_the_user_is_told(
    tmp_path: Path, source: Path
) -> None:
    low, high = (2.5, 3.5), (8.5, 9.5)
    rois = [
        Roi("rounded", [box(GRID, 2.002, low, high)], number=1),
        Roi("between", [box(GRID, 4.4, low, high)], number=2),
        Roi(
            "finer",
            [
                box(GRID, 5.7, (1.5, 1.5), (9.5, 9.5)),
                box(GRID, 6.1, low, high),
                box(GRID, 6.4, (1.5, 1.5), (9.5, 9.5)),
            ],
            number=3,
        ),
    ]
    found = _read(tmp_path, rois, source)
    for value, k in ((1, 2), (2, 4), (3, 6)):
        assert np.array_equal(found.mask(value), _filled([(k, (3, 4), (9, 10))]))
    said = found.provenance["warnings"]
    assert not [words for words in said if words.startswith("rounded")]
    assert any("between: contours lie up to 0.4 slices" in words for words in said)
    assert any("finer: 2 contours were left out" in words for words in said)


def test_contours_on_every_other_slice_are_told_of(tmp_path: Path, source: Path) -> None:
    contours = [box(GRID, k, (2.5, 3.5), (8.5, 9.5)) for k in (1, 3, 5)]
    found = _read(tmp_path, [Roi("sparse", contours)], source)
    assert "every 2th slice" in found.provenance["warnings"][0]
    assert not found.mask(1)[..., 2].any()


OFF: dict[str, Any] = {
    "beyond the images": lambda: box(GRID, 12, (2.5, 3.5), (8.5, 9.5)),
    "not parallel": lambda: flat(GRID, 3, [(1, 1), (9, 1), (9, 9)])[1] + np.diag([0, 9, 0]),
    "beside the images": lambda: box(GRID, 3, (102.5, 3.5), (108.5, 9.5)),
}  # fmt: skip


@pytest.mark.parametrize("words", OFF)
def test_contours_of_another_series_are_refused(tmp_path: Path, source: Path, words: str) -> None:
    made = OFF[words]()
    contour = made if isinstance(made, tuple) else ("CLOSED_PLANAR", made)
    with pytest.raises(UnsafeGeometry, match=words) as caught:
        _read(tmp_path, [Roi("other", [contour])], source)
    assert "another series" in str(caught.value)
    assert "rt.dcm" in str(caught.value)


def test_another_frame_of_reference_is_left_out_or_refused(tmp_path: Path, source: Path) -> None:
    part = [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))]
    path = save_rtstruct(
        tmp_path / "rt.dcm", [Roi("a", part), Roi("b", part, frame_uid="1.2.3")], source
    )
    frame = str(pydicom.dcmread(source).FrameOfReferenceUID)
    found = read_rtstruct(path, GRID, frame_uid=frame)
    assert found.labels.names == ("a",)
    assert "b: lies in another frame" in found.provenance["warnings"][0]
    with pytest.raises(UnsafeGeometry, match="frame of reference"):
        read_rtstruct(path, GRID, frame_uid="1.9.9")


def test_contours_that_reach_beyond_the_images_are_cut_off(tmp_path: Path, source: Path) -> None:
    found = _read(tmp_path, [Roi("couch", [box(GRID, 3, (-30, 10.5), (40, 30))])], source)
    assert np.array_equal(found.mask(1), _filled([(3, (0, 11), (20, 17))]))
    assert "couch: 1 contours reach beyond" in found.provenance["warnings"][0]


def test_chosen_by_name(tmp_path: Path, source: Path) -> None:
    part = [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))]
    path = save_rtstruct(tmp_path / "rt.dcm", [Roi("Liver", part), Roi("Body", part)], source)
    assert read_rtstruct(path, GRID, names=["liver"]).labels.names == ("Liver",)
    with pytest.raises(InvalidRequest, match=r"spleen.*Liver, Body"):
        read_rtstruct(path, GRID, names=["spleen"])


def test_points_repeated_at_the_end_and_few_decimals(tmp_path: Path, source: Path) -> None:
    corners = [(2.5, 3.5), (8.5, 3.5), (8.5, 9.5), (2.5, 9.5), (2.5, 3.5)]
    found = _read(tmp_path, [Roi("a", [flat(GRID, 2, corners)])], source, digits=1)
    assert np.array_equal(found.mask(1), _filled([(2, (3, 4), (9, 10))]))


DAMAGE: dict[str, Any] = {
    "no list of points": ("ContourData", ["1.0", "2.0", "3.0", "4.0"]),
    "not numbers": ("ContourData", ["1.0", "nan", "3.0"] * 3),
    "far away": ("ContourData", ["1e9", "2.0", "3.0"] * 3),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused_in_words(tmp_path: Path, source: Path, name: str) -> None:
    path = save_rtstruct(
        tmp_path / "rt.dcm", [Roi("a", [box(GRID, 2, (2.5, 3.5), (8.5, 9.5))])], source
    )
    dataset = pydicom.dcmread(path)
    keyword, value = DAMAGE[name]
    setattr(dataset.ROIContourSequence[0].ContourSequence[0], keyword, value)
    dataset.save_as(path)
    with pytest.raises(UnreadableInput, match="list of points"):
        read_rtstruct(path, GRID)


def test_other_files_are_refused_in_words(tmp_path: Path, source: Path) -> None:
    with pytest.raises(UnreadableInput, match="no structure set"):
        read_rtstruct(source, GRID)
    with pytest.raises(UnreadableInput, match="no closed contour"):
        _read(tmp_path, [Roi("a")], source)
    with pytest.raises(UnreadableInput, match="no regions"):
        _read(tmp_path, [], source)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_cut_short_at_any_byte_it_is_refused_or_whole(
    tmp_path: Path, source: Path, syntax: Any
) -> None:
    contours = [box(GRID, k, (2.5, 3.5), (8.5, 9.5)) for k in range(4)]
    path = save_rtstruct(tmp_path / "rt.dcm", [Roi("a", contours)], source, syntax=syntax)
    whole = path.read_bytes()
    expected = read_rtstruct(path, GRID).label_map
    for at in np.linspace(1, len(whole) - 1, 60, dtype=int).tolist():
        path.write_bytes(whole[:at])
        try:
            found = read_rtstruct(path, GRID)
        except UnetrError:
            continue
        assert np.array_equal(found.label_map, expected), at


_RT_UTILS = """
import sys, numpy as np
from rt_utils import RTStructBuilder
made = RTStructBuilder.create_new(dicom_series_path=sys.argv[1])
made.add_roi(mask=np.load(sys.argv[2]), name="blob")
made.save(sys.argv[3])
"""


@pytest.mark.skipif(importlib.util.find_spec("rt_utils") is None, reason="rt-utils is absent")
def test_what_rt_utils_writes_is_read_to_the_pixel(tmp_path: Path) -> None:
    """Its lines run through the centres of the outermost pixels, holes are lines of their own."""
    from scipy.ndimage import binary_opening, gaussian_filter

    write_dicom_series(phantom(UPRIGHT, noise=1)[0], tmp_path / "s")
    grid = read_geometry(tmp_path / "s")
    noise = gaussian_filter(np.random.default_rng(3).standard_normal((20, 20, 9)), (2.5, 2.5, 1))
    mask = noise > 0
    mask[4:15, 5:16, 3], mask[7:12, 8:13, 3] = True, False
    mask[..., 0] = False
    np.save(tmp_path / "mask.npy", mask.swapaxes(0, 1))  # rows, columns
    done = subprocess.run(  # apart, because OpenCV brings a Qt of its own
        [sys.executable, "-c", _RT_UTILS, tmp_path / "s", tmp_path / "mask.npy", tmp_path / "rt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_rtstruct(tmp_path / "rt.dcm", grid)
    missed = mask & ~found.mask(1)
    assert not (found.mask(1) & ~mask).any()
    assert not (missed & binary_opening(mask, np.ones((2, 2, 1)))).any()  # points and lines alone
    assert missed.sum() < 0.01 * mask.sum()
