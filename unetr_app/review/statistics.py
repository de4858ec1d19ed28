"""LabelStatistics: what the label table shows of one label, and how it follows an edit.

Each label is measured in the block of the grid that holds it. So an edit costs the labels that it
touches and no others, and what is brought up to date equals what is counted anew, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation.measurements import moments
from unetr_app.evaluation.surface import bounding_box
from unetr_app.geometry import Geometry, Shape, Triple
from unetr_app.labels import Colour, Label, LabelSet

Box = tuple[slice, slice, slice]
Image = NDArray[np.float32] | None


class Edited(Protocol):
    """What an edit says of itself: see `unetr_app.review.editing`."""

    @property
    def where(self) -> NDArray[np.int64]:
        """(N,) flat C-order indices into the labels."""
        ...

    @property
    def before(self) -> NDArray[Any]:
        """(N,) values before."""
        ...

    @property
    def after(self) -> NDArray[Any]:
        """(N,) values after."""
        ...


@dataclass(frozen=True)
class LabelStatistics:
    """What one label of a segmentation measures.

    Args:
        value: The label's integer.
        name: The label's name.
        colour: Red, green, blue, 0 to 255.
        voxels: Number of voxels.
        millilitres: Voxels times the volume of one.
        mean: Mean intensity within the label; None where empty or without an image.
        standard_deviation: Of that intensity, over all the label's voxels (divisor n); None
            likewise.
        components: Parts that do not touch each other by a face.
        centroid: Mean index (i, j, k) of the label's voxels; None where empty.
        centroid_mm: RAS+ mm of the same place; None where empty.
        box: The smallest block of the grid that holds the label; None where empty.
    """

    value: int
    name: str
    colour: Colour
    voxels: int = 0
    millilitres: float = 0.0
    mean: float | None = None
    standard_deviation: float | None = None
    components: int = 0
    centroid: Triple | None = None
    centroid_mm: Triple | None = None
    box: Box | None = None


def label_statistics(
    data: NDArray[Any], geometry: Geometry, labels: LabelSet, image: Image = None
) -> tuple[LabelStatistics, ...]:
    """Measure every label; those without voxels too.

    Args:
        data: (I, J, K) label map, or bool (L, I, J, K) masks, one for each of ``labels`` in order.
        geometry: The grid of both.
        labels: What the values mean; values that it does not name are passed over.
        image: (I, J, K) intensities on the same grid; None where there is no image.

    Returns:
        One row a label, in order of value.

    Raises:
        UnsafeGeometry: If data or image do not fit the grid.

    Example:
        >>> grid = Geometry((2, 2, 2), np.diag([1.0, 1.0, 2.5, 1.0]))
        >>> ones = np.ones((2, 2, 2), np.uint8)
        >>> label_statistics(ones, grid, LabelSet.from_names({1: "all"}))[0].millilitres
        0.02
    """
    _require_fit(data, geometry, len(labels), image)
    masks = _Masks(data, labels.values)
    boxes = masks.boxes()
    return tuple(
        _measured(label, masks, boxes.get(label.value), geometry, image) for label in labels
    )


def updated(
    statistics: Sequence[LabelStatistics], data: NDArray[Any], change: Edited, *,
    geometry: Geometry, image: Image = None,
) -> tuple[LabelStatistics, ...]:  # fmt: skip
    """The statistics after an edit: labels that it touches are measured again, others kept.

    Args:
        statistics: Of every label before the edit, in order of value.
        data: The labels after the edit, as for `label_statistics`.
        change: The edit, or the step that was undone or redone.
        geometry: The grid.
        image: As for `label_statistics`.

    Returns:
        What `label_statistics` would give for ``data``.

    Raises:
        UnsafeGeometry: If data or image do not fit the grid.
    """
    _require_fit(data, geometry, len(statistics), image)
    masks = _Masks(data, tuple(row.value for row in statistics))
    place = np.asarray(change.where) % int(np.prod(geometry.shape))
    touched = masks.touched(change)
    rows: list[LabelStatistics] = []
    for row in statistics:
        if row.value not in touched:
            rows.append(row)
            continue
        block = _around(row.box, place[masks.concerned(change, row.value)], geometry.shape)
        box = None if block is None else masks.box_within(row.value, block)
        label = Label(row.value, row.name, row.colour)
        rows.append(_measured(label, masks, box, geometry, image))
    return tuple(rows)


def jump_to(data: NDArray[Any], statistics: Sequence[LabelStatistics], value: int) -> Shape | None:
    """Where a viewer should go to see a label: one of its voxels, where its slices show most.

    Each slice shows a share of what the fullest slice along its axis shows. The voxel is the one
    whose three slices have the largest shares together: where the three fullest slices meet, if
    the label is there. Of several such voxels it is the one in their middle.

    Args:
        data: As for `label_statistics`.
        statistics: Of these data.
        value: The label.

    Returns:
        Index i, j, k; None where the label has no voxel.

    Raises:
        InvalidRequest: If there is no such label.

    Example:
        >>> grid = Geometry((3, 1, 1), np.eye(4))
        >>> data = np.array([0, 0, 4], np.uint8).reshape(3, 1, 1)
        >>> jump_to(data, label_statistics(data, grid, LabelSet.from_names({4: "tip"})), 4)
        (2, 0, 0)
    """
    row = next((row for row in statistics if row.value == value), None)
    if row is None:
        raise InvalidRequest(
            f"there is no label {value}",
            cure=f"Labels are: {', '.join(f'{r.value} {r.name}' for r in statistics)}.",
        )
    if row.box is None:
        return None
    mask = _Masks(data, tuple(r.value for r in statistics)).of(value, row.box)
    share = np.zeros((1, 1, 1), np.float32)
    for axis in range(3):
        count = np.count_nonzero(mask, axis=tuple(n for n in range(3) if n != axis))
        along = [-1 if n == axis else 1 for n in range(3)]
        share = share + (count / count.max()).astype(np.float32).reshape(along)
    share = np.where(mask, share, -1)
    best = np.argwhere(share >= share.max())  # (n, 3): several where the label is a box
    middle = best[np.argmin(np.square(best - best.mean(axis=0)).sum(axis=1))]
    i, j, k = (int(n) + side.start for n, side in zip(middle, row.box, strict=True))
    return i, j, k


class _Masks:
    """One mask a label, of a label map or of overlapping masks alike."""

    def __init__(self, data: NDArray[Any], values: tuple[int, ...]):
        self._data = data
        self._values = values
        self._overlap = data.ndim == 4

    def of(self, value: int, box: Box) -> NDArray[np.bool_]:
        if self._overlap:
            return self._data[self._values.index(value)][box]
        return self._data[box] == value

    def boxes(self) -> dict[int, Box]:
        if self._overlap:
            found = {v: bounding_box(self._data[n]) for n, v in enumerate(self._values)}
        else:
            found = dict(enumerate(ndimage.find_objects(self._data), start=1))
        return {value: box for value, box in found.items() if box is not None}

    def box_within(self, value: int, block: Box) -> Box | None:
        box = bounding_box(self.of(value, block))
        if box is None:
            return None
        i, j, k = (
            slice(outer.start + inner.start, outer.start + inner.stop)
            for outer, inner in zip(block, box, strict=True)
        )
        return i, j, k

    def touched(self, change: Edited) -> set[int]:
        if self._overlap:
            size = int(np.prod(self._data.shape[1:]))
            return {self._values[int(n)] for n in np.unique(np.asarray(change.where) // size)}
        both = np.unique(np.concatenate([np.unique(change.before), np.unique(change.after)]))
        return {int(value) for value in both}

    def concerned(self, change: Edited, value: int) -> NDArray[np.bool_]:
        """(N,): which of the edited voxels may hold the label now and did not before."""
        if not self._overlap:
            return (change.after == value) | (change.before == value)
        size = int(np.prod(self._data.shape[1:]))
        return np.asarray(change.where) // size == self._values.index(value)


def _around(box: Box | None, places: NDArray[np.int64], shape: Shape) -> Box | None:
    """The block that holds a box and flat indices; None where there is neither."""
    sides: list[slice] = []
    for axis, index in enumerate(np.unravel_index(places, shape)):
        bounds = [int(index.min()), int(index.max()) + 1] if index.size else []
        if box is not None:
            bounds += [box[axis].start, box[axis].stop]
        if not bounds:
            return None
        sides.append(slice(min(bounds), max(bounds)))
    return sides[0], sides[1], sides[2]


def _measured(
    label: Label, masks: _Masks, box: Box | None, geometry: Geometry, image: Image
) -> LabelStatistics:
    if box is None:
        return LabelStatistics(label.value, label.name, label.colour)
    mask = masks.of(label.value, box)
    found = moments(mask.view(np.uint8), None if image is None else image[box], 2)
    voxels = int(found.count[1])
    start = np.array([side.start for side in box])
    i, j, k = (float(c) for c in found.index[1] + start)
    x, y, z = (float(c) for c in geometry.index_to_world((i, j, k)))
    return LabelStatistics(
        value=label.value, name=label.name, colour=label.colour,
        voxels=voxels, millilitres=voxels * geometry.voxel_ml,
        mean=None if image is None else float(found.mean[1]),
        standard_deviation=None if image is None else float(found.deviation[1]),
        components=_components(mask), centroid=(i, j, k), centroid_mm=(x, y, z), box=box,
    )  # fmt: skip


def _components(mask: NDArray[np.bool_]) -> int:
    found: Any = ndimage.label(mask)
    return int(found[1])


def _require_fit(data: NDArray[Any], geometry: Geometry, labels: int, image: Image) -> None:
    expected = geometry.shape if data.ndim == 3 else (labels, *geometry.shape)
    if data.shape != expected:
        raise UnsafeGeometry(f"labels of shape {data.shape} do not fit {expected}")
    if image is not None and image.shape != geometry.shape:
        raise UnsafeGeometry(f"an image of shape {image.shape} does not fit {geometry.shape}")
