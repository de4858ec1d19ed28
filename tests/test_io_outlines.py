"""The law of contours: an outline, filled by anybody, gives back the pixels it was drawn round."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Polygon
from skimage.draw import polygon2mask

from unetr_app.io.dicom.filling import fill
from unetr_app.io.dicom.outlines import area, outlines

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=9))


def _ring(size: int = 9) -> np.ndarray:
    mask = np.zeros((size, size + 2), np.bool_)
    mask[1:-1, 1:-2] = True
    mask[3:-4, 3:-3] = False
    return mask


@given(MASKS)
def test_outlines_filled_give_back_every_mask(mask: np.ndarray) -> None:
    lines = outlines(mask)
    done = fill(lines, mask.shape)
    assert np.array_equal(done.mask, mask)
    assert done.copies == done.overlaps == 0


@given(MASKS)
def test_so_do_other_libraries_that_fill_each_contour_by_itself(mask: np.ndarray) -> None:
    """They know nothing of holes: keyholes alone keep these empty."""
    lines = outlines(mask)
    by_skimage = np.zeros(mask.shape, np.bool_)
    by_matplotlib = np.zeros(mask.shape, np.bool_)
    centres = np.argwhere(np.ones(mask.shape, np.bool_))
    for line in lines:
        by_skimage |= polygon2mask(mask.shape, line)
        closed = np.vstack([line, line[:1]])
        inside = Polygon(closed).contains_points(centres)
        by_matplotlib |= inside.reshape(mask.shape)
    assert np.array_equal(by_skimage, mask)
    assert np.array_equal(by_matplotlib, mask)


@given(MASKS, st.floats(-1, 1), st.floats(-1, 1))
def test_no_line_comes_nearer_to_a_centre_than_a_third_of_a_pixel(
    mask: np.ndarray, i: float, j: float
) -> None:
    shift = np.array([i, j])
    shift *= 0.33 / max(float(np.hypot(*shift)), 1.0)
    assert np.array_equal(fill([line + shift for line in outlines(mask)], mask.shape).mask, mask)


@given(MASKS)
def test_a_region_is_half_a_pixel_smaller_than_its_pixels_and_a_hole_as_much(
    mask: np.ndarray,
) -> None:
    """Each corner is cut by an eighth of a pixel, four more outwards than inwards."""
    lines = outlines(mask)
    signed = [area(line) for line in lines]
    assert all(value * signed[0] > 0 for value in signed)
    holes = _holes(mask)
    assert sum(map(abs, signed)) == pytest.approx(mask.sum() - 0.5 * len(lines) + 0.5 * holes)


def _holes(mask: np.ndarray) -> int:
    """Closed lines that bound background: background parts joined at corners, but the outer one."""
    from scipy import ndimage

    regions, count = ndimage.label(mask)
    holes = 0
    for n in range(1, count + 1):
        outside = np.pad(regions != n, 1, constant_values=True)
        holes += ndimage.label(outside, np.ones((3, 3)))[1] - 1
    return holes


def test_a_hole_is_one_contour_with_its_region_and_an_island_another() -> None:
    mask = _ring(13)
    mask[5, 6] = True
    assert len(outlines(mask)) == 2


def test_holes_may_also_cancel_contours_as_the_xor_technique_has_it() -> None:
    outer = np.array([(0.4, 0.4), (7.6, 0.4), (7.6, 8.6), (0.4, 8.6)])
    hole = np.array([(2.6, 2.6), (5.4, 2.6), (5.4, 5.4), (2.6, 5.4)])
    island = np.array([(3.6, 3.6), (4.4, 3.6), (4.4, 4.4), (3.6, 4.4)])
    expected = np.zeros((9, 10), np.bool_)
    expected[1:8, 1:9] = True
    expected[3:6, 3:6] = False
    expected[4, 4] = True
    for lines in ([outer, hole, island], [island, outer, hole]):
        for exclusive in (False, True):
            done = fill(lines, (9, 10), exclusive=exclusive)
            assert np.array_equal(done.mask, expected)


def test_the_line_itself_belongs_to_the_region_however_its_coordinates_are_rounded() -> None:
    """PS3.3 C.8.8.6.3; programs draw contours through the centres of pixels."""
    corners = np.array([(1, 2), (6, 2), (6, 8), (1, 8)], np.float64)
    expected = np.zeros((9, 10), np.bool_)
    expected[1:7, 2:9] = True
    rng = np.random.default_rng(0)
    for _ in range(20):
        assert np.array_equal(
            fill([corners + rng.uniform(-0.01, 0.01, corners.shape)], (9, 10)).mask, expected
        )


def test_a_contour_that_repeats_another_is_no_hole_in_it() -> None:
    line = outlines(_ring())[0]
    done = fill([line, line[::-1]], (9, 11))
    assert np.array_equal(done.mask, _ring())
    assert done.copies == 1


def test_contours_that_overlap_in_part_are_joined_and_told_of() -> None:
    one = np.array([(0.5, 0.5), (4.5, 0.5), (4.5, 4.5), (0.5, 4.5)])
    done = fill([one, one + 2], (9, 9))
    expected = np.zeros((9, 9), np.bool_)
    expected[1:5, 1:5] = expected[3:7, 3:7] = True
    assert np.array_equal(done.mask, expected)
    assert done.overlaps == 1


def test_what_lies_outside_of_the_grid_is_cut_off() -> None:
    line = np.array([(-5.0, -3.0), (30.0, -3.0), (30.0, 2.5), (-5.0, 2.5)])
    expected = np.zeros((6, 7), np.bool_)
    expected[:, :3] = True
    assert np.array_equal(fill([line], (6, 7)).mask, expected)
    assert not fill([line + 100], (6, 7)).mask.any()
