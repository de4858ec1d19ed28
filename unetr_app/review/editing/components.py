"""Components: the pieces of a label that hang together, the largest kept or small ones removed.

Voxels hang together that touch by a face.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.editing.boxes import Labels, box_of, change_in
from unetr_app.review.editing.change import Change

_SAME_SIZE = 1e-9  # of a voxel count computed from millilitres


def largest_component(labels: Labels, value: int, *, locked: Collection[int] = ()) -> Change | None:
    """Only the label's largest component stays; of several equally large ones, all stay.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        value: The label.
        locked: Values that no voxel loses or gets.
    """
    return _without(labels, value, "largest component", np.inf, locked)


def remove_islands(
    labels: Labels,
    geometry: Geometry,
    value: int,
    below_ml: float,
    *,
    locked: Collection[int] = (),
) -> Change | None:
    """Components of the label smaller than ``below_ml`` become background.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        geometry: Where its voxels lie.
        value: The label.
        below_ml: Millilitres, above 0; where all components are smaller, all go.
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If ``below_ml`` is not above 0.
    """
    if not (np.isfinite(below_ml) and below_ml > 0):
        raise InvalidRequest(
            f"{below_ml:g} ml is no size of an island", cure="Give a number above 0."
        )
    voxels = below_ml / geometry.voxel_ml
    return _without(labels, value, f"remove islands below {below_ml:g} ml", voxels, locked)


def _without(
    labels: Labels, value: int, name: str, voxels: float, locked: Collection[int]
) -> Change | None:
    """Remove components of fewer voxels than that; where infinite, than the largest has."""
    box = box_of(labels, value)
    if box is None:
        return None
    numbered: NDArray[np.int32]
    numbered, _ = _numbered(labels[box] == value)
    sizes = np.bincount(numbered.reshape(-1))
    sizes[0] = 0
    fewest = sizes.max() if np.isinf(voxels) else voxels * (1 - _SAME_SIZE)
    goes = sizes < fewest
    goes[0] = False
    if not goes.any():
        return None
    return change_in(box, labels, name, goes[numbered], 0, locked)


def _numbered(mask: NDArray[np.bool_]) -> Any:
    return ndimage.label(mask)
