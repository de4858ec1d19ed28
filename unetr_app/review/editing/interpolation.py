"""Interpolation: a label drawn in some slices, filled in between them.

Shape-based (Raya and Udupa 1990, doi:10.1109/42.52980): of both neighbours, the distance in mm to
the label's border within the slice, positive inside; between them it is linear in the slice's
position, and the label is where it is above zero. Shapes that do not lie over each other are not
joined.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import KDTree

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.editing.boxes import Box, Labels, Mask, box_of, change_in, require_axis
from unetr_app.review.editing.change import Change

_TIE_MM = 1e-6  # differences smaller than this are rounding
_SQUARE = 1e-6  # cosine of axes that are as good as at right angles


def interpolate(
    labels: Labels,
    geometry: Geometry,
    value: int,
    axis: int,
    *,
    keys: Sequence[int] | None = None,
    locked: Collection[int] = (),
) -> Change | None:
    """Fill the label in between slices along an axis; other labels give way nowhere.

    Args:
        labels: (I, J, K) label map, or a bool mask with value 1.
        geometry: Where its voxels lie.
        value: The label.
        axis: Array axis 0, 1 or 2 along which the slices lie.
        keys: Slices to go by, such as those edited by hand: they stay, and everything of the label
            between the first and the last is drawn anew. Where absent, slices that hold the label
            stay and only the gaps between them are filled.
        locked: Values that no voxel loses or gets.

    Raises:
        InvalidRequest: If there is no such axis or slice.
    """
    require_axis(axis)
    box = box_of(labels, value)
    if box is None:
        return None
    if keys is not None:
        box = _with_slices(box, keys, axis, geometry.shape[axis])
    mask = np.moveaxis(labels[box] == value, axis, 0)
    chosen = np.flatnonzero(mask.any(axis=(1, 2)))
    if keys is not None:
        chosen = np.array(sorted({int(key) - box[axis].start for key in keys}), dtype=np.int64)
    wanted = _drawn(mask, chosen, _plane(geometry, axis))
    wanted = np.moveaxis(wanted, 0, axis)
    view = labels[box]
    is_own = view == value
    lost = is_own & ~wanted
    gained = wanted & (view == 0)
    after = np.where(gained, np.asarray(value).astype(labels.dtype), np.zeros((), labels.dtype))
    return change_in(box, labels, "interpolate", gained | lost, after, locked)


def _with_slices(box: Box, keys: Sequence[int], axis: int, length: int) -> Box:
    """The box, so long that it holds the key slices."""
    if any(not 0 <= key < length for key in keys):
        raise InvalidRequest(
            f"slices {sorted(keys)} are not all on the grid",
            cure=f"Along this axis there are slices 0 to {length - 1}.",
        )
    sides = list(box)
    old = sides[axis]
    sides[axis] = slice(min([old.start, *keys]), max([old.stop, *(key + 1 for key in keys)]))
    return sides[0], sides[1], sides[2]


def _drawn(mask: Mask, keys: NDArray[np.int64], plane: NDArray[np.float64]) -> Mask:
    """(S, A, B) the mask, drawn anew between each two neighbouring key slices."""
    wanted = mask.copy()
    gaps = [(a, b) for a, b in pairwise(keys.tolist()) if b > a + 1]
    held: tuple[int, NDArray[np.float64]] | None = None
    for a, b in gaps:
        low = held[1] if held and held[0] == a else _signed_mm(mask[a], plane)
        high = _signed_mm(mask[b], plane)
        held = int(b), high
        for between in range(a + 1, b):
            share = (between - a) / (b - a)
            wanted[between] = (1 - share) * low + share * high > _TIE_MM
    return wanted


def _plane(geometry: Geometry, axis: int) -> NDArray[np.float64]:
    """(2, 3) steps in mm along the two axes of a slice."""
    return np.delete(geometry.affine[:3, :3], axis, axis=1).T


def _signed_mm(mask: Mask, plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """(A, B) mm to the nearest voxel of the other side; positive inside the mask.

    Beyond the array is outside, so that a mask that fills it has a border. Without a mask, minus
    infinity.
    """
    if not mask.any():
        return np.full(mask.shape, -np.inf)
    padded = np.pad(mask, 1)
    lengths = np.linalg.norm(plane, axis=1)
    if abs(plane[0] @ plane[1]) <= _SQUARE * lengths[0] * lengths[1]:
        inner = np.asarray(distance_transform_edt(padded, sampling=lengths))
        outer = np.asarray(distance_transform_edt(~padded, sampling=lengths))
        signed = inner - outer
    else:
        signed = np.empty(padded.shape)
        here, there = np.argwhere(padded) @ plane, np.argwhere(~padded) @ plane
        signed[padded] = KDTree(there).query(here)[0]
        signed[~padded] = -KDTree(here).query(there)[0]
    return signed[1:-1, 1:-1]
