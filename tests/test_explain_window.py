from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unetr_app.explain.window import cell_geometry, window_at, windows_over
from unetr_app.geometry import Geometry
from unetr_app.volume import Volume

TURN = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])


def numbered(shape: tuple[int, int, int]) -> Volume:
    """Every voxel holds its own number, counted from 1, on an oblique anisotropic grid."""
    data = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(1, *shape)
    return Volume(data, Geometry.from_parts(shape, (1.0, 1.5, 2.5), TURN, (-10.0, 4.0, 7.0)))


shapes = st.tuples(*[st.integers(1, 9)] * 3)


@given(shapes, st.tuples(*[st.integers(2, 6)] * 3))
def test_windows_hold_every_voxel_once_and_in_its_place(
    shape: tuple[int, int, int], roi: tuple[int, int, int]
):
    image = numbered(shape)
    seen: list[float] = []
    for window in windows_over(image, roi):
        assert window.data.shape == (1, *roi)
        assert window.geometry.shape == roi
        own = window.own_cells(roi)
        seen += window.data[0][own].tolist()
        outside = window.data[0].copy()
        outside[window.inside] = 0
        assert not outside.any()
        index = np.argwhere(own)[-1]
        number = int(window.data[0][tuple(index)]) - 1
        place = image.geometry.index_to_world(np.unravel_index(number, shape))
        np.testing.assert_allclose(window.geometry.index_to_world(index), place, atol=1e-9)
    assert sorted(seen) == sorted(image.data.ravel().tolist())


@given(shapes, st.data())
def test_a_window_holds_its_middle(shape: tuple[int, int, int], data: st.DataObject):
    image = numbered(shape)
    middle = [data.draw(st.integers(0, n - 1)) for n in shape]
    window = window_at(image, (4, 4, 4), middle)
    here = tuple(m - s for m, s in zip(middle, window.start, strict=True))
    assert window.data[0][here] == image.data[0][tuple(middle)]
    crop, geometry = window.crop(window.data)
    assert crop.min() >= 1  # nothing of the padding
    assert crop.shape[1:] == geometry.shape
    first = np.unravel_index(int(crop[0, 0, 0, 0]) - 1, shape)
    np.testing.assert_allclose(
        geometry.origin, image.geometry.index_to_world(first), atol=1e-9
    )  # fmt: skip


def test_short_images_are_padded_on_both_sides():
    window = window_at(numbered((3, 8, 5)), (6, 4, 6))
    assert window.start == (-1, 2, 0)
    assert window.inside == (slice(1, 4), slice(0, 4), slice(0, 5))


@pytest.mark.parametrize("grid", [(6, 4, 2), (3, 2, 1), (2, 4, 2)])
def test_cells_lie_in_the_middle_of_their_voxels(grid: tuple[int, int, int]):
    geometry = numbered((6, 4, 2)).geometry
    cells = cell_geometry(geometry, grid)
    assert cells.shape == grid
    np.testing.assert_allclose(cells.extent_mm, geometry.extent_mm)
    corners = np.array([(0, 0, 0), geometry.shape]) - 0.5
    ends = np.array([(0, 0, 0), grid]) - 0.5
    np.testing.assert_allclose(cells.index_to_world(ends), geometry.index_to_world(corners))


def test_cells_belong_to_one_window_even_where_windows_overlap():
    image = numbered((10, 4, 4))
    windows = list(windows_over(image, (8, 4, 4)))
    assert [window.start[0] for window in windows] == [0, 2]
    own = [window.own_cells((4, 1, 1))[:, 0, 0].tolist() for window in windows]
    assert own == [[True] * 4, [False, False, False, True]]
