"""Image: a case of one image, found in files and folders of any mixture of formats."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from unetr_app.cases.case import Case
from unetr_app.cases.facts import SeriesFacts
from unetr_app.cases.ids import Draft, slug
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io.archives import is_archive, unpack
from unetr_app.io.atomic import PathLike
from unetr_app.io.files import InputFile, find_files
from unetr_app.io.formats import (
    Format,
    claimed_format,
    detect,
    image_ending,
    require_format,
)
from unetr_app.io.names import short_hash

if TYPE_CHECKING:
    from unetr_app.io.dicom.aside import Aside
    from unetr_app.io.dicom.index import SeriesVolume
    from unetr_app.io.dicom.slice import Slice

OnProgress = Callable[[int, int], None]
"""Takes how many files were looked at, and how many there are."""


@dataclass
class Images:
    """What there is in files and folders.

    Args:
        drafts: A case for each image, and for each file that should be one.
        passed_over: Files that are no image.
        aside: DICOM files that are no part of a volume, series by series.
    """

    drafts: list[Draft] = field(default_factory=list[Draft])
    passed_over: int = 0
    aside: list[Draft] = field(default_factory=list[Draft])


def find_images(roots: Iterable[PathLike], on_progress: OnProgress | None = None) -> Images:
    """Find every image once.

    Args:
        roots: Files and folders; zip archives among them are looked into.
        on_progress: Told of every file.

    Raises:
        InvalidRequest: If a path does not exist.
    """
    images = Images()
    slices: list[tuple[InputFile, Slice]] = []
    files = find_files(roots)
    for n, file in enumerate(files):
        if on_progress is not None:
            on_progress(n, len(files))
        for member in _with_members(file, images):
            _look_at(member, images, slices)
    found, aside = _series_cases(slices)
    damaged = [case for case, _ in images.drafts if case.form == Format.DICOM]
    images.drafts += _with_damage_beside(found, damaged)
    named = {file.path for file, _ in slices if file.named}
    images.drafts += [_no_volume(case) for case, _ in aside if named.issuperset(case.paths)]
    images.aside += [draft for draft in aside if not named.issuperset(draft[0].paths)]
    return images


def _with_members(file: InputFile, images: Images) -> list[InputFile]:
    """The file itself, or the images in it if it is an archive."""
    try:
        if file.state != "file" or not is_archive(file.path, named=file.named):
            return [file]
        members, others = unpack(file.path)
    except UnreadableInput as problem:
        if image_ending(file.path) or not (file.named or file.path.lower().endswith(".zip")):
            return [file]
        images.drafts.append((_broken(file, problem), file.real))
        return []
    images.passed_over += others
    return [
        InputFile(m.path, f"{file.real}/{m.name}", False, member=f"{file.path}/{m.name}",
                  archive=file.path)
        for m in members
    ]  # fmt: skip


def _look_at(file: InputFile, images: Images, slices: list[tuple[InputFile, Slice]]) -> None:
    """Put a file where it belongs: a case, a slice of a series, or passed over."""
    try:
        kind = _kind_of(file)
        if kind is None:
            images.passed_over += 1
        elif kind is not Format.DICOM:
            images.drafts.append((_file_case(file, kind), file.real))
        elif not (slice_ := _read_slice(file)).is_directory:
            slices.append((file, slice_))
        elif file.named:
            raise UnreadableInput(
                "the file is a DICOMDIR, a list of other files, and holds no image itself",
                cure="Give the folder that it lies in.", path=file.path,
            )  # fmt: skip
        else:
            images.passed_over += 1
    except UnetrError as problem:
        images.drafts.append((_broken(file, problem), file.real))


def _kind_of(file: InputFile) -> Format | None:
    """The format to read a file by; None where it is to be passed over.

    Raises:
        UnreadableInput: If it should be an image and is none.
    """
    name = os.path.basename(file.path)
    if file.state == "closed":
        raise UnreadableInput(
            "the folder cannot be opened, so that nobody knows what it holds",
            cure="Check its permissions, and that it does not lie too deep.", path=file.path,
        )  # fmt: skip
    hidden = not file.named and (name.startswith(".") or name.upper() == "DICOMDIR")
    if file.state == "special" or hidden:
        return None
    if file.named or image_ending(file.path):
        return require_format(file.path)
    try:
        return detect(file.path)
    except UnreadableInput:
        return None  # claims nothing, and cannot be opened


def _read_slice(file: InputFile) -> Slice:
    from unetr_app.io.dicom.slice import read_slice

    return read_slice(file.path, member=file.real if file.member else "")


def _file_case(file: InputFile, kind: Format) -> Case:
    return _from_archive(
        Case(slug(file.path), file.path, "file", (file.path,), form=str(kind)), file
    )


def _from_archive(case: Case, *files: InputFile) -> Case:
    """The case as it is to be named where its files are copies from an archive."""
    if not any(file.member for file in files):
        return case
    archives = list(dict.fromkeys(file.archive or file.path for file in files))
    return replace(
        case, input=archives[0] if len(archives) == 1 else _common_folder(archives),
        names=tuple(file.member or file.path for file in files),
    )  # fmt: skip


def _broken(file: InputFile, problem: UnetrError) -> Case:
    """A case for what should be an image; the name of a DICOM file may hold the patient's."""
    form = "" if file.state == "closed" else _form_of_broken(file)
    name = f"DICOM-{short_hash(file.real)}" if form == Format.DICOM else slug(file.path)
    case = Case(name, file.path, "file", (file.path,), problem=problem, form=form)
    return _from_archive(case, file)


