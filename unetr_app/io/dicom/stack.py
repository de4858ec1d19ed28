"""Stack: slices of one orientation in order along their normal, judged as a grid.

Order and spacing come from the positions in the patient alone. Slice thickness, spacing between
slices, slice location and instance numbers are often wrong and decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnetrError, UnevenSlices, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.dicom.slice import Slice

SAME_PLACE_MM = 1e-3
STEEPEST = 1.0
"""Sideways part of a step over its forward part; beyond 45 degrees it is no gantry tilt."""

_TILT = 1e-3  # sideways part of a step, as a share of it, from which a stack counts as tilted
_NEVER_GUESSED = "Positions are never guessed; look for the missing files or export again."


class Kind(StrEnum):
    """What a group of slices is; values are the words shown to people."""

    REGULAR = "regular"
    TILT = "tilt"
    GAPS = "gaps"
    VARIABLE = "variable"
    DUPLICATES = "duplicates"
    PHASES = "phases"
    SINGLE = "single"
    ENHANCED = "enhanced"
    MOSAIC = "mosaic"
    LOCALIZER = "localizer"
    NOT_A_VOLUME = "not-a-volume"
    MIXED_PATIENTS = "mixed-patients"


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in order, and what they make.

    Args:
        kind: Regular and tilted stacks have a geometry, the others a problem.
        slices: In order along the normal.
        geometry: (columns, rows, slices) grid; None where there is a problem.
        problem: Why the slices make no grid.
    """

    kind: Kind
    slices: tuple[Slice, ...]
    geometry: Geometry | None = None
    problem: UnetrError | None = None


