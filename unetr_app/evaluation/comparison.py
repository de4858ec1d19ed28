"""Comparison: a prediction held against a reference, label by label."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from scipy.ndimage import find_objects

from unetr_app.errors import UnsafeGeometry
from unetr_app.evaluation import surface
from unetr_app.evaluation.overlap import (
    Mask,
    dice,
    volume_difference_ml,
    volume_difference_percent,
)
from unetr_app.geometry import Geometry
from unetr_app.volume import Segmentation

Status = Literal["compared", "missed", "spurious", "absent"]
Box = tuple[slice, slice, slice]
GRID_TOLERANCE_MM = 1e-3
_ONE_VOXEL: Box = (slice(0, 1), slice(0, 1), slice(0, 1))


@dataclass(frozen=True)
class LabelComparison:
    """How one label of one case agrees with the reference; the terms are defined in `metrics`.

    Args:
        value: The label's integer.
        name: The label's name.
        status: ``"compared"``, or where the label is not in both: ``"missed"`` (in the reference
            alone), ``"spurious"`` (in the prediction alone), ``"absent"`` (in neither).
        prediction_ml: Predicted volume.
        reference_ml: The reference's volume.
        dice: 0 to 1; None where absent.
        hd95_mm: mm, the grid's diagonal where missed or spurious; None where absent.
        assd_mm: mm, likewise.
        surface_dice: 0 to 1; None where absent.
        volume_difference_ml: Predicted minus reference volume; None where absent.
        volume_difference_percent: Of the reference's volume; None where that is 0.
    """

    value: int
    name: str
    status: Status
    prediction_ml: float
    reference_ml: float
    dice: float | None = None
    hd95_mm: float | None = None
    assd_mm: float | None = None
    surface_dice: float | None = None
    volume_difference_ml: float | None = None
    volume_difference_percent: float | None = None


@dataclass(frozen=True)
class CaseComparison:
    """How one case agrees with its reference.

    Args:
        case_id: The case's id; nothing of a patient or a path.
        labels: One comparison a label, in order of value.
    """

    case_id: str
    labels: tuple[LabelComparison, ...]

    def mean(self, key: str) -> float | None:
        """Mean of a metric over the labels that have it; None where none has."""
        values = [v for v in (getattr(row, key) for row in self.labels) if v is not None]
        return float(np.mean(values)) if values else None

    @property
    def worst(self) -> tuple[float, float]:
        """Sorts the worst case first: by mean Dice, then by the largest HD95."""
        overlap = self.mean("dice")
        distances = [row.hd95_mm for row in self.labels if row.hd95_mm is not None]
        return (math.inf if overlap is None else overlap), -max(distances, default=0.0)


def compare(
    prediction: Segmentation,
    reference: Segmentation,
    *,
    tolerance_mm: float = 1.0,
) -> tuple[LabelComparison, ...]:
    """Hold a prediction against a reference, for each label that either of them names.

    Args:
        prediction: On the reference's grid; its axes may be stored in another order or direction.
        reference: What is taken as true; its names go before the prediction's.
        tolerance_mm: Tolerance of the surface Dice, mm.

    Returns:
        One comparison a label, in order of value.

    Raises:
        UnsafeGeometry: If the grids differ by more than a thousandth of a millimetre.
        InvalidRequest: If the tolerance is negative.
    """
    surface.require_tolerance(tolerance_mm)
    prediction = _on_the_grid_of(prediction, reference)
    known = {label.value: label.name for label in (*prediction.labels, *reference.labels)}
    boxes = _boxes(prediction, reference)
    grid = reference.geometry
    rows: list[LabelComparison] = []
    for value in sorted(known):
        box = boxes.get(value, _ONE_VOXEL)
        masks = _mask(prediction, value, box), _mask(reference, value, box)
        block = grid.cropped([s.start for s in box], masks[0].shape)
        row = _compare_masks(*masks, block, tolerance_mm)
        rows.append(_with_diagonal(LabelComparison(value, known[value], **row), grid))
    return tuple(rows)


def completed(cases: Sequence[CaseComparison]) -> list[CaseComparison]:
    """The same cases, each with a row for every label that any of them has; new rows are absent.

    A label map names only the values that it holds, so a label may be unknown to some cases.
    """
    names = {row.value: row.name for case in cases for row in case.labels}
    return [replace(case, labels=_completed(case.labels, names)) for case in cases]


def _completed(
    rows: tuple[LabelComparison, ...], names: Mapping[int, str]
) -> tuple[LabelComparison, ...]:
    there = {row.value: row for row in rows}
    return tuple(
        there.get(value, LabelComparison(value, names[value], "absent", 0.0, 0.0))
        for value in sorted(names)
    )


def _on_the_grid_of(prediction: Segmentation, reference: Segmentation) -> Segmentation:
    """The prediction with its axes as the reference's; refused where the grids differ."""
    turned = prediction
    if prediction.geometry.orientation != reference.geometry.orientation:
        turned = prediction.reorient(reference.geometry.orientation)
    if turned.geometry.is_close(reference.geometry, GRID_TOLERANCE_MM):
        return turned
    raise UnsafeGeometry(
        f"prediction and reference lie on different grids: {_grid(prediction.geometry)} and "
        f"{_grid(reference.geometry)}",
        cure="Resample the prediction onto the reference's grid, or find the reference of this "
        "very image.",
    )


