from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr_app.geometry import Geometry
from unetr_app.napari import display
from unetr_app.volume import reoriented_array


def turn(angles_deg):
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles_deg)):
        one, (a, b) = np.eye(3), ((axis + 1) % 3, (axis + 2) % 3)
        one[a, a] = one[b, b] = np.cos(angle)
        one[b, a], one[a, b] = np.sin(angle), -np.sin(angle)
        matrix = one @ matrix
    return matrix


@st.composite
def geometries(draw, largest_deg=180.0, shear=0.3):
    """Any grid: axes in any order and sense, oblique, anisotropic, sheared."""
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    spacing = draw(st.tuples(*[st.floats(0.3, 6.0)] * 3))
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(
        st.tuples(*[st.sampled_from((-1.0, 1.0))] * 3)
    )
    slant = np.eye(3)
    slant[1, 2] = draw(st.floats(-shear, shear))
    directions = turn(draw(st.tuples(*[st.floats(-largest_deg, largest_deg)] * 3))) @ axes @ slant
    directions /= np.linalg.norm(directions, axis=0)
    origin = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Geometry.from_parts(shape, spacing, directions, origin)


def numbered(geometry):
    return np.arange(np.prod(geometry.shape)).reshape(geometry.shape)


@given(geometries())
def test_every_voxel_lies_where_the_law_says(geometry):
    where = display.place(geometry)
    shown = display.to_display(numbered(geometry), geometry)
    assert shown.shape == where.shape
    for v in np.ndindex(where.shape):
        native = np.unravel_index(shown[v], geometry.shape)
        world = display.display_axes(geometry) @ (np.multiply(where.scale, v) + where.translate)
        np.testing.assert_allclose(world, geometry.index_to_world(native), atol=1e-7)


@given(geometries())
def test_to_display_and_back_is_the_same(geometry):
    voxels = numbered(geometry)
    there = display.to_display(voxels, geometry)
    np.testing.assert_array_equal(display.from_display(there, geometry), voxels)


@given(geometries(largest_deg=0.0, shear=0.0))
def test_straight_grids_share_the_patients_axes(geometry):
    where = display.place(geometry)
    axes = display.display_axes(geometry)
    np.testing.assert_allclose(axes, [[0, 0, -1], [0, -1, 0], [-1, 0, 0]], atol=1e-12)
    x, y, z = geometry.reoriented("IPL").origin
    np.testing.assert_allclose(where.translate, (-z, -y, -x), atol=1e-9)


@given(geometries(largest_deg=25.0, shear=0.0))
def test_display_axes_point_to_inferior_posterior_left_and_mirror_nothing(geometry):
    axes = display.display_axes(geometry)
    assert geometry.reoriented("IPL").orientation == "IPL"
    assert axes[2, 0] < 0 > axes[1, 1]  # down the body, to the back
    assert axes[0, 2] < 0  # to the patient's left
    assert np.linalg.det(axes) == pytest.approx(1.0)


@given(geometries(largest_deg=20.0), st.sampled_from(["RAS", "LPS", "PIR", "ASL"]))
def test_the_place_does_not_depend_on_the_order_of_the_array(geometry, codes):
    other = geometry.reoriented(codes)
    np.testing.assert_allclose(display.place(other).scale, display.place(geometry).scale)
    here = display.to_display(numbered(geometry), geometry)
    there = display.to_display(reoriented_array(numbered(geometry), geometry, codes), other)
    np.testing.assert_array_equal(there, here)


@given(geometries(largest_deg=20.0), st.tuples(*[st.floats(-80, 80)] * 3))
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
    grid = Geometry.from_parts((2, 3, 4), (1, 2, 3), turn((0, 0, angle)), (0, 0, 0))
    assert display.tilt_deg(grid) == pytest.approx(tilt, abs=1e-5)