def arrange(slices: Sequence[Slice]) -> Stack:
    """Order slices of equal orientation, matrix and pixel spacing, and judge their distances.

    Gaps must lie within 1 % (at least 0.01 mm) of their median, and every slice as close to its
    place on the grid.

    Args:
        slices: At least one; none may lack position, orientation or spacing.
    """
    normal = normal_of(slices[0])
    ordered = tuple(sorted(slices, key=lambda s: (_position(s) @ normal, s.path, s.frame)))
    if len(ordered) < 2:
        return _bad(Kind.SINGLE, ordered, f"{slices[0].name}: a single slice is no volume",
                    "Give the whole series; all its files together.")  # fmt: skip
    steps = np.diff(np.stack([_position(s) for s in ordered]), axis=0)  # (n - 1, 3)
    forward = steps @ normal
    sideways = steps - forward[:, None] * normal
    together = np.flatnonzero(forward < SAME_PLACE_MM)
    if len(together):
        return _same_place(ordered, int(together[0]), sideways)
    typical = float(np.sort(forward)[(len(forward) - 1) // 2])
    tolerance = tolerance_of(typical)
    if np.abs(forward - typical).max() > tolerance:
        return _uneven(ordered, forward, typical)
    step = steps.mean(axis=0)
    places = _position(ordered[0]) + np.arange(len(ordered))[:, None] * step
    off = np.linalg.norm(np.stack([_position(s) for s in ordered]) - places, axis=1)
    if off.max() > tolerance:
        worst = int(off.argmax())
        return _irregular(
            Kind.VARIABLE, ordered,
            f"the slices do not lie on one grid: {ordered[worst].name} is {off[worst]:.3g} mm "
            "off its place",
        )  # fmt: skip
    return _grid(ordered, step, normal)


def tolerance_of(gap_mm: float) -> float:
    """How far a gap may be from the usual one, in mm: 1 %, and 0.01 mm at least."""
    return max(0.01, 0.01 * gap_mm)


def normal_of(slice_: Slice) -> NDArray[np.float64]:
    """(3,) unit normal of the slice plane, LPS+."""
    assert slice_.orientation is not None
    normal = np.cross(slice_.orientation[:3], slice_.orientation[3:])
    return normal / np.linalg.norm(normal)


def _position(slice_: Slice) -> NDArray[np.float64]:
    assert slice_.position is not None
    return slice_.position


def _grid(
    ordered: tuple[Slice, ...], step: NDArray[np.float64], normal: NDArray[np.float64]
) -> Stack:
    first = ordered[0]
    forward = float(step @ normal)
    sideways = float(np.linalg.norm(step - forward * normal))
    if sideways > STEEPEST * forward:
        return _bad(
            Kind.NOT_A_VOLUME, ordered,
            f"each slice lies {sideways:.3g} mm sideways of the one before and only "
            f"{forward:.3g} mm further", _NEVER_GUESSED,
        )  # fmt: skip
    geometry = grid_of(first, len(ordered), step, _position(first))
    kind = Kind.TILT if sideways > _TILT * forward else Kind.REGULAR
    return Stack(kind, ordered, geometry)


def grid_of(
    slice_: Slice, count: int, step: NDArray[np.float64], origin: NDArray[np.float64]
) -> Geometry:
    """The grid of slices at even distances (DICOM PS3.3 C.7.6.2.1.1).

    Args:
        slice_: Any of them.
        count: How many there are.
        step: (3,) LPS+ mm from each to the next.
        origin: (3,) LPS+ mm of the first one's first pixel.
    """
    assert slice_.orientation is not None
    assert slice_.spacing is not None
    affine = np.eye(4)
    affine[:3, 0] = slice_.orientation[:3] * slice_.spacing[1]  # along a row: column index grows
    affine[:3, 1] = slice_.orientation[3:] * slice_.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = origin
    return Geometry.from_lps((slice_.columns, slice_.rows, count), affine)


def _same_place(ordered: tuple[Slice, ...], n: int, sideways: NDArray[np.float64]) -> Stack:
    pair = f"{ordered[n].name} and {ordered[n + 1].name}"
    if np.linalg.norm(sideways[n]) > SAME_PLACE_MM:
        return _bad(Kind.NOT_A_VOLUME, ordered,
                    f"{pair} lie beside each other in one plane", _NEVER_GUESSED)  # fmt: skip
    return _bad(
        Kind.DUPLICATES, ordered,
        f"{pair} lie at the same place but hold other pixels",
        "Keep the files of one acquisition or time point in a folder of their own.",
    )  # fmt: skip


def usual_distance(forward: NDArray[np.float64]) -> tuple[float, int]:
    """The distance between neighbours that is right, and how many slices are missing by it.

    Where all distances are whole multiples of the median, or else of the smallest, that one and
    what is missing between; elsewhere the lower median, and 0.

    Args:
        forward: (n - 1,) mm along the normal from each slice to the next.
    """
    typical = float(np.sort(forward)[(len(forward) - 1) // 2])
    tolerance = max(0.01, 0.01 * typical)
    for unit in (typical, float(forward.min())):
        times = np.rint(forward / unit)
        if times.min() >= 1 and (np.abs(forward - times * unit) <= tolerance * times).all():
            return unit, int(times.sum()) - len(times)
    return typical, 0


def off_the_line(slices: Sequence[Slice]) -> float:
    """How far from the straight line through all first pixels the worst lies, mm sideways.

    Args:
        slices: In order; a tilted gantry's lie on a line too.
    """
    places = np.stack([_position(s) for s in slices])
    direction, start = line_through(slices)
    along = (places - start) @ normal_of(slices[0])
    return float(np.linalg.norm(places - start - along[:, None] * direction, axis=1).max())


def line_through(slices: Sequence[Slice]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Step along the line of first pixels for each mm along the normal, and its start; LPS+ mm.

    Args:
        slices: In order, at places that differ.
    """
    places = np.stack([_position(s) for s in slices])
    normal = normal_of(slices[0])
    along = (places - places[0]) @ normal
    sideways = places - places[0] - along[:, None] * normal
    away = along - along.mean()
    slope = away @ sideways / (away @ away)  # least squares
    return normal + slope, places[0] + sideways.mean(axis=0) - along.mean() * slope


def _uneven(ordered: tuple[Slice, ...], forward: NDArray[np.float64], typical: float) -> Stack:
    unit, missing = usual_distance(forward)
    if missing:
        n = int(forward.argmax())
        return _irregular(
            Kind.GAPS, ordered,
            f"{missing} {'slice is' if missing == 1 else 'slices are'} missing: the gap from "
            f"{ordered[n].name} to {ordered[n + 1].name} is {forward[n]:.4g} mm where "
            f"{unit:.4g} mm is usual",
        )  # fmt: skip
    n = int(np.abs(forward - typical).argmax())
    return _irregular(
        Kind.VARIABLE, ordered,
        f"the distance between slices varies from {forward.min():.4g} to {forward.max():.4g} mm; "
        f"from {ordered[n].name} to {ordered[n + 1].name} it is {forward[n]:.4g} mm",
    )  # fmt: skip


def _irregular(kind: Kind, ordered: tuple[Slice, ...], what: str) -> Stack:
    """Distances that differ; they can be made even if the slices lie in line."""
    first = ordered[0]
    assert first.spacing is not None
    if off_the_line(ordered) > 0.5 * first.spacing.min():
        return _bad(kind, ordered, what, _NEVER_GUESSED)
    cure = f"{_NEVER_GUESSED} Or have the slices resampled at even distances: --regularise."
    return Stack(kind, ordered, problem=UnevenSlices(what, cure=cure))


def _bad(kind: Kind, ordered: tuple[Slice, ...], what: str, cure: str) -> Stack:
    return Stack(kind, ordered, problem=UnsafeGeometry(what, cure=cure))
