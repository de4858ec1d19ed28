from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.strategies import geometries
from unetr_app.geometry import Geometry
from unetr_app.review import display
from unetr_app.volume import reoriented_array

law = settings(deadline=None, max_examples=30)  # the machine may be busy


def sheared(grid, slant):
    """The grid with its slices leaning over, as a tilted gantry makes them."""
    affine = grid.affine.copy()
    affine[:3, 2] += slant * affine[:3, 1] * grid.spacing[2] / grid.spacing[1]
    return Geometry(grid.shape, affine)


anywhere = st.builds(sheared, geometries(max_side=5, max_angle_deg=180.0), st.floats(-0.3, 0.3))
nearly_straight = st.builds(
    sheared, geometries(max_side=5, max_angle_deg=20.0), st.floats(-0.3, 0.3)
)


def numbered(geometry):
    return np.arange(np.prod(geometry.shape)).reshape(geometry.shape)


@law
@given(anywhere)
def test_every_voxel_lies_where_the_law_says(geometry):
    where = display.place(geometry)
    shown = display.to_display(numbered(geometry), geometry)
    assert shown.shape == where.shape
    v = np.argwhere(np.ones(where.shape))  # every index, (n, 3)
    native = np.stack(np.unravel_index(shown.ravel(), geometry.shape), axis=-1)
    world = (v * where.scale + where.translate) @ display.display_axes(geometry).T
    np.testing.assert_allclose(world, geometry.index_to_world(native), atol=1e-7)


@law
@given(anywhere)
def test_to_display_and_back_is_the_same(geometry):
    voxels = numbered(geometry)
    there = display.to_display(voxels, geometry)
    np.testing.assert_array_equal(display.from_display(there, geometry), voxels)


@law
@given(geometries(max_angle_deg=0.0))
def test_straight_grids_share_the_patients_axes(geometry):
    where = display.place(geometry)
    axes = display.display_axes(geometry)
    np.testing.assert_allclose(axes, [[0, 0, -1], [0, -1, 0], [-1, 0, 0]], atol=1e-12)
    x, y, z = geometry.reoriented("IPL").origin
    np.testing.assert_allclose(where.translate, (-z, -y, -x), atol=1e-9)


@law
@given(geometries(max_angle_deg=20.0))
def test_display_axes_point_to_inferior_posterior_left_and_mirror_nothing(geometry):
    axes = display.display_axes(geometry)
    assert geometry.reoriented("IPL").orientation == "IPL"
    assert axes[2, 0] < 0 > axes[1, 1]  # down the body, to the back
    assert axes[0, 2] < 0  # to the patient's left
    assert np.linalg.det(axes) == pytest.approx(1.0)


@law
@given(nearly_straight, st.sampled_from(["RAS", "LPS", "PIR", "ASL"]))
def test_the_place_does_not_depend_on_the_order_of_the_array(geometry, codes):
    other = geometry.reoriented(codes)
    np.testing.assert_allclose(display.place(other).scale, display.place(geometry).scale)
    here = display.to_display(numbered(geometry), geometry)
    there = display.to_display(reoriented_array(numbered(geometry), geometry, codes), other)
    np.testing.assert_array_equal(there, here)


@law
@given(nearly_straight, st.tuples(*[st.floats(-80, 80)] * 3))
def test_grids_along_the_same_axes_lie_in_register(geometry, moved_mm):
    finer = Geometry.from_parts(
        (4, 3, 7),
        np.multiply(geometry.spacing, (0.5, 2.0, 1.5)),
        geometry.direction,
        np.add(geometry.origin, moved_mm),
    )
    one, other = display.place(geometry), display.place(finer)
    apart = finer.reoriented("IPL").origin - np.asarray(geometry.reoriented("IPL").origin)
    shown_apart = np.subtract(other.translate, one.translate)
    np.testing.assert_allclose(display.display_axes(geometry) @ shown_apart, apart, atol=1e-6)


@pytest.mark.parametrize(("angle", "tilt"), [(0, 0), (12, 12), (44, 44), (-30, 30), (89, 1)])
def test_tilt_is_the_angle_to_the_nearest_axis(angle, tilt):
    turn = Rotation.from_euler("z", angle, degrees=True).as_matrix()
    grid = Geometry.from_parts((2, 3, 4), (1, 2, 3), turn, (0, 0, 0))
    assert display.tilt_deg(grid) == pytest.approx(tilt, abs=1e-5)


@law
@given(anywhere, st.data())
def test_a_voxels_point_is_where_the_voxel_lies(geometry, data):
    index = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    point = display.to_point(index, geometry)
    world = display.display_axes(geometry) @ point
    np.testing.assert_allclose(world, geometry.index_to_world(index), atol=1e-7)
