"""SeriesVolume: the slices of a set of DICOM files that make one volume, told by headers alone.

A volume is found whole or refused, never in part. Slices of one series that differ in what a grid
must share (orientation, matrix, spacing, image type, echo and so on) are told apart only where each
part is a whole of its own: another orientation, or another value at exactly the same places.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unetr_app.errors import UnreadableInput, UnsafeGeometry
from unetr_app.io.dicom.aside import Aside, aside_of, derived_beside, scout
from unetr_app.io.dicom.copies import without_copied_files, without_copies
from unetr_app.io.dicom.enhanced import Group, frames_of, tell_apart
from unetr_app.io.dicom.folders import common_folder, folder_of, sets_of_folders
from unetr_app.io.dicom.likeness import (
    clusters,
    cosine,
    differences,
    families,
    key_of,
    same_places,
)
from unetr_app.io.dicom.phases import as_phase, phases_of
from unetr_app.io.dicom.pixel_file import missing_decoder
from unetr_app.io.dicom.slice import Slice
from unetr_app.io.dicom.stack import Kind, Stack, arrange

_ACROSS = float(np.cos(np.deg2rad(45.0)))
_LEAST_ALONE = 3  # slices of a volume that only its geometry tells from others
_MOST_COUNTS = 8  # parts whose slices a message counts
_SORT_CURE = "Export the series again, or sort the files so that one volume is in one folder."
_UID = re.compile(r"\d+(\.\d+)+")


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """Slices that make one volume, or that should but do not.

    Args:
        stack: The slices in order, their grid or their problem.
        key: Tells this volume from others of the same series; empty where there are none.
        warnings: What was left out, and what else the user should know.
        copies: Names of files that were left out, each with that of the file it is a copy of.
        told_by: What tells it from others of its series; empty where there are none.
    """

    stack: Stack
    key: str = ""
    warnings: tuple[str, ...] = ()
    copies: tuple[tuple[str, str], ...] = ()
    told_by: str = ""


@dataclass(frozen=True, eq=False)
class Index:
    """What a set of DICOM files holds.

    Args:
        volumes: In an order that does not depend on that of the files.
        aside: Files that are DICOM but no part of a volume: localizers, reports, segmentations.
    """

    volumes: tuple[SeriesVolume, ...]
    aside: tuple[Aside, ...]


@dataclass(frozen=True, eq=False)
class _Found:
    volumes: list[SeriesVolume]
    aside: list[Aside]


def index_slices(slices: Iterable[Slice]) -> Index:
    """Find the volumes among slices of any number of patients, studies and series."""
    series: defaultdict[tuple[str, str, int, bool], list[Slice]] = defaultdict(list)
    for slice_ in sorted(slices, key=lambda s: s.where):
        number = -1 if slice_.series_number is None else slice_.series_number
        folder = "" if has_uid(slice_) else folder_of(slice_)
        several = slice_.is_enhanced and not slice_.aside
        series[slice_.series_uid, folder, number, several].append(slice_)
    volumes: list[SeriesVolume] = []
    aside: list[Aside] = []
    for _, members in sorted(series.items()):
        found = _series(members)
        volumes += found.volumes
        aside += found.aside
    return Index(tuple(volumes), tuple(sorted(aside, key=lambda a: a.slice.where)))


def has_uid(slice_: Slice) -> bool:
    """Does the slice say which series it is of? Some anonymisers leave UIDs empty, or words."""
    return _UID.fullmatch(slice_.series_uid) is not None


def _series(members: list[Slice]) -> _Found:
    aside = [found for found in map(aside_of, members) if found is not None]
    left = {found.slice.path for found in aside}
    kept = [s for s in members if s.path not in left]
    if not kept:
        return _Found([], aside)
    found = _enhanced(kept) if kept[0].is_enhanced else _refused(kept) or _taken_apart(kept)
    aside += found.aside
    notes = _notes(len(aside), kept[0])
    volumes = [
        replace(v, stack=_checked(v.stack), warnings=v.warnings + notes) for v in found.volumes
    ]
    return _Found(volumes, aside)


def _notes(apart: int, first: Slice) -> tuple[str, ...]:
    notes: list[str] = []
    if apart:
        notes.append(
            f"{apart} {_files(apart)} of the series left out: no part of a volume "
            "(localizers and such)"
        )
    if not has_uid(first):
        notes.append("the series has no UID: its files were grouped by folder and geometry")
    return tuple(notes)


def _files(count: int) -> str:
    return "file" if count == 1 else "files"


def _refused(kept: list[Slice]) -> _Found | None:
    refusal = _mixed_patients(kept) or _other_form(kept) or _unplaced(kept)
    return None if refusal is None else _Found([SeriesVolume(refusal)], [])


def _taken_apart(kept: list[Slice]) -> _Found:
    """The volumes of one series; folder by folder where folders contradict each other."""
    slices, copies = without_copies(kept)
    whole = _volumes_of(slices)
    if any(v.stack.problem for v in whole.volumes):
        sets = sets_of_folders(slices)
        if len(sets) > 1:
            whole = _by_folder(sets)
    return _Found([_with_copies(volume, copies) for volume in whole.volumes], whole.aside)


def _with_copies(volume: SeriesVolume, copies: Sequence[tuple[Slice, Slice]]) -> SeriesVolume:
    """The volume, with the copies of its files recorded."""
    paths = {s.path for s in volume.stack.slices}
    names = tuple(sorted((one.name, kept.name) for one, kept in copies if kept.path in paths))
    if not names:
        return volume
    note = f"{len(names)} {_files(len(names))} left out: exact copies of others"
    return replace(volume, warnings=(note, *volume.warnings), copies=names)


def _by_folder(sets: list[list[Slice]]) -> _Found:
    found = _Found([], [])
    top = common_folder([s for part in sets for s in part])
    note = (f"one of {len(sets)} volumes in folders that share a series UID and contradict each "
            "other: taken folder by folder")  # fmt: skip
    for part in sets:
        here = _volumes_of(part)
        folder = os.path.relpath(folder_of(part[0]), top)
        found.volumes.extend(
            replace(v, key=f"folder {folder} {v.key}".rstrip(), warnings=(*v.warnings, note),
                    told_by=" and ".join(filter(None, ("folder", v.told_by))))
            for v in here.volumes
        )  # fmt: skip
        found.aside.extend(here.aside)
    return found


def _volumes_of(kept: list[Slice]) -> _Found:
    """The volumes of one series, and what is left out: single slices across it, derived pictures.

    Args:
        kept: With places, without copies.
    """
    parts = clusters(kept, apart=not has_uid(kept[0]))
    largest = max(parts, key=len)
    scouts = [
        scout(p[0]) for p in parts if len(p) == 1 < len(largest) and cosine(p, largest) < _ACROSS
    ]
    away = {found.slice.path for found in scouts}
    parts = [p for p in parts if p[0].path not in away]
    derived = derived_beside(parts)
    parts = [p for p in parts if not any(d.slice is p[0] for d in derived)]
    whole = [_whole(part) for part in parts]
    aside = scouts + derived
    if len(parts) == 1:
        return _Found(whole[0], aside)
    by = _told_by(parts, whole)
    if by is None:
        return _Found([SeriesVolume(_mixed(parts))], aside)
    note = (f"one of {len(parts)} volumes of the series, told apart by {by}",)
    beside = {n for family in families(parts) for n in _at_one_place(parts, family)}
    volumes = [
        replace(
            v, stack=as_phase(v.stack) if n in beside else v.stack, warnings=v.warnings + note,
            key=f"{key_of(v.stack.slices[0])} {v.key}",
            told_by=" and ".join(filter(None, (by, v.told_by))),
        )
        for n, found in enumerate(whole) for v in found
    ]  # fmt: skip
    return _Found(volumes, aside)


def _at_one_place(parts: Sequence[Sequence[Slice]], family: Sequence[int]) -> list[int]:
    """Those of some parallel stacks that have the same places as the first of them."""
    first = parts[family[0]]
    same = [n for n in family[1:] if same_places(first, parts[n])]
    return [family[0], *same] if same else []


def _enhanced(files: list[Slice]) -> _Found:
    """The volumes of enhanced files of one series, whose frames are taken together."""
    refusal = _mixed_patients(files)
    if refusal is not None:
        return _Found([SeriesVolume(refusal)], [])
    files, copies = without_copied_files(files)
    try:
        frames = [frame for file in files for frame in frames_of(file)]
    except UnreadableInput as problem:
        stack = Stack(Kind.ENHANCED, tuple(files), problem=problem)
        return _Found([SeriesVolume(stack)], [])
    refusal = _unplaced(frames)
    if refusal is not None:
        return _Found([SeriesVolume(refusal)], [])
    parts = clusters(frames)
    groups = [tell_apart(part) for part in parts]
    count = sum(map(len, groups))
    words = " and ".join(dict.fromkeys(w for part in groups for g in part for w, _ in g.values))
    by = f", told apart by {words}" if words else ""
    notes = (f"one of {count} volumes in these frames{by}",) if count > 1 else ()
    whole = [[_enhanced_volume(group, notes, words, alone=count == 1) for group in part]
             for part in groups]  # fmt: skip
    if len(parts) > 1 and not _declared_apart(parts) and _told_by(parts, whole) is None:
        return _Found([SeriesVolume(_mixed(parts))], [])
    return _Found([_with_copies(v, copies) for found in whole for v in found], [])


def _enhanced_volume(
    group: Group, notes: tuple[str, ...], words: str, *, alone: bool
) -> SeriesVolume:
    stack = arrange(group.frames)
    if stack.geometry is not None:
        stack = replace(stack, kind=Kind.ENHANCED)
    key = "" if alone else f"{key_of(group.frames[0])} {group.values}"
    return SeriesVolume(stack, key, notes, told_by=words)


def _declared_apart(parts: Sequence[Sequence[Slice]]) -> bool:
    """Does each part of an enhanced series have stacks of its own?"""
    stacks = [{(s.path, *s.dimensions[:1]) for s in part} for part in parts]
    return all(one.isdisjoint(other) for one, other in itertools.combinations(stacks, 2))


def _mixed_patients(kept: Sequence[Slice]) -> Stack | None:
    for n in (0, 1):
        first: dict[str, Slice] = {}
        for slice_ in kept:
            who = " ".join(slice_.patient[n].replace("^", " ").casefold().split())
            if who:
                first.setdefault(who, slice_)
        if len(first) > 1:
            one, other, *_ = first.values()
            return Stack(Kind.MIXED_PATIENTS, tuple(kept), problem=UnsafeGeometry(
                f"the {len(kept)} files of this series belong to different patients, "
                f"{one.name} and {other.name} for example",
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
    """The stack, with a problem where a slice lacks bytes, a decoder, or the others' rescale."""
    if stack.problem is not None:
        return stack
    plain = [s for s in stack.slices if not s.is_rescaled]
    if 0 < len(plain) < len(stack.slices):
        problem = UnreadableInput(
            f"RescaleSlope is absent here and in {len(plain)} of {len(stack.slices)} slices: "
            "values would not mean the same in all of them",
            cure="Export the series again.", path=plain[0].path,
        )  # fmt: skip
        return replace(stack, geometry=None, problem=problem)
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


