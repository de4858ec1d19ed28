"""Flag: one reason to look at a case twice, found by rules and never by a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unetr_app.geometry import Geometry
from unetr_app.review.expected import Bounds, ExpectedRanges
from unetr_app.review.sides import sided_pairs
from unetr_app.review.statistics import LabelStatistics

_SIDES = {"L": "left", "R": "right", "P": "back", "A": "front", "I": "lower", "S": "upper"}
_OPPOSITE = dict(zip("LRPAIS", "RLAPSI", strict=True))
_USUAL_PARTS = 1


@dataclass(frozen=True)
class Flag:
    """One reason to look twice.

    Args:
        word: Short, for a column: ``"empty"``, ``"border"``, ``"parts"``, ``"sides"``,
            ``"volume"`` or ``"intensity"``.
        sentence: What was found and what was expected; nothing of a patient.
        value: The label concerned; of two swapped ones the left.
    """

    word: str
    sentence: str
    value: int


def quality_flags(
    statistics: Sequence[LabelStatistics], geometry: Geometry, *,
    expected: ExpectedRanges | None = None,
) -> tuple[Flag, ...]:  # fmt: skip
    """What speaks against a segmentation.

    Args:
        statistics: Of every label, see `unetr_app.review.statistics`.
        geometry: The grid that they were measured on.
        expected: What labels usually measure; without it one part is expected of each label.

    Returns:
        Flags in order of label, then swapped sides.
    """
    ranges = expected or ExpectedRanges()
    flags: list[Flag] = []
    for row in statistics:
        flags += _of_label(row, geometry, ranges)
        flags += range_flags([row], ranges)
    return (*flags, *_swapped(statistics))


def range_flags(statistics: Sequence[LabelStatistics], expected: ExpectedRanges) -> list[Flag]:
    """Which volumes and intensities are unusual, and nothing else.

    `quality_flags` says it of one set of ranges; this adds another one's, such as the worklist's
    beside the training's. Labels without voxels are left out.
    """
    flags: list[Flag] = []
    for row in (row for row in statistics if row.voxels):
        usual, where = expected.of(row.name), f"{row.name} {_where(expected)}"
        if text := _outside(row.millilitres, usual.millilitres, "ml"):
            flags.append(Flag("volume", f"{where}: {text}", row.value))
        if row.mean is not None and (text := _outside(row.mean, usual.mean, "mean intensity")):
            flags.append(Flag("intensity", f"{where}: {text}", row.value))
    return flags


def _of_label(row: LabelStatistics, geometry: Geometry, ranges: ExpectedRanges) -> Iterator[Flag]:
    if not row.voxels:
        yield Flag("empty", f"{row.name} has no voxels", row.value)
        return
    if sides := _borders(row, geometry):
        yield Flag("border", f"{row.name} touches the {_joined(sides)} of the image", row.value)
    usual = ranges.of(row.name)
    most = _USUAL_PARTS if usual.components is None else usual.components
    if row.components > most:
        yield Flag("parts", f"{row.name} has {row.components} parts; {most} expected", row.value)


def _borders(row: LabelStatistics, geometry: Geometry) -> list[str]:
    """Sides of the grid where the label may be cut off, in anatomical words.

    An axis of one voxel has no sides: a slice on its own would always be flagged.
    """
    assert row.box is not None
    sides: list[str] = []
    for axis, letter in enumerate(geometry.orientation):
        if geometry.shape[axis] == 1:
            continue
        if row.box[axis].start == 0:
            sides.append(_SIDES[_OPPOSITE[letter]])
        if row.box[axis].stop == geometry.shape[axis]:
            sides.append(_SIDES[letter])
    return [side for side in _SIDES.values() if side in sides]


def _joined(sides: Sequence[str]) -> str:
    *first, last = sides
    return f"{', '.join(first)} and {last} edges" if first else f"{last} edge"


def _outside(found: float, bounds: Bounds | None, unit: str) -> str:
    """What is said of a value outside its range; empty where it is inside."""
    if bounds is None or bounds[0] <= found <= bounds[1]:
        return ""
    return f"{_short(found)} {unit}; {_short(bounds[0])} to {_short(bounds[1])} expected"


def _where(ranges: ExpectedRanges) -> str:
    if ranges.source == "worklist":
        return "differs from the other cases"
    return "is outside the training range"


def _short(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _swapped(statistics: Sequence[LabelStatistics]) -> Iterator[Flag]:
    """Pairs whose left one lies further to the patient's right (RAS+: x grows to the right)."""
    rows = {row.name: row for row in statistics}
    for left, right in sided_pairs(row.name for row in statistics):
        here, there = rows[left].centroid_mm, rows[right].centroid_mm
        if here is not None and there is not None and here[0] > there[0]:
            yield Flag(
                "sides",
                f"{left} lies to the right of {right}: left and right may be swapped",
                rows[left].value,
            )
