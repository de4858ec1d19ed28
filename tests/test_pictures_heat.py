from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.image import imread

from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.labels import Label
from unetr_app.pictures.heat import Heat, heat_picture
from unetr_app.pictures.scatter import Cloud, scatter_picture
from unetr_app.volume import Volume

SHAPE = (20, 26, 14)  # R, A, S
GRID = Geometry(SHAPE, np.diag([2.0, 1.5, 3.0, 1.0]))
LEFT_FRONT_TOP = (2, 22, 12)


def spot(index: tuple[int, int, int], codes: str = "RAS") -> Volume:
    data = np.zeros((1, *SHAPE), dtype=np.float32)
    data[0][index] = 0.25
    return Volume(data, GRID).reorient(codes)


def pixels(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png), format="png")[..., :3]


def centres(picture: np.ndarray) -> list[np.ndarray]:
    """Row and column, as fractions, of the hot spot in each of the three panels."""
    hot = (picture[..., 0] > 0.95) & (picture[..., 1] > 0.95) & (picture[..., 2] < 0.8)
    found: list[np.ndarray] = []
    for left, right, top, bottom in _panels():
        where = np.argwhere(hot[top:bottom, left:right])
        assert len(where)
        found.append(where.mean(axis=0) / (bottom - top, right - left))
    return found


def _panels() -> list[tuple[int, int, int, int]]:
    """Left, right, top and bottom of each panel, from the layout that the module promises."""
    spans = np.array([(40.0, 39.0), (40.0, 42.0), (39.0, 42.0)])  # mm across and down
    scale = min((1200 - 2 * 12 - 2 * 12) / spans[:, 0].sum(), 185 / spans[:, 1].max())
    left, boxes = 12.0, []
    tall = scale * spans[:, 1].max()
    for across, down in spans * scale:
        top = 22 + (tall - down) / 2
        boxes.append((round(left), round(left + across), round(top), round(top + down)))
        left += across + 12
    return boxes


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SAR", "PIL"])
@pytest.mark.parametrize("logarithmic", [False, True])
def test_heat_lies_where_it_is(codes: str, logarithmic: bool):
    picture = pixels(heat_picture([Heat("one", spot(LEFT_FRONT_TOP, codes))], "heat",
                                  logarithmic=logarithmic))  # fmt: skip
    (axial, coronal, sagittal) = centres(picture)
    expected = [  # rows from above, columns from the left
        (1 - 22.5 / 26, 1 - 2.5 / 20),
        (1 - 12.5 / 14, 1 - 2.5 / 20),
        (1 - 12.5 / 14, 1 - 22.5 / 26),
    ]
    for found, wanted in zip((axial, coronal, sagittal), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=0.03)


def test_heat_is_summed_along_the_line_of_sight():
    data = np.zeros((1, *SHAPE), dtype=np.float32)
    data[0, 2, 22, :] = 0.1  # a line along the head's axis: a point from the feet
    data[0, 10, 5, 3] = 0.5
    picture = pixels(heat_picture([Heat("line", Volume(data, GRID))], "heat"))
    left, right, top, bottom = _panels()[0]
    panel = picture[top:bottom, left:right]
    row, column = (int(n * s) for n, s in zip(panel.shape, (1 - 22.5 / 26, 1 - 2.5 / 20),
                                               strict=False))  # fmt: skip
    assert panel[row, column].sum() > 2.5  # 1.4 in all, the largest
    row, column = (int(n * s) for n, s in zip(panel.shape, (1 - 5.5 / 26, 0.475), strict=False))
    assert 0.2 < panel[row, column].sum() < 2  # 0.5


def test_an_image_below_shines_through():
    image = np.zeros((1, *SHAPE), dtype=np.float32)
    image[0, 10:] = 1.0
    heat = Heat("spot", spot(LEFT_FRONT_TOP), (2.0, 22.0, 12.0), Volume(image, GRID))
    assert heat.cut == LEFT_FRONT_TOP
    picture = pixels(heat_picture([heat], "heat"))
    left, right, top, bottom = _panels()[0]
    panel = picture[top:bottom, left:right]
    middle = panel.shape[0] // 3
    assert panel[middle, panel.shape[1] // 4].min() > 0.9  # the patient's right is bright
    assert panel[middle, 3 * panel.shape[1] // 4].max() < 0.1


def test_heat_and_image_must_share_a_grid():
    other = Volume(np.zeros((1, 4, 4, 4), dtype=np.float32), Geometry((4, 4, 4), np.eye(4)))
    with pytest.raises(UnsafeGeometry, match="different grids"):
        Heat("one", spot(LEFT_FRONT_TOP), under=other)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_any_number_of_entries(count: int):
    heats = [Heat(f"entry {n}", spot(LEFT_FRONT_TOP)) for n in range(count)]
    picture = pixels(heat_picture(heats, "heat"))
    assert picture.shape[1] == 1200
    nothing = heat_picture([Heat("none", Volume(np.zeros((1, *SHAPE)), GRID))], "heat")
    assert pixels(nothing).shape[1] == 1200


COLOURS = [Label(1, "one"), Label(5, "five")]


def test_points_are_coloured_by_what_they_are():
    points = np.array([(0.0, 0.0), (1.0, 1.0), (10.0, 10.0)])
    cloud = Cloud("cloud", points, np.array([1, 1, 5]))
    picture = pixels(scatter_picture([cloud], COLOURS, "points"))
    legend = picture[490:]
    for label, low_left in zip(COLOURS, (True, False), strict=True):
        colour = np.array(label.colour) / 255
        assert (np.abs(legend - colour).max(axis=-1) < 0.02).any()
        panel = picture[22:482, 370:830]
        where = np.argwhere(np.abs(panel - colour).max(axis=-1) < 0.17).mean(axis=0)
        assert (where[0] > 230) == low_left
        assert (where[1] < 230) == low_left


def test_labels_without_points_are_left_out_and_one_point_is_enough():
    cloud = Cloud("cloud", np.zeros((1, 2)), np.array([5]))
    few = pixels(scatter_picture([cloud] * 4, COLOURS, "points"))
    assert few.shape[1] == 1200
    colour = np.array(COLOURS[0].colour) / 255
    assert not (np.abs(few - colour).max(axis=-1) < 0.02).any()