def _form_of_broken(file: InputFile) -> str:
    try:
        found = detect(file.path)
    except UnreadableInput:
        found = None
    return str(found or claimed_format(file.path) or "")


def _no_volume(case: Case) -> Draft:
    """What the user named although it is no part of a volume."""
    return replace(case, kind="file"), case.paths[0]


def _series_cases(slices: Sequence[tuple[InputFile, Slice]]) -> tuple[list[Draft], list[Draft]]:
    """The cases among DICOM files, and what is no part of any."""
    if not slices:
        return [], []
    from unetr_app.io.dicom.index import index_slices

    files = {slice_.path: file for file, slice_ in slices}
    index = index_slices(slice_ for _, slice_ in slices)
    groups: defaultdict[tuple[object, ...], list[Aside]] = defaultdict(list)
    for aside in index.aside:
        s = aside.slice
        own = s.path if files[s.path].named else ""
        groups[s.series_uid or os.path.dirname(s.where), aside.kind, aside.why, own].append(aside)
    return (
        [_series_case(volume, files) for volume in index.volumes],
        [_aside_case(group, files) for group in groups.values()],
    )


def _aside_case(group: Sequence[Aside], files: Mapping[str, InputFile]) -> Draft:
    first = group[0]
    many = f" ({len(group)} files)" if len(group) > 1 else ""
    problem = UnreadableInput(
        f"{first.why}{many} is no slice of a volume",
        cure="For a volume give the folder of a CT, MR or PET series.",
        path=first.slice.path,
    )
    draft = _dicom_case([aside.slice for aside in group], f"{first.kind}|{first.why}", files)
    return replace(draft[0], problem=problem, form=str(first.kind)), draft[1]


def _with_damage_beside(
    series: list[tuple[Case, str]], broken: Sequence[Case]
) -> list[tuple[Case, str]]:
    """Warn where a damaged DICOM file lies beside a series: it may be one of its slices."""
    damaged = {os.path.dirname(os.path.realpath(case.input)) for case in broken}
    warning = "a damaged DICOM file lies beside this series and may be one of its slices"
    return [
        (replace(case, warnings=(*case.warnings, warning)), text)
        if any(os.path.dirname(os.path.realpath(p)) in damaged for p in case.paths)
        else (case, text)
        for case, text in series
    ] if damaged else series  # fmt: skip


def _series_case(volume: SeriesVolume, files: Mapping[str, InputFile]) -> Draft:
    from unetr_app.io.dicom.geometry_report import report_of

    slices = volume.stack.slices
    first = slices[0]
    case, text = _dicom_case(slices, volume.key, files)
    facts = SeriesFacts(first.description, first.frame_uid, first.image_type, first.patient)
    return replace(
        case, problem=volume.stack.problem, form=str(volume.stack.kind),
        geometry=volume.stack.geometry, warnings=volume.warnings, slices=len(slices),
        frames=tuple((s.path, s.frame) for s in slices if s.is_enhanced),
        report=report_of(volume), facts=facts,
    ), text  # fmt: skip


def _dicom_case(slices: Sequence[Slice], key: str, files: Mapping[str, InputFile]) -> Draft:
    first = slices[0]
    paths = tuple(dict.fromkeys(s.path for s in slices))  # many frames may share a file
    folder = _common_folder(paths)
    where = _common_folder([s.where for s in slices])
    modality = re.sub(r"[^A-Z0-9]", "", first.modality.upper())[:8] or "OT"
    unique = "|".join(filter(None, (first.series_uid or os.path.realpath(where), key)))
    name = f"{modality}-{abs(first.series_number or 0):03d}-{short_hash(unique)}"
    case = Case(
        name, first.path if len(paths) == 1 else folder, "dicom-series", paths,
        first.modality, first.study_uid, first.series_uid,
    )  # fmt: skip
    return _from_archive(case, *(files[path] for path in paths)), f"{unique}|{first.series_number}"


def _common_folder(paths: Sequence[str]) -> str:
    """The deepest folder above all, as the user gave it where that can be said."""
    folders = [os.path.dirname(path) for path in paths]
    try:
        return os.path.commonpath(folders) or os.curdir
    except ValueError:  # some absolute, some relative
        return os.path.commonpath([os.path.realpath(folder) for folder in folders])
