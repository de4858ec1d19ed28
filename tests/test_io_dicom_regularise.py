"""Slices at uneven distances: refused, or resampled on request and mapped back to the slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.io_files import OBLIQUE, edit_dicom, integers, save_series, series_values
from unetr_app.batch.options import BatchOptions
from unetr_app.cases import find_cases
from unetr_app.errors import UnevenSlices, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io import read_geometry, read_volume
from unetr_app.io.dicom.regularise import to_source_frames
from unetr_app.io.dicom.series import source_slices

NORMAL = OBLIQUE.affine_lps[:3, 2] / 2.9
LONG = OBLIQUE.cropped((0, 0, 0), (5, 6, 24))


def _placed(folder: Path, at_mm: np.ndarray, geometry: Geometry = OBLIQUE) -> list[Path]:
    """A series whose slice k lies ``at_mm[k]`` along the normal from the first."""
    step = geometry.affine_lps[:3, 2] / (geometry.affine_lps[:3, 2] @ _normal(geometry))
    paths = save_series(folder, geometry)
    for path, mm in zip(paths, at_mm, strict=True):
        place = geometry.affine_lps[:3, 3] + mm * step
        edit_dicom(path, ImagePositionPatient=[f"{v:.9g}" for v in place])
    return paths


def _normal(geometry: Geometry) -> np.ndarray:
    normal = np.cross(geometry.affine_lps[:3, 0], geometry.affine_lps[:3, 1])
    return normal / np.linalg.norm(normal)


@settings(max_examples=12, deadline=None)
@given(missing=st.sets(st.integers(1, 5), min_size=1, max_size=3))
def test_missing_slices_are_interpolated_and_the_others_kept(
    tmp_path_factory: pytest.TempPathFactory, missing: set[int]
) -> None:
    left = [n for n in range(7) if n not in missing]
    assume(len(set(np.diff(left))) > 1)  # every second slice makes a coarser grid, and a right one
    assume(np.diff(left).min() == 1)
    folder = tmp_path_factory.mktemp("gaps")
    paths = save_series(folder)
    for n in missing:
        paths[n].unlink()
    with pytest.raises(UnevenSlices, match="--regularise"):
        read_volume(folder)
    with pytest.raises(UnevenSlices):
        read_geometry(folder)
    volume = read_volume(folder, regularise=True)
    truth = series_values()
    assert volume.geometry.is_close(OBLIQUE, 1e-3)
    assert np.array_equal(volume.data[0][..., left], truth[..., left])
    for n in missing:
        below, above = max(k for k in left if k < n), min(k for k in left if k > n)
        share = (n - below) / (above - below)
        between = (1 - share) * truth[..., below] + share * truth[..., above]
        assert np.allclose(volume.data[0, ..., n], between, atol=1e-3)
    assert any("regularised" in w and "IM000" in w for w in volume.warnings)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), tilt=st.sampled_from([0.0, 0.3]))
def test_a_ramp_along_the_normal_stays_that_ramp(
    tmp_path_factory: pytest.TempPathFactory, seed: int, tilt: float
) -> None:
    """Linear in, linear out, at every voxel's own place in the patient; slices at any distances."""
    affine = OBLIQUE.affine.copy()
    affine[:3, 2] += tilt * affine[:3, 0]
    geometry = Geometry(OBLIQUE.shape, affine)
    gaps = np.random.default_rng(seed).uniform(2.0, 4.0, OBLIQUE.shape[2] - 1)
    at = np.concatenate([[0], np.cumsum(gaps)])
    assume(np.abs(gaps - np.sort(gaps)[2]).max() > 0.1)
    folder = tmp_path_factory.mktemp("ramp")
    for path, mm in zip(_placed(folder, at, geometry), at, strict=True):
        value = np.full(OBLIQUE.shape[1::-1], round(100 * mm), "<u2")
        edit_dicom(path, PixelData=value.tobytes(), RescaleIntercept="0", RescaleSlope="0.01",
                   PixelRepresentation=0)  # fmt: skip
    volume = read_volume(folder, regularise=True)
    assert volume.geometry.is_sheared == bool(tilt)
    assert np.isclose(volume.geometry.affine_lps[:3, 2] @ _normal(geometry), np.sort(gaps)[2],
                      atol=1e-6)  # fmt: skip
    index = np.stack(np.indices(volume.geometry.shape), axis=-1)
    place = volume.geometry.index_to_world(index) * (-1, -1, 1) - geometry.affine_lps[:3, 3]
    expected = np.minimum(place @ _normal(geometry), at[-1])  # beyond the last slice: its own
    assert np.allclose(volume.data[0], expected, atol=0.011)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.booleans())
