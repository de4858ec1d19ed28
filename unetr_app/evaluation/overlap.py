"""Overlap: what two masks of one grid share, counted in voxels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnsafeGeometry
from unetr_app.geometry import Geometry

Mask = NDArray[np.bool_]


def require_same_shape(prediction: Mask, reference: Mask) -> None:
    """Refuse two masks that are not of one grid.

    Raises:
        UnsafeGeometry: If the shapes differ.
    """
    if prediction.shape != reference.shape:
        raise UnsafeGeometry(
            f"the prediction has shape {prediction.shape}, the reference {reference.shape}; "
            "only masks of one grid can be compared"
        )


def dice(prediction: Mask, reference: Mask) -> float:
    """Dice coefficient: twice the shared voxels over the sum of both, 0 to 1.

    Both empty is agreement, 1.0, as in Metrics Reloaded (doi:10.1038/s41592-023-02151-z) and BraTS;
    `summarise` leaves such cases out of its means, as nothing was there to find.

    Args:
        prediction: (I, J, K) mask.
        reference: (I, J, K) mask.

    Raises:
        UnsafeGeometry: If the shapes differ.

    Example:
        >>> dice(np.array([True, True, False]), np.array([True, False, False]))
        0.6666666666666666
    """
    require_same_shape(prediction, reference)
    both = int(np.count_nonzero(prediction)) + int(np.count_nonzero(reference))
    return 2.0 * int(np.count_nonzero(prediction & reference)) / both if both else 1.0


def volume_difference_ml(prediction: Mask, reference: Mask, geometry: Geometry) -> float:
    """Volume of the prediction minus that of the reference, in millilitres.

    Args:
        prediction: (I, J, K) mask on ``geometry``.
        reference: (I, J, K) mask on ``geometry``.
        geometry: The grid of both.

    Raises:
        UnsafeGeometry: If the shapes differ.
    """
    require_same_shape(prediction, reference)
    more = int(np.count_nonzero(prediction)) - int(np.count_nonzero(reference))
    return more * geometry.voxel_ml


def volume_difference_percent(prediction: Mask, reference: Mask) -> float | None:
    """Volume of the prediction minus that of the reference, in percent of the reference.

    Args:
        prediction: (I, J, K) mask.
        reference: (I, J, K) mask.

    Returns:
        Percent, -100 or more; None where the reference is empty.

    Raises:
        UnsafeGeometry: If the shapes differ.
    """
    require_same_shape(prediction, reference)
    there = int(np.count_nonzero(reference))
    return 100.0 * (int(np.count_nonzero(prediction)) - there) / there if there else None
