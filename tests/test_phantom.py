"""Phantoms: the truth in millimetres holds on every grid, and no flip can hide."""

from __future__ import annotations

import itertools
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from data import phantom
from unetr_app.geometry import Geometry

GRIDS = {
    "mr": phantom.oblique_geometry((40, 46, 30), (0.9, 1.1, 1.4)),
    "ct": phantom.oblique_geometry((44, 40, 36), (1.5, 1.6, 2.0), (5, 12, -9)),
}


@pytest.mark.parametrize("kind", phantom.KINDS)
@settings(max_examples=15, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.7, 2.5)] * 3),
    angles=st.tuples(*[st.floats(-25, 25)] * 3),
    seed=st.integers(0, 99),
)
def test_centroid_in_mm_is_the_truth_on_any_grid(kind, spacing, angles, seed):
    grid = phantom.oblique_geometry((36, 44, 32), spacing, angles)
    bodies = phantom.make_bodies(grid, kind, seed)
    _, truth = phantom.phantom(grid, kind, seed, bodies=bodies)
    for body in bodies:
        mask = truth.mask(body.value)
        if body.value == 0 or mask.sum() < 150:
            continue
        centroid = grid.index_to_world(np.argwhere(mask).mean(axis=0))
        apart = np.linalg.norm(centroid - body.centre_mm)
        assert apart < 0.3 * max(spacing)
        assert mask.sum() * grid.voxel_ml == pytest.approx(body.volume_ml, rel=0.15)


def test_two_grids_show_one_person():
    bodies = phantom.make_bodies(Geometry((35, 51, 35), np.eye(4)), "mr")
    fine = phantom.oblique_geometry((60, 80, 60), (0.7, 0.7, 0.7), (9, 4, -6), (-5, -3, 2))
    _, coarse_truth = phantom.phantom(Geometry((35, 51, 35), np.eye(4)), bodies=bodies)
    _, fine_truth = phantom.phantom(fine, bodies=bodies)
    for value in (1, 2):
        here, there = (
            s.geometry.index_to_world(np.argwhere(s.mask(value)).mean(axis=0))
            for s in (coarse_truth, fine_truth)
        )
        assert np.linalg.norm(here - there) < 0.25


@pytest.mark.parametrize("kind", phantom.KINDS)
def test_no_flip_or_swap_of_axes_can_hide(kind):
    grid = Geometry((33, 33, 33), np.diag([1.0, 1.0, 1.0, 1.0]))
    _, truth = phantom.phantom(grid, kind)
    labels = truth.label_map
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((False, True), repeat=3):
            if order == (0, 1, 2) and not any(flips):
                continue
            other = np.flip(labels.transpose(order), [n for n in range(3) if flips[n]])
            both = (other == labels) & (labels > 0)
            assert both.sum() < 0.8 * (labels > 0).sum(), (order, flips)


@pytest.mark.parametrize("kind", phantom.KINDS)
def test_bodies_do_not_overlap_and_lie_in_view(kind):
    grid = GRIDS[kind]
    labelled = [b for b in phantom.make_bodies(grid, kind, 3) if b.value]
    unit = np.random.default_rng(0).normal(size=(3000, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    for body in labelled:
        surface = unit * body.radii_mm + body.centre_mm
        index = grid.world_to_index(surface)
        assert (index >= -0.5).all()
        assert (index <= np.asarray(grid.shape) - 0.5).all()
        for other in labelled:
            assert other is body or not other.contains(surface).any(), (body.name, other.name)


@pytest.mark.parametrize("kind", phantom.KINDS)
def test_the_same_seed_gives_the_same_voxels_and_another_seed_others(kind):
    one, again, other = (phantom.phantom(GRIDS[kind], kind, seed)[0].data for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert np.array_equal(one, np.rint(one))


def test_every_label_is_there_and_every_intensity_its_own():
    volume, truth = phantom.phantom(GRIDS["ct"], "ct", noise=0.0)
    assert set(np.unique(truth.label_map)) == {0, *truth.labels.values}
    assert len(truth.labels) == 13
    means = [volume.data[0][truth.mask(v)].mean() for v in truth.labels.values]
    assert len({round(float(m)) for m in means}) == 13
    assert volume.data.min() == -1000


def test_msd_data_set_reads_back_and_deals_five_folds(tmp_path):
    folder = phantom.write_msd_dataset(tmp_path / "set", cases=7)
    about = json.loads((folder / "dataset.json").read_text())
    assert about["numTraining"] == len(about["training"]) == 7
    assert {row["fold"] for row in about["training"]} == {0, 1, 2, 3, 4}
    shapes = set()
    for row in about["training"]:
        image, label = (nib.load(folder / row[key]) for key in ("image", "label"))
        assert image.shape == label.shape
        assert np.array_equal(image.affine, label.affine)
        assert set(np.unique(np.asarray(label.dataobj))) == {0, 1, 2}
        shapes.add(image.shape)
    assert len(shapes) > 1


@pytest.mark.parametrize("sheared", [False, True])
def test_dicom_series_lies_where_the_volume_lies(tmp_path, sheared):
    grid = GRIDS["ct"]
    if sheared:  # a tilted gantry
        affine = grid.affine.copy()
        affine[:3, 2] += 0.3 * affine[:3, 1]
        grid = Geometry(grid.shape, affine)
    volume, _ = phantom.phantom(grid, "ct")
    paths = phantom.write_dicom_series(volume, tmp_path, shuffle=True)
    assert paths != sorted(paths)
    for k, path in enumerate(paths):
        slice_ = pydicom.dcmread(path)
        hu = slice_.pixel_array.T * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
        assert np.array_equal(hu, volume.data[0, :, :, k])
        place = np.asarray(slice_.ImagePositionPatient, dtype=float) * (-1, -1, 1)
        assert np.allclose(place, grid.index_to_world((0, 0, k)), atol=1e-6)


def test_dicom_series_reads_in_simpleitk_as_the_volume(tmp_path):
    volume, _ = phantom.phantom(GRIDS["mr"], "mr")
    paths = phantom.write_dicom_series(volume, tmp_path, suffix="", tags={"SeriesNumber": 9})
    image = sitk.ReadImage([str(p) for p in paths])
    assert np.array_equal(sitk.GetArrayFromImage(image).transpose(2, 1, 0), volume.data[0])
    last = np.asarray(volume.geometry.shape) - 1
    there = image.TransformIndexToPhysicalPoint(last.tolist())
    here = volume.geometry.index_to_world(last) * (-1, -1, 1)
    assert np.allclose(there, here, atol=1e-3)
    assert {pydicom.dcmread(p).SeriesNumber for p in paths} == {9}


def test_command_line_writes_a_data_set(tmp_path, capsys):
    assert phantom.main([str(tmp_path / "out"), "--kind", "mr", "--cases", "2"]) == 0
    assert len(list((tmp_path / "out" / "labelsTr").iterdir())) == 2
    assert "2 mr phantoms" in capsys.readouterr().out