def _grid(geometry: Geometry) -> str:
    spacing = " x ".join(f"{s:.4g}" for s in geometry.spacing)
    origin = ", ".join(f"{o:.4g}" for o in geometry.origin)
    shape = " x ".join(str(n) for n in geometry.shape)
    return f"{shape} voxels of {spacing} mm, {geometry.orientation}, from ({origin})"


def _boxes(first: Segmentation, second: Segmentation) -> dict[int, Box]:
    """For each value, the block of the grid that holds it in both; values nowhere are left out."""
    boxes: dict[int, Box] = {}
    for segmentation in (first, second):
        for value, box in _own_boxes(segmentation).items():
            boxes[value] = _union(boxes[value], box) if value in boxes else box
    return boxes


def _own_boxes(segmentation: Segmentation) -> dict[int, Box]:
    if segmentation.is_overlapping:
        found = {v: surface.bounding_box(segmentation.mask(v)) for v in segmentation.labels.values}
    else:
        found = dict(enumerate(find_objects(segmentation.label_map), start=1))
    return {value: box for value, box in found.items() if box is not None}


def _union(first: Box, second: Box) -> Box:
    i, j, k = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(first, second, strict=True)
    )
    return i, j, k


def _mask(segmentation: Segmentation, value: int, box: Box) -> Mask:
    if not segmentation.is_overlapping:
        return segmentation.label_map[box] == value
    if value in segmentation.labels.values:
        return segmentation.mask(value)[box]
    return np.zeros(segmentation.geometry.shape, dtype=bool)[box]


def _compare_masks(
    prediction: Mask, reference: Mask, geometry: Geometry, tolerance_mm: float
) -> dict[str, Any]:
    distances = surface.surface_distances(prediction, reference, geometry)
    volumes = [float(np.count_nonzero(m)) * geometry.voxel_ml for m in (prediction, reference)]
    row: dict[str, Any] = {
        "status": _status(*(v > 0 for v in volumes)),
        "prediction_ml": volumes[0],
        "reference_ml": volumes[1],
    }
    if row["status"] == "absent":
        return row
    return row | {
        "dice": dice(prediction, reference),
        "hd95_mm": surface.hd95(distances),
        "assd_mm": surface.average_surface_distance(distances),
        "surface_dice": surface.surface_dice(distances, tolerance_mm),
        "volume_difference_ml": volume_difference_ml(prediction, reference, geometry),
        "volume_difference_percent": volume_difference_percent(prediction, reference),
    }


def _status(predicted: bool, there: bool) -> Status:
    if predicted and there:
        return "compared"
    if predicted:
        return "spurious"
    return "missed" if there else "absent"


def _with_diagonal(row: LabelComparison, geometry: Geometry) -> LabelComparison:
    """Infinite distances replaced by the diagonal of the whole grid."""
    if row.status not in ("missed", "spurious"):
        return row
    diagonal = float(np.linalg.norm(geometry.affine[:3, :3] @ np.array(geometry.shape)))
    return replace(row, hd95_mm=diagonal, assd_mm=diagonal)
