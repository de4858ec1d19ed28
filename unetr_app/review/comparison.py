"""Comparison: two segmentations of one case side by side, in numbers and as a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import InvalidRequest, UnsafeGeometry
from unetr_app.evaluation import LabelComparison, compare
from unetr_app.resample import resample_labels
from unetr_app.volume import Segmentation

AGREE, ONLY_FIRST, ONLY_SECOND, OTHER_LABEL = range(4)
DIFFERENCES = {
    ONLY_FIRST: "only in the first",
    ONLY_SECOND: "only in the second",
    OTHER_LABEL: "in both, with different labels",
}
# Of the palette of Okabe and Ito, which people who see few colours tell apart too.
DIFFERENCE_COLOURS = {
    ONLY_FIRST: (230, 159, 0),
    ONLY_SECOND: (86, 180, 233),
    OTHER_LABEL: (204, 121, 167),
}
_SAME_GRID_MM = 1e-3


@dataclass(frozen=True, eq=False)
class Aligned:
    """A segmentation on the grid of another one.

    Args:
        segmentation: On that grid.
        warnings: What was done to it that changes numbers; none where voxels were only reordered.
    """

    segmentation: Segmentation
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """How one label of two segmentations agrees.

    Args:
        value: The label's integer.
        name: The label's name.
        first_ml: Volume in the first.
        second_ml: Volume in the second.
        dice: 0 to 1; None where neither has the label.
        hd95_mm: Hausdorff distance, 95th percentile; None where not both have the label.
        difference_ml: Second minus first volume.
        difference_percent: Of the first volume; None where that is 0.
    """

    value: int
    name: str
    first_ml: float
    second_ml: float
    dice: float | None
    hd95_mm: float | None
    difference_ml: float
    difference_percent: float | None


def aligned(first: Segmentation, second: Segmentation) -> Aligned:
    """The second segmentation on the first one's grid.

    Axes in another order or direction are brought to the first one's, which changes nothing. From
    another grid each voxel takes the label of the nearest one, and a warning says so.

    Args:
        first: Sets the grid.
        second: Of the same patient, anywhere.

    Raises:
        UnsafeGeometry: If the grids have no place in common.
    """
    here = first.geometry
    turned = second
    if second.geometry.orientation != here.orientation:
        turned = second.reorient(here.orientation)
    if turned.geometry.is_close(here, _SAME_GRID_MM):
        return Aligned(_placed(turned, first))
    if not _meet(first, second):
        raise UnsafeGeometry(
            "the two segmentations lie nowhere in one place",
            cure="Compare two segmentations of the same image.",
        )
    return Aligned(
        resample_labels(second, here),
        (
            "the second segmentation lies on another grid: its labels were put onto the first "
            "one's by the nearest voxel, so small differences mean little",
        ),
    )


def compare_segmentations(first: Segmentation, second: Segmentation) -> tuple[Row, ...]:
    """How two segmentations agree, for each label that either of them names.

    Args:
        first: What volumes are compared with; its names go before the second's.
        second: On any grid, see `aligned`, whose warnings belong beside the rows.

    Returns:
        One row a label, in order of value.

    Raises:
        UnsafeGeometry: If the grids have no place in common.
    """
    second = aligned(first, second).segmentation
    return tuple(_row(row) for row in compare(second, first))


def difference_map(
    first: Segmentation, second: Segmentation, value: int | None = None
) -> NDArray[np.uint8]:
    """Where two segmentations differ.

    Args:
        first: Sets the grid.
        second: On any grid, see `aligned`.
        value: One label; None for all labels together.

    Returns:
        (I, J, K): 0 where they agree, 1 where only the first has a label, 2 where only the second
        has, 3 where both have but not the same.

    Raises:
        UnsafeGeometry: If the grids have no place in common.
        InvalidRequest: If neither has a label of that value.
    """
    second = aligned(first, second).segmentation
    if value is not None and not any(value in s.labels.values for s in (first, second)):
        raise InvalidRequest(f"neither segmentation has a label {value}")
    found = np.empty(first.geometry.shape, np.uint8)
    for i, plane in enumerate(found):  # plane by plane, so that what is compared stays in cache
        here, there, differs = _plane(first, second, value, i)
        plane[...] = here.view(np.uint8) * np.uint8(ONLY_FIRST)
        plane |= there.view(np.uint8) * np.uint8(ONLY_SECOND)
        plane *= differs.view(np.uint8)
    return found


def _placed(turned: Segmentation, first: Segmentation) -> Segmentation:
    """On the very geometry of the first, not one that is nearly it."""
    if turned.geometry == first.geometry:
        return turned
    return Segmentation(turned.data, first.geometry, turned.labels, turned.provenance)


def _meet(first: Segmentation, second: Segmentation) -> bool:
    """Does the box round one grid meet the box round the other, in RAS+ mm?"""
    ends: list[tuple[NDArray[Any], NDArray[Any]]] = []
    for geometry in (first.geometry, second.geometry):
        sides = [(-0.5, n - 0.5) for n in geometry.shape]
        corners = np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 3)
        world = geometry.index_to_world(corners)
        ends.append((world.min(axis=0), world.max(axis=0)))
    (low, high), (other_low, other_high) = ends
    return bool(np.all(low < other_high) and np.all(other_low < high))


def _row(found: LabelComparison) -> Row:
    both = found.status == "compared"
    return Row(
        found.value, found.name, found.reference_ml, found.prediction_ml, found.dice,
        found.hd95_mm if both else None,
        found.volume_difference_ml or 0.0,
        found.volume_difference_percent,
    )  # fmt: skip


def _plane(
    first: Segmentation, second: Segmentation, value: int | None, i: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """(J, K) at index i: where the first has a label, where the second, where they differ."""
    if value is not None:
        here, there = (_mask(s, value, i) for s in (first, second))
        return here, there, here != there
    if not (first.is_overlapping or second.is_overlapping):
        one, other = first.data[i], second.data[i]
        return one != 0, other != 0, one != other
    here, there, differs = np.zeros((3, *first.geometry.shape[1:]), dtype=bool)
    for each in {*first.labels.values, *second.labels.values}:
        one, other = (_mask(s, each, i) for s in (first, second))
        here |= one
        there |= other
        differs |= one != other
    return here, there, differs


def _mask(segmentation: Segmentation, value: int, i: int) -> NDArray[np.bool_]:
    if not segmentation.is_overlapping:
        return segmentation.data[i] == value
    if value not in segmentation.labels.values:
        return np.zeros(segmentation.geometry.shape[1:], dtype=bool)
    return segmentation.data[segmentation.labels.values.index(value), i]
