"""Stack: slices of one orientation in order along their normal, judged as a grid.

Order and spacing come from the positions in the patient alone. Slice thickness, spacing between
slices, slice location and instance numbers are often wrong and decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetr_app.errors import UnetrError, UnsafeGeometry
from unetr_app.geometry import Geometry
from unetr_app.io.dicom.slice import Slice

SAME_PLACE_MM = 1e-3
_TILT = 1e-3  # sideways part of a step, as a share of it, from which a stack counts as tilted
_STEEPEST = 1.0  # sideways part over forward part; beyond 45 degrees it is no gantry tilt
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
    ordered = tuple(sorted(slices, key=lambda s: (_position(s) @ normal, s.path)))
    if len(ordered) < 2:
        return _bad(Kind.SINGLE, ordered, f"{_name(slices[0])}: a single slice is no volume",
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
        return _uneven(ordered, forward, typical, tolerance)
    step = steps.mean(axis=0)
    places = _position(ordered[0]) + np.arange(len(ordered))[:, None] * step
    off = np.linalg.norm(np.stack([_position(s) for s in ordered]) - places, axis=1)
    if off.max() > tolerance:
        worst = int(off.argmax())
        return _bad(
            Kind.VARIABLE, ordered,
            f"the slices do not lie on one grid: {_name(ordered[worst])} is {off[worst]:.3g} mm "
            "off its place", _NEVER_GUESSED,
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
    assert first.orientation is not None
    assert first.spacing is not None
    forward = float(step @ normal)
    sideways = float(np.linalg.norm(step - forward * normal))
    if sideways > _STEEPEST * forward:
        return _bad(
            Kind.NOT_A_VOLUME, ordered,
            f"each slice lies {sideways:.3g} mm sideways of the one before and only "
            f"{forward:.3g} mm further", _NEVER_GUESSED,
        )  # fmt: skip
    affine = np.eye(4)
    affine[:3, 0] = first.orientation[:3] * first.spacing[1]  # along a row: column index grows
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = _position(first)
    geometry = Geometry.from_lps((first.columns, first.rows, len(ordered)), affine)
    kind = Kind.TILT if sideways > _TILT * forward else Kind.REGULAR
    return Stack(kind, ordered, geometry)


def _same_place(ordered: tuple[Slice, ...], n: int, sideways: NDArray[np.float64]) -> Stack:
    pair = f"{_name(ordered[n])} and {_name(ordered[n + 1])}"
    if np.linalg.norm(sideways[n]) > SAME_PLACE_MM:
        return _bad(Kind.NOT_A_VOLUME, ordered,
                    f"{pair} lie beside each other in one plane", _NEVER_GUESSED)  # fmt: skip
    return _bad(
        Kind.DUPLICATES, ordered,
        f"{pair} lie at the same place but hold other pixels",
        "Keep the files of one acquisition or time point in a folder of their own.",
    )  # fmt: skip


def _uneven(
    ordered: tuple[Slice, ...], forward: NDArray[np.float64], typical: float, tolerance: float
) -> Stack:
    for unit in (typical, float(forward.min())):
        times = np.rint(forward / unit)
        if times.min() >= 1 and (np.abs(forward - times * unit) <= tolerance * times).all():
            n = int(times.argmax())
            missing = int(times.sum()) - len(times)
            return _bad(
                Kind.GAPS, ordered,
                f"{missing} {'slice is' if missing == 1 else 'slices are'} missing: the gap from "
                f"{_name(ordered[n])} to {_name(ordered[n + 1])} is {forward[n]:.4g} mm where "
                f"{unit:.4g} mm is usual", _NEVER_GUESSED,
            )  # fmt: skip
    n = int(np.abs(forward - typical).argmax())
    return _bad(
        Kind.VARIABLE, ordered,
        f"the distance between slices varies from {forward.min():.4g} to {forward.max():.4g} mm; "
        f"from {_name(ordered[n])} to {_name(ordered[n + 1])} it is {forward[n]:.4g} mm",
        _NEVER_GUESSED,
    )  # fmt: skip


def _bad(kind: Kind, ordered: tuple[Slice, ...], what: str, cure: str) -> Stack:
    return Stack(kind, ordered, problem=UnsafeGeometry(what, cure=cure))


def _name(slice_: Slice) -> str:
    return Path(slice_.path).name
