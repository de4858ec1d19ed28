"""GeometryReport: where the slices of a volume lie, in numbers; for JSON."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from unetr_app.io.dicom.index import SeriesVolume, has_uid
from unetr_app.io.dicom.stack import SAME_PLACE_MM, normal_of, tolerance_of


def report_of(volume: SeriesVolume) -> dict[str, Any]:
    """What was measured of a volume; files by their names alone.

    Returns:
        ``slices``, ``told_apart_by``, ``copies``, ``instance_numbers``; and where every slice has
        a place: ``median_gap_mm``, ``smallest_gap_mm``, ``largest_gap_mm``, ``tolerance_mm``,
        ``tilt_degrees``, ``uneven_gaps`` (those further from the median than the tolerance, with
        the files before and after, and how many slices would fit in) and ``same_place``.
    """
    slices = volume.stack.slices
    numbers = [s.instance for s in slices if s.instance is not None]
    report: dict[str, Any] = {
        "slices": len(slices),
        "grouped_by": "series UID" if has_uid(slices[0]) else "folder and geometry",
        "told_apart_by": volume.told_by or None,
        "copies": [{"file": name, "of": other} for name, other in volume.copies],
        "instance_numbers": [min(numbers), max(numbers)] if numbers else None,
    }
    first = slices[0]
    placed = all(s.position is not None and s.orientation is not None for s in slices)
    sane = placed and first.orientation is not None and np.linalg.norm(
        np.cross(first.orientation[:3], first.orientation[3:])) > 0.5  # fmt: skip
    return report | _gaps(volume) if sane and len(slices) > 1 else report


def _gaps(volume: SeriesVolume) -> dict[str, Any]:
    normal = normal_of(volume.stack.slices[0])
    along = [float(s.position @ normal) for s in volume.stack.slices if s.position is not None]
    order: list[int] = np.argsort(along, kind="stable").tolist()
    slices = [volume.stack.slices[n] for n in order]
    steps = np.diff([s.position for s in slices if s.position is not None], axis=0)  # (n - 1, 3)
    forward = steps @ normal
    median = float(np.sort(forward)[(len(forward) - 1) // 2])
    tolerance = tolerance_of(median)
    mean = steps.mean(axis=0)
    sideways = float(np.linalg.norm(mean - (mean @ normal) * normal))
    pairs = [(a.name, b.name) for a, b in pairwise(slices)]
    together = np.abs(steps).max(axis=1) < SAME_PLACE_MM
    return {
        "median_gap_mm": round(median, 6),
        "smallest_gap_mm": round(float(forward.min()), 6),
        "largest_gap_mm": round(float(forward.max()), 6),
        "tolerance_mm": round(tolerance, 6),
        "tilt_degrees": round(float(np.degrees(np.arctan2(sideways, mean @ normal))), 4),
        "uneven_gaps": [
            {
                "after": pairs[n][0],
                "before": pairs[n][1],
                "gap_mm": round(float(forward[n]), 6),
                "missing_slices": max(round(float(forward[n]) / median) - 1, 0) if median else 0,
            }
            for n in np.flatnonzero((np.abs(forward - median) > tolerance) & ~together)
        ],
        "same_place": [list(pairs[n]) for n in np.flatnonzero(together)],
    }
