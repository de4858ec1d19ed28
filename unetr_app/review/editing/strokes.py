"""Strokes: what was painted on the screen, as a Change of the array behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest
from unetr_app.geometry import Geometry
from unetr_app.review.display import DISPLAY_CODES
from unetr_app.review.editing.change import Change

Indices = NDArray[Any] | Sequence[NDArray[Any]]
_FEW = 100_000  # up to here, sorting beats writing into an array as wide as the stroke


def display_to_source(
    indices: Sequence[NDArray[Any]], geometry: Geometry
) -> tuple[NDArray[np.int64], ...]:
    """Indices in display order brought to the source grid; exact.

    Args:
        indices: Three arrays of one shape: indices along the display axes, none negative.
        geometry: The source grid.

    Returns:
        Three arrays: indices along i, j, k.

    Example:
        >>> grid = Geometry((4, 5, 6), np.diag([1.0, 1.0, 3.0, 1.0]))
        >>> shown = [np.array([0]), np.array([0]), np.array([0])]
        >>> [int(n[0]) for n in display_to_source(shown, grid)]
        [3, 4, 5]
    """
    order, flips = geometry.reorientation(DISPLAY_CODES)
    source: list[NDArray[np.int64]] = [np.empty(0, np.int64)] * 3
    for shown, axis in enumerate(order):
        index = np.asarray(indices[shown], dtype=np.int64)
        source[axis] = geometry.shape[axis] - 1 - index if shown in flips else index
    return tuple(source)


def stroke(
    data: NDArray[Any],
    pieces: Sequence[tuple[Indices, Any]],
    name: str,
    *,
    row: int | None = None,
) -> Change | None:
    """What was painted into ``data``, as one change.

    Args:
        data: The array as it is now, painted: an (I, J, K) label map or (L, I, J, K) masks;
            C-contiguous. Masks painted with a number other than 1 are made true.
        pieces: In the order painted: places, and the values before, one for each or one for all.
            Places are flat indices into ``data`` or one index array an axis.
        name: Shown to the user.
        row: Of masks: the row that was painted; places are then within it.

    Returns:
        The change; where voxels were painted several times, from the first value to the last.
        None where nothing differs.

    Raises:
        InvalidRequest: If a place lies outside the array.
    """
    base = data if row is None else data[row]
    offset = 0 if row is None else row * base.size
    flat = data.reshape(-1)
    places = [_flat(indices, base.shape) + offset for indices, _ in pieces]
    if not sum(map(len, places)):
        return None
    olds = [
        np.broadcast_to(np.asarray(old).reshape(-1).astype(data.dtype), len(place))
        for place, (_, old) in zip(places, pieces, strict=True)
    ]
    where, before = _first_of_each(places, olds)
    if data.dtype == np.bool_:  # shown as int8, it may hold other numbers than 0 and 1
        flat[where] = flat.view(np.uint8)[where] != 0
    return Change.between(name, where, before, flat[where])


def _flat(indices: Indices, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """(N,) flat indices of places within an array of that shape."""
    size = int(np.prod(shape))
    if isinstance(indices, np.ndarray) and indices.ndim == 1:
        flat = indices.astype(np.int64)
        if len(flat) and not 0 <= flat.min() <= flat.max() < size:
            raise InvalidRequest("a stroke was painted outside the grid")
        return flat
    try:
        axes = np.broadcast_arrays(*(np.asarray(axis, dtype=np.int64) for axis in indices))
        return np.ravel_multi_index(axes, shape).reshape(-1).astype(np.int64)
    except ValueError as error:
        raise InvalidRequest("a stroke was painted outside the grid") from error


def _first_of_each(
    places: Sequence[NDArray[np.int64]], olds: Sequence[NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """Each place once, ascending, with the first of the values that it comes with."""
    if sum(map(len, places)) <= _FEW:
        where, first = np.unique(np.concatenate(places), return_index=True)
        return where, np.concatenate(olds)[first]
    begin = min(int(place.min()) for place in places if len(place))
    end = max(int(place.max()) for place in places if len(place)) + 1
    seen = np.zeros(end - begin, dtype=np.bool_)
    value = np.zeros(end - begin, dtype=olds[0].dtype)
    for place, old in zip(reversed(places), reversed(olds), strict=True):
        seen[place - begin] = True
        value[place - begin] = old
    found = np.flatnonzero(seen)
    return found.astype(np.int64) + begin, value[found]
