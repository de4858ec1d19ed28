"""SeriesVolume: the slices of a set of DICOM files that make one volume, told by headers alone.

A volume is found whole or refused, never in part. Slices of one series that differ in what a grid
must share (orientation, matrix, spacing, image type, echo and so on) are told apart only where each
part is a whole of its own: another orientation, or another value at exactly the same places.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.io.dicom.copies import without_copied_files, without_copies
from unetr_app.io.dicom.enhanced import Group, frames_of, tell_apart
from unetr_app.io.dicom.pixel_file import missing_decoder
from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import SAME_PLACE_MM, Kind, Stack, arrange, normal_of

_PARALLEL = float(np.cos(np.deg2rad(1.0)))
_ACROSS = float(np.cos(np.deg2rad(45.0)))
_ORIENTATION_TOLERANCE = 1e-4
_SPACING_TOLERANCE_MM = 1e-4
_SORT_CURE = "Export the series again, or sort the files so that one volume is in one folder."

# What slices of one volume share exactly, in the words of a message.
_SHARED: tuple[tuple[str, Callable[[Slice], object]], ...] = (
    ("study", lambda s: s.study_uid),
    ("frame of reference", lambda s: s.frame_uid),
    ("matrix size", lambda s: (s.rows, s.columns)),
    ("image type", lambda s: s.image_type),
    ("echo or time point", lambda s: s.echo),
)


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """Slices that make one volume, or that should but do not.

    Args:
        stack: The slices in order, their grid or their problem.
        key: Tells this volume from others of the same series; empty where there are none.
        warnings: What was left out, and what else the user should know.
    """

    stack: Stack
    key: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Index:
    """What a set of DICOM files holds.

    Args:
        volumes: In an order that does not depend on that of the files.
        aside: Files that are DICOM but no part of a volume: localizers, reports, segmentations.
    """

    volumes: tuple[SeriesVolume, ...]
    aside: tuple[Slice, ...]


def index_slices(slices: Iterable[Slice]) -> Index:
    """Find the volumes among slices of any number of patients, studies and series."""
    series: dict[tuple[str, int, bool], list[Slice]] = defaultdict(list)
    aside: list[Slice] = []
    for slice_ in sorted(slices, key=lambda s: s.path):
        if slice_.aside:
            aside.append(slice_)
        number = -1 if slice_.series_number is None else slice_.series_number
        several = slice_.is_enhanced and not slice_.aside
        series[slice_.series_uid or _folder(slice_), number, several].append(slice_)
    volumes: list[SeriesVolume] = []
    for key in sorted(series):
        kept = [s for s in series[key] if not s.aside]
        if kept:
            found, scouts = _volumes_of(kept)
            aside += scouts
            notes = _notes(series[key], kept, scouts)
            volumes += [SeriesVolume(_checked(v.stack), v.key, v.warnings + notes) for v in found]
    return Index(tuple(volumes), tuple(sorted(aside, key=lambda s: s.path)))


def _notes(
    series: Sequence[Slice], kept: Sequence[Slice], scouts: Sequence[Slice]
) -> tuple[str, ...]:
    notes: list[str] = []
    apart = len(series) - len(kept) + len(scouts)
    if apart:
        notes.append(
            f"{apart} {_files(apart)} of the series left out: no part of a volume "
            "(localizers and such)"
        )
    if not kept[0].series_uid:
        notes.append("the series has no UID: its files were grouped by folder and geometry")
    return tuple(notes)


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _volumes_of(kept: list[Slice]) -> tuple[list[SeriesVolume], list[Slice]]:
    """The volumes of one series, and the single slices across it that are left out."""
    if kept[0].is_enhanced:
        return _enhanced(kept), []
    refusal = _mixed_patients(kept) or _other_form(kept) or _unplaced(kept)
    if refusal is not None:
        return [SeriesVolume(refusal)], []
    parts = _clusters(kept)
    largest = max(parts, key=len)
    scouts = [p[0] for p in parts if len(p) == 1 < len(largest) and _cosine(p, largest) < _ACROSS]
    parts = [p for p in parts if len(p) > 1 or p[0] not in scouts]
    whole = [_whole(part) for part in parts]
    if len(parts) == 1:
        return whole[0], scouts
    if not _stand_alone(parts, whole):
        return [SeriesVolume(_mixed([s for p in parts for s in p]))], scouts
    return [
        SeriesVolume(v.stack, f"{_key(v.stack.slices[0])} {v.key}", v.warnings)
        for found in whole for v in found
    ], scouts  # fmt: skip


def _enhanced(files: list[Slice]) -> list[SeriesVolume]:
    """The volumes of enhanced files of one series, whose frames are taken together."""
    refusal = _mixed_patients(files)
    if refusal is not None:
        return [SeriesVolume(refusal)]
    files, dropped = without_copied_files(files)
    try:
        frames = [frame for file in files for frame in frames_of(file)]
    except UnreadableInput as problem:
        return [SeriesVolume(Stack(Kind.ENHANCED, tuple(files), problem=problem))]
    refusal = _unplaced(frames)
    if refusal is not None:
        return [SeriesVolume(refusal)]
    notes = (f"{dropped} {_files(dropped)} left out: exact copies of others",) if dropped else ()
    parts = _clusters(frames)
    groups = [tell_apart(part) for part in parts]
    count = sum(map(len, groups))
    if count > 1:
        words = dict.fromkeys(word for part in groups for group in part for word, _ in group.values)
        by = f", told apart by {' and '.join(words)}" if words else ""
        notes += (f"one of {count} volumes in these frames{by}",)
    whole = [[_enhanced_volume(group, notes, alone=count == 1) for group in part]
             for part in groups]  # fmt: skip
    if len(parts) > 1 and not _declared_apart(parts) and not _stand_alone(parts, whole):
        return [SeriesVolume(_mixed(frames))]
    return [volume for found in whole for volume in found]


def _enhanced_volume(group: Group, notes: tuple[str, ...], *, alone: bool) -> SeriesVolume:
    stack = arrange(group.frames)
    if stack.geometry is not None:
        stack = replace(stack, kind=Kind.ENHANCED)
    return SeriesVolume(stack, "" if alone else f"{_key(group.frames[0])} {group.values}", notes)


def _declared_apart(parts: Sequence[Sequence[Slice]]) -> bool:
    """Does each part of an enhanced series have stacks of its own?"""
    stacks = [{(s.path, *s.dimensions[:1]) for s in part} for part in parts]
    return all(one.isdisjoint(other) for one, other in itertools.combinations(stacks, 2))


def _mixed_patients(kept: Sequence[Slice]) -> Stack | None:
    for n in (0, 1):
        if len({s.patient[n].casefold() for s in kept if s.patient[n]}) > 1:
            return Stack(Kind.MIXED_PATIENTS, tuple(kept), problem=UnsafeGeometry(
                f"the {len(kept)} files of this series belong to different patients",
                cure="Separate the patients' files, or export the series again.",
            ))  # fmt: skip
    return None


def _other_form(kept: Sequence[Slice]) -> Stack | None:
    mosaic = [s for s in kept if s.is_mosaic]
    if mosaic:
        return Stack(Kind.MOSAIC, tuple(kept), problem=UnreadableInput(
            "the file is a mosaic, many slices in one picture, which is not read",
            cure="Convert it, for example with dcm2niix.", path=mosaic[0].path,
        ))  # fmt: skip
    return None


def _unplaced(kept: Sequence[Slice]) -> Stack | None:
    """A refusal where one slice lacks a tag that says where it lies."""
    bad = [s for s in kept if s.missing]
    if not bad:
        return None
    return Stack(Kind.NOT_A_VOLUME, tuple(kept), problem=UnsafeGeometry(
        f"{bad[0].missing} ({len(bad)} of {len(kept)} slices)",
        cure="Such tags are never guessed; export the series again.", path=bad[0].path,
    ))  # fmt: skip


def _checked(stack: Stack) -> Stack:
    """The stack, with a problem where one slice lacks some of its bytes, or a decoder."""
    if stack.problem is not None:
        return stack
    for slice_ in stack.slices:
        syntax = missing_decoder(slice_.syntax)
        if slice_.is_truncated:
            problem = UnreadableInput(
                "the file is truncated: it holds fewer pixels than its headers promise",
                cure="Copy or export the series again.", path=slice_.path,
            )  # fmt: skip
        elif syntax:
            problem = UnreadableInput(
                f"the pixels are packed as {syntax}, for which no decoder is installed",
                cure="Run pip install python-gdcm, or unpack the files, for example with "
                     "gdcmconv --raw.",
                path=slice_.path,
            )  # fmt: skip
        else:
            continue
        return replace(stack, geometry=None, problem=problem)
    return stack


def _clusters(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Slices that share everything a grid needs, orientation and spacing within rounding."""
    parts: list[list[Slice]] = []
    for slice_ in slices:
        home = next((part for part in parts if not _differences(part[0], slice_)), None)
        if home is None:
            parts.append([slice_])
        else:
            home.append(slice_)
    return parts