def test_a_mask_comes_back_to_the_slices_within_half_a_distance(
    tmp_path_factory: pytest.TempPathFactory, seed: int, order: bool
) -> None:
    rng = np.random.default_rng(seed)
    gaps = rng.uniform(1.5, 3.5, LONG.shape[2] - 1)
    assume(np.abs(gaps - np.median(gaps)).max() > 0.1)
    at = np.concatenate([[0], np.cumsum(gaps)])
    folder = tmp_path_factory.mktemp("mask")
    _placed(folder, at, LONG)
    slices = source_slices(sorted(folder.iterdir()))
    if order:
        slices = slices[::-1]
    volume = read_volume(folder, regularise=True)
    grid = volume.geometry
    k = np.arange(grid.shape[2])
    edge = 0.4 * at[-1]
    mask = np.broadcast_to(k * grid.spacing[2] > edge, grid.shape)
    back = to_source_frames(mask, grid, slices)
    assert back.shape == (*grid.shape[:2], len(slices))
    along = np.array([(s.position - LONG.affine_lps[:3, 3]) @ _normal(LONG) for s in slices])
    sure = np.abs(along - edge) > 0.5 * grid.spacing[2] + 1e-6
    assert np.array_equal(back[0, 0][sure], (along > edge)[sure])
    assert sure.sum() >= len(slices) - 3


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_even_series_come_back_exactly(tmp_path: Path, tilt: float) -> None:
    affine = OBLIQUE.affine.copy()
    affine[:3, 2] += tilt * affine[:3, 1]
    geometry = Geometry(OBLIQUE.shape, affine)
    save_series(tmp_path, geometry)
    slices = source_slices(tmp_path.iterdir())
    labels = integers(geometry.shape)
    assert np.array_equal(to_source_frames(labels, read_geometry(tmp_path), slices), labels)
    overlapping = np.stack([labels > 400, labels < 200])
    assert np.array_equal(to_source_frames(overlapping, read_geometry(tmp_path), slices),
                          overlapping)  # fmt: skip


def test_labels_of_another_series_are_not_put_onto_slices(tmp_path: Path) -> None:
    save_series(tmp_path)
    slices = source_slices(tmp_path.iterdir())
    elsewhere = OBLIQUE.cropped((2, 0, 0), OBLIQUE.shape)
    with pytest.raises(UnsafeGeometry, match="do not lie in the grid"):
        to_source_frames(integers(OBLIQUE.shape), elsewhere, slices)
    further = OBLIQUE.cropped((0, 0, 3), OBLIQUE.shape)
    with pytest.raises(UnsafeGeometry, match="do not lie in the grid"):
        to_source_frames(integers(OBLIQUE.shape), further, slices)


def test_jitter_is_refused_or_recorded(tmp_path: Path) -> None:
    at = np.arange(7) * 2.9
    at[3] += 0.4
    _placed(tmp_path, at)
    with pytest.raises(UnevenSlices, match=r"varies from 2.5 to 3.3"):
        read_volume(tmp_path)
    (case,) = find_cases(tmp_path)
    assert case.form == "variable"
    with pytest.raises(UnevenSlices):
        read_volume(case)
    volume = read_volume(case, regularise=True)
    assert volume.geometry.is_close(OBLIQUE, 0.01)
    assert any("7 slices at uneven distances were resampled to 7" in w for w in volume.warnings)


def test_slices_beside_the_line_stay_refused(tmp_path: Path) -> None:
    paths = save_series(tmp_path)
    place = [float(v) for v in pydicom.dcmread(paths[3]).ImagePositionPatient]
    edit_dicom(paths[3], ImagePositionPatient=[place[0] + 2, place[1], place[2]])
    with pytest.raises(UnsafeGeometry) as caught:
        read_volume(tmp_path, regularise=True)
    assert "--regularise" not in str(caught.value)


def test_an_image_that_would_be_mostly_made_up_stays_refused(tmp_path: Path) -> None:
    _placed(tmp_path, np.array([0, 2.9, 5.8, 8.7, 200.1, 203, 205.9]))
    with pytest.raises(UnsafeGeometry, match="7 slices would become 72"):
        read_volume(tmp_path, regularise=True)


def test_what_is_even_is_read_as_ever(tmp_path: Path) -> None:
    save_series(tmp_path)
    one, other = read_volume(tmp_path), read_volume(tmp_path, regularise=True)
    assert np.array_equal(one.data, other.data)
    assert one.geometry == other.geometry
    assert one.warnings == other.warnings


def test_the_option_is_part_of_what_a_result_is_made_with() -> None:
    assert BatchOptions(regularise=True).parameters["regularise"] is True
    assert "regularise" not in BatchOptions().parameters  # results of before stay valid