def _told_by(parts: list[list[Slice]], whole: list[list[SeriesVolume]]) -> str | None:
    """What tells the parts of a series apart, if each is a whole and not a piece of one; or None.

    Without a UID nobody has said that the slices belong together: then parts of another geometry
    that are in order by themselves are volumes.
    """
    sound = not any(v.stack.problem for found in whole for v in found)
    if has_uid(parts[0][0]) or not sound or min(map(len, parts)) < _LEAST_ALONE:
        parallel = families(parts)
        if len(parallel) > 1 and not sound:
            return None
        for family in parallel:
            if 1 < len(family) != len(_at_one_place(parts, family)):
                return None
    words = {w: None for part in parts[1:] for w in differences(parts[0][0], part[0])}
    return " and ".join(words) or "description"


def _mixed(parts: Sequence[Sequence[Slice]]) -> Stack:
    slices = [slice_ for part in parts for slice_ in part]
    first = slices[0]
    counts = ", ".join(str(len(part)) for part in parts[:_MOST_COUNTS])
    other, words = next((s, w) for s in slices if (w := differences(first, s)))
    return Stack(Kind.NOT_A_VOLUME, tuple(slices), problem=UnsafeGeometry(
        f"the series mixes slices that do not make one grid: {first.name} and "
        f"{other.name} differ in {' and '.join(words)}; apart they are {counts}"
        f"{', ...' if len(parts) > _MOST_COUNTS else ''} slices",
        cure=_SORT_CURE,
    ))  # fmt: skip


def _whole(part: list[Slice]) -> list[SeriesVolume]:
    """The volume that slices of one grid make; several where places repeat in an orderly way."""
    stack = arrange(part)
    phases = phases_of(stack) if stack.kind is Kind.DUPLICATES else None
    if phases is None:
        return [SeriesVolume(stack, "", _extent(stack))]
    count = len(phases.stacks)
    note = f"one of {count} volumes at the same place, told apart by {phases.word}"
    return [
        SeriesVolume(phase, f"{phases.word} {n}", (note,), told_by=phases.word)
        for n, phase in enumerate(phases.stacks)
    ]


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
