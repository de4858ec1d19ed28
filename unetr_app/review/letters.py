"""Letters: the anatomical directions at the edges of a view.

Arrays are shown in display order (see `unetr_app.review.display`), so rows and columns of the
three planes run as the patient does. On grids at an angle a letter alone would say too much: then
the edge has the second nearest letter too, as in clinical viewers (``"AR"`` is to the front and
somewhat to the right).

The rule: of the six directions of the patient and the twelve halfway between two of them, the
nearest one to the edge's own direction. So a second letter is there from 22.5 degrees on.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetr_app.geometry import Geometry
from unetr_app.review.display import display_axes

PlaneName = Literal["axial", "coronal", "sagittal"]
Convention = Literal["radiological", "neurological"]
Edges = tuple[str, str, str, str]

# Display axes (0 to the feet, 1 to the back, 2 to the left) that go right and down the screen.
SCREEN_AXES: dict[PlaneName, tuple[int, int]] = {
    "axial": (2, 1),
    "coronal": (2, 0),
    "sagittal": (1, 0),
}
_LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))  # towards negative and positive x, y, z
_SECOND = math.tan(math.radians(22.5))  # of the largest component: then halfway is as near
_ROUNDING = 1e-9


def edge_letters(
    geometry: Geometry, plane: PlaneName, convention: Convention = "radiological"
) -> Edges:
    """The letters at the left, right, upper and lower edge of a view.

    Args:
        geometry: The grid that is shown, in any orientation.
        plane: Which view.
        convention: Radiological has the patient's left on the right of the screen; neurological
            has axial and coronal views the other way round.

    Returns:
        One or two letters of R, L, A, P, S, I for each edge.

    Example:
        >>> edge_letters(Geometry((4, 5, 6), np.eye(4)), "axial")
        ('R', 'L', 'A', 'P')
        >>> edge_letters(Geometry((4, 5, 6), np.eye(4)), "coronal", "neurological")
        ('L', 'R', 'S', 'I')
    """
    axes = display_axes(geometry)
    right, down = (axes[:, n] for n in SCREEN_AXES[plane])
    if is_mirrored(plane, convention):
        right = -right
    return letters_of(-right), letters_of(right), letters_of(-down), letters_of(down)


def is_mirrored(plane: PlaneName, convention: Convention) -> bool:
    """Are columns of a view shown the other way round (neurological axial and coronal views)?"""
    return convention == "neurological" and plane != "sagittal"


def letters_of(direction: NDArray[np.float64]) -> str:
    """The one or two letters of a direction.

    Args:
        direction: (3,) vector in RAS+, of any length but 0.

    Example:
        >>> letters_of(np.array([-1.0, 0.1, 0.0])), letters_of(np.array([0.5, 0.8, 0.0]))
        ('L', 'AR')
    """
    size = np.abs(direction)
    first, second = np.argsort(-np.round(size / size.max(), 9), kind="stable")[:2]
    letters = _LETTERS[first][int(direction[first] > 0)]
    if size[second] >= (_SECOND - _ROUNDING) * size[first]:
        letters += _LETTERS[second][int(direction[second] > 0)]
    return letters
