from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from tests.strategies import ALL_ORIENTATIONS, geometries
from unetr_app.geometry import Geometry
from unetr_app.review.display import place, to_display
from unetr_app.review.letters import SCREEN_AXES, edge_letters, is_mirrored, letters_of

law = settings(deadline=None, max_examples=60)
VECTORS = {
    "L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "I": (0, 0, -1),
    "S": (0, 0, 1),
}  # fmt: skip
RADIOLOGICAL = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}
NEUROLOGICAL = {"axial": "LRAP", "coronal": "LRSI", "sagittal": "APSI"}


@pytest.mark.parametrize("codes", ALL_ORIENTATIONS)
@pytest.mark.parametrize("plane", SCREEN_AXES)
def test_letters_do_not_depend_on_the_order_of_the_array(codes, plane):
    grid = Geometry((4, 5, 6), np.diag([1.0, 2.0, 3.0, 1.0])).reoriented(codes)
    assert "".join(edge_letters(grid, plane)) == RADIOLOGICAL[plane]
    assert "".join(edge_letters(grid, plane, "neurological")) == NEUROLOGICAL[plane]


def all_directions():
    """Each name of one or two letters, as a unit vector."""
    found = {name: np.array(vector, float) for name, vector in VECTORS.items()}
    for one, other in product(VECTORS, repeat=2):
        total = np.add(VECTORS[one], VECTORS[other])
        if np.count_nonzero(total) == 2:
            found[one + other] = total / np.sqrt(2)
    return found


@law
@given(st.tuples(*[st.floats(-1, 1)] * 3))
def test_letters_are_those_of_the_nearest_of_eighteen_directions(direction):
    vector = np.array(direction)
    assume(np.linalg.norm(vector) > 0.01)
    cosine = {
        name: float(vector @ other) / np.linalg.norm(vector)
        for name, other in all_directions().items()
    }
    assert cosine[letters_of(vector)] == pytest.approx(max(cosine.values()), abs=1e-8)


@law
@given(st.tuples(*[st.floats(-1, 1)] * 3))
def test_the_nearest_letter_comes_first_and_the_other_edge_has_the_opposite(direction):
    vector = np.array(direction)
    assume(np.linalg.norm(vector) > 0.01)
    letters = letters_of(vector)
    along = [float(vector @ VECTORS[letter]) for letter in letters]
    assert min(along) > 0
    assert along == sorted(along, reverse=True) or np.ptp(along) < 1e-8
    assert letters_of(-vector) == letters.translate(str.maketrans("LRPAIS", "RLAPSI"))


@pytest.mark.parametrize(
    ("degrees", "right"), [(0, "L"), (22.4, "L"), (22.6, "LA"), (44, "LA"), (-22.6, "LP")]
)
def test_a_turned_head_has_a_second_letter_from_22_5_degrees_on(degrees, right):
    turn = Rotation.from_euler("z", -degrees, degrees=True).as_matrix()
    grid = Geometry.from_parts((4, 5, 6), (1, 2, 3), turn, (0, 0, 0))
    assert edge_letters(grid, "axial")[1] == right


@law
@given(
    geometries(min_side=2, max_side=5, max_angle_deg=180.0),
    st.sampled_from(list(SCREEN_AXES)),
    st.sampled_from(["radiological", "neurological"]),
)
def test_a_step_on_the_screen_is_a_step_to_the_letter_in_the_patient(geometry, plane, convention):
    """By brute force: which voxels lie at the edges of the view, and where in the patient."""
    native = np.stack(np.meshgrid(*map(np.arange, geometry.shape), indexing="ij"), axis=-1)
    world = geometry.index_to_world(native)
    shown = np.stack([to_display(world[..., n], geometry) for n in range(3)], axis=-1)
    across, down = SCREEN_AXES[plane]
    through = next(n for n in range(3) if n not in (across, down))
    view = np.moveaxis(shown, (through, down, across), (0, 1, 2))[0]  # (rows, columns, 3)
    if is_mirrored(plane, convention):
        view = view[:, ::-1]
    ends = {
        "left": view[0, 0] - view[0, -1], "right": view[0, -1] - view[0, 0],
        "top": view[0, 0] - view[-1, 0], "bottom": view[-1, 0] - view[0, 0],
    }  # fmt: skip
    assert view.shape[:2] == tuple(place(geometry).shape[n] for n in (down, across))
    for letters, step in zip(edge_letters(geometry, plane, convention), ends.values(), strict=True):
        along = step / np.linalg.norm(step)
        assert all(along @ VECTORS[letter] > 0.25 for letter in letters)
        cosine = max(along @ vector for vector in all_directions().values())
        assert along @ all_directions()[letters] == pytest.approx(cosine, abs=1e-6)