def _differences(one: Slice, other: Slice) -> list[str]:
    """In which respects two slices cannot be of one grid."""
    words = [word for word, value in _SHARED if value(one) != value(other)]
    assert one.orientation is not None
    assert other.orientation is not None
    assert one.spacing is not None
    assert other.spacing is not None
    if np.abs(one.orientation - other.orientation).max() > _ORIENTATION_TOLERANCE:
        words.append("orientation")
    if np.abs(one.spacing - other.spacing).max() > _SPACING_TOLERANCE_MM:
        words.append("pixel spacing")
    return words


def _cosine(one: Sequence[Slice], other: Sequence[Slice]) -> float:
    return abs(float(normal_of(one[0]) @ normal_of(other[0])))


def _stand_alone(parts: list[list[Slice]], whole: list[list[SeriesVolume]]) -> bool:
    """Is each part of a series a whole, rather than a piece of what belongs together?"""
    for n, m in itertools.combinations(range(len(parts)), 2):
        if _cosine(parts[n], parts[m]) > _PARALLEL:
            if not _same_places(parts[n], parts[m]):
                return False
        elif any(volume.stack.problem for volume in (*whole[n], *whole[m])):
            return False
    return True


def _same_places(one: Sequence[Slice], other: Sequence[Slice]) -> bool:
    if len(one) != len(other):
        return False
    normal = normal_of(one[0])
    places = [
        np.stack(sorted((s.position for s in part if s.position is not None),
                        key=lambda p: float(p @ normal)))
        for part in (one, other)
    ]  # fmt: skip
    return bool(np.abs(places[0] - places[1]).max() < SAME_PLACE_MM)


