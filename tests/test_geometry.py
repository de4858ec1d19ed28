from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry


@given(geometries())
def test_ras_to_lps_and_back_is_the_identity(geometry: Geometry) -> None:
    assert Geometry.from_lps(geometry.shape, geometry.affine_lps) == geometry


@given(geometries())
def test_lps_negates_x_and_y_of_every_voxel(geometry: Geometry) -> None:
    corner = np.append(np.array(geometry.shape) - 1.0, 1.0)
    x, y, z, _ = geometry.affine @ corner
    np.testing.assert_array_equal((geometry.affine_lps @ corner)[:3], (-x, -y, z))


@given(geometries(), st.sampled_from(ALL_ORIENTATIONS))
def test_reorienting_there_and_back_is_exact(geometry: Geometry, codes: str) -> None:
    there = geometry.reoriented(codes)
    back = there.reoriented(geometry.orientation)
    assert there.orientation == codes
    assert back.shape == geometry.shape
    np.testing.assert_array_equal(back.affine[:3, :3], geometry.affine[:3, :3])
    np.testing.assert_allclose(back.origin, geometry.origin, atol=1e-9)


@given(geometries(max_angle_deg=20.0))
def test_reorienting_agrees_with_nibabel(geometry: Geometry) -> None:
    data = np.arange(np.prod(geometry.shape), dtype=np.int32).reshape(geometry.shape)
    canonical = nib.as_closest_canonical(nib.Nifti1Image(data, geometry.affine))
    ours = geometry.reoriented("RAS")
    assert geometry.orientation == "".join(nib.aff2axcodes(geometry.affine))
    assert ours.shape == canonical.shape
    np.testing.assert_allclose(ours.affine, canonical.affine, atol=1e-9)


@given(geometries(), st.tuples(*[st.floats(-20, 20)] * 3))
def test_world_to_index_undoes_index_to_world(
    geometry: Geometry, index: tuple[float, float, float]
) -> None:
    world = geometry.index_to_world(index)
    np.testing.assert_allclose(geometry.world_to_index(world), index, atol=1e-9)


@given(geometries(), st.tuples(*[st.integers(-5, 5)] * 3))
def test_cropping_moves_no_voxel_in_the_world(
    geometry: Geometry, start: tuple[int, int, int]
) -> None:
    block = geometry.cropped(start, (2, 3, 4))
    np.testing.assert_allclose(
        block.index_to_world((1, 2, 3)),
        geometry.index_to_world(np.add(start, (1, 2, 3))),
        atol=1e-9,
    )


@given(geometries(min_side=2), st.tuples(*[st.floats(0.3, 5.0)] * 3))
def test_respacing_keeps_the_first_voxel_face(
    geometry: Geometry, spacing_mm: tuple[float, float, float]
) -> None:
    new = geometry.respaced(spacing_mm)
    np.testing.assert_allclose(new.spacing, spacing_mm)
    np.testing.assert_allclose(
        new.index_to_world((-0.5,) * 3), geometry.index_to_world((-0.5,) * 3), atol=1e-9
    )
    off = np.abs(np.subtract(new.extent_mm, geometry.extent_mm))
    assert (off <= np.maximum(spacing_mm, 0) * (0.5 + 1e-9) + (np.array(new.shape) == 1) * 50).all()


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
def test_every_orientation_is_named(codes: str) -> None:
    upright = Geometry((3, 4, 5), np.diag([1.0, 2.0, 3.0, 1.0]))
    assert upright.reoriented(codes).orientation == codes


def test_parts_rebuild_the_affine() -> None:
    affine = np.array([[0, -2, 0, 5], [1.5, 0, 0, -7], [0, 0, 3, 11], [0, 0, 0, 1.0]])
    geometry = Geometry((4, 5, 6), affine)
    again = Geometry.from_parts(
        geometry.shape, geometry.spacing, geometry.direction, geometry.origin
    )
    assert again == geometry
    assert hash(again) == hash(geometry)
    assert geometry.spacing == (1.5, 2.0, 3.0)
    assert geometry.voxel_ml == pytest.approx(0.009)
    assert geometry.extent_mm == (6.0, 10.0, 18.0)


def test_shear_and_obliquity_are_told_apart() -> None:
    upright = np.diag([1.0, 1.0, 5.0, 1.0])
    tilted = upright.copy()
    tilted[1, 2] = 1.5  # slices shifted towards the front, as with a tilted gantry
    assert not Geometry((2, 2, 2), upright).is_oblique
    assert not Geometry((2, 2, 2), upright).is_sheared
    assert Geometry((2, 2, 2), tilted).is_sheared
    assert Geometry((2, 2, 2), tilted).is_oblique


def test_close_is_judged_at_the_corners() -> None:
    here = Geometry((100, 2, 2), np.eye(4))
    stretched = np.diag([1.0001, 1.0, 1.0, 1.0])
    assert here.is_close(Geometry((100, 2, 2), stretched), tolerance_mm=0.01)
    assert not here.is_close(Geometry((100, 2, 2), stretched), tolerance_mm=0.009)
    assert not here.is_close(Geometry((99, 2, 2), np.eye(4)), tolerance_mm=10)


@pytest.mark.parametrize(
    ("shape", "affine", "words"),
    [
        ((0, 2, 2), np.eye(4), "shape"),
        ((2, 2), np.eye(4), "shape"),
        ((2, 2, 2), np.eye(3), r"\(4, 4\)"),
        ((2, 2, 2), np.diag([1.0, 1.0, 0.0, 1.0]), "singular"),
        ((2, 2, 2), np.full((4, 4), np.nan), "not finite"),
        ((2, 2, 2), np.diag([1.0, 1.0, 1.0, 2.0]), "last row"),
        ((2, 2, 2), [[1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], "one plane"),
    ],
)
def test_an_impossible_grid_is_refused(shape, affine, words) -> None:
    with pytest.raises(UnsafeGeometry, match=words):
        Geometry(shape, affine)


def test_wrong_axis_codes_are_refused() -> None:
    with pytest.raises(UnsafeGeometry, match="axis codes"):
        Geometry((2, 2, 2), np.eye(4)).reoriented("RAR")


def test_the_affine_cannot_be_changed() -> None:
    geometry = Geometry((2, 2, 2), np.eye(4))
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 2.0
