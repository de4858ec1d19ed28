"""Hypothesis strategies for geometries: oblique, anisotropic, any axis order and direction."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from unetr_app.geometry import Geometry

ALL_ORIENTATIONS = [
    "".join(ends[n][s] for n, s in zip(order, signs, strict=True))
    for ends in [("LR", "PA", "IS")]
    for order in permutations(range(3))
    for signs in product((0, 1), repeat=3)
]


def _signed_permutation(codes: str) -> np.ndarray:
    matrix = np.zeros((3, 3))
    for axis, code in enumerate(codes):
        world = next(n for n, ends in enumerate(("LR", "PA", "IS")) if code in ends)
        matrix[world, axis] = 1.0 if code in "RAS" else -1.0
    return matrix


@st.composite
def geometries(
    draw: st.DrawFn,
    *,
    min_side: int = 1,
    max_side: int = 9,
    max_angle_deg: float = 30.0,
    spacing: tuple[float, float] = (0.3, 5.0),
) -> Geometry:
    """A grid with unequal spacing, in any orientation, turned up to ``max_angle_deg``."""
    shape = draw(st.tuples(*[st.integers(min_side, max_side)] * 3))
    steps = np.array(draw(st.tuples(*[st.floats(*spacing)] * 3)))
    angles = draw(st.tuples(*[st.floats(-max_angle_deg, max_angle_deg)] * 3))
    codes = draw(st.sampled_from(ALL_ORIENTATIONS))
    direction = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    direction = direction @ _signed_permutation(codes)
    origin = draw(st.tuples(*[st.floats(-200.0, 200.0)] * 3))
    return Geometry.from_parts(shape, steps, direction, origin)