def _mixed(slices: Sequence[Slice]) -> Stack:
    first = slices[0]
    other = next(s for s in slices if _differences(first, s))
    return Stack(Kind.NOT_A_VOLUME, tuple(slices), problem=UnsafeGeometry(
        f"the series mixes slices that do not make one grid: {first.name} and "
        f"{other.name} differ in {' and '.join(_differences(first, other))}",
        cure=_SORT_CURE,
    ))  # fmt: skip


def _whole(part: list[Slice]) -> list[SeriesVolume]:
    """The volume that slices of one grid make; several where places repeat in an orderly way."""
    slices, dropped = without_copies(part)
    stack = arrange(slices)
    notes = (f"{dropped} {_files(dropped)} left out: exact copies of others",) if dropped else ()
    if stack.kind is Kind.DUPLICATES:
        for word, key, alike in (
            ("folder", _folder, False),
            ("acquisition number", _acquisition, True),
        ):
            phases = _phases(stack.slices, key, alike=alike)
            if phases:
                note = f"one of {len(phases)} volumes at the same place, told apart by {word}"
                return [
                    SeriesVolume(phase, f"{word} {key(phase.slices[0])}", (*notes, note))
                    for phase in phases
                ]
    return [SeriesVolume(stack, "", notes + _extent(stack))]


def _phases(slices: Sequence[Slice], key: Callable[[Slice], str], *, alike: bool) -> list[Stack]:
    """Stacks told apart by ``key``, if that leaves no place twice; else none."""
    parts: dict[str, list[Slice]] = defaultdict(list)
    for slice_ in slices:
        parts[key(slice_)].append(slice_)
    found = [parts[k] for k in sorted(parts)]
    if len(found) < 2 or min(map(len, found)) < 2:
        return []
    if alike and not all(_same_places(found[0], part) for part in found[1:]):
        return []
    stacks = [arrange(part) for part in found]
    return [] if any(s.kind is Kind.DUPLICATES for s in stacks) else stacks


def _extent(stack: Stack) -> tuple[str, ...]:
    """A warning where instance numbers do not begin at 1 or skip some: slices may be missing."""
    numbers = [s.instance for s in stack.slices if s.instance is not None]
    count = len(stack.slices)
    if stack.problem or len(numbers) < count:
        return ()
    low, high = min(numbers), max(numbers)
    if low <= 1 and high - low < count:
        return ()
    return (f"the instance numbers of the {count} slices run from {low} to {high}: there may be "
            "slices that were not given",)  # fmt: skip


def _key(slice_: Slice) -> str:
    """What tells the slice's volume from others of its series, as text that never varies."""
    numbers = [] if slice_.orientation is None else [*slice_.orientation]
    numbers += [] if slice_.spacing is None else [*slice_.spacing]
    shared = [str(value(slice_)) for _, value in _SHARED]
    return "|".join([*shared, *(f"{n + 0.0:.4f}" for n in numbers)])


def _folder(slice_: Slice) -> str:
    return str(Path(slice_.path).resolve().parent)


def _acquisition(slice_: Slice) -> str:
    return slice_.acquisition
