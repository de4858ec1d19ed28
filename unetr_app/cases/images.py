"""Image: a case of one image, found in files and folders of any mixture of formats."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from unetr_app.cases.case import Case
from unetr_app.cases.ids import Draft, slug
from unetr_app.errors import UnetrError, UnreadableInput
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
    from unetr_app.io.dicom.index import SeriesVolume
    from unetr_app.io.dicom.slice import Slice


@dataclass(frozen=True)
class Images:
    """What there is in files and folders.

    Args:
        drafts: A case for each image, and for each file that should be one.
        passed_over: Files that are no image.
        set_aside: DICOM files that are no part of a volume.
    """

    drafts: list[Draft]
    passed_over: int = 0
    set_aside: int = 0


def find_images(roots: Iterable[PathLike]) -> Images:
    """Find every image once.

    Args:
        roots: Files and folders.

    Raises:
        InvalidRequest: If a path does not exist.
    """
    drafts: list[Draft] = []
    slices: list[tuple[InputFile, Slice]] = []
    passed_over = 0
    for file in find_files(roots):
        try:
            kind = _kind_of(file)
            if kind is None:
                passed_over += 1
            elif kind is not Format.DICOM:
                drafts.append((_file_case(file, kind), file.real))
            elif (slice_ := _read_slice(file)).is_directory:
                passed_over += 1
            else:
                slices.append((file, slice_))
        except UnetrError as problem:
            drafts.append((_broken(file, problem), file.real))
    found, aside = _series_cases(slices)
    found = _with_damage_beside(found, [case for case, _ in drafts if case.form == Format.DICOM])
    left_out = [file for file in aside if not file.named]
    drafts += found + [(_no_volume(file), file.real) for file in aside if file.named]
    return Images(drafts, passed_over, len(left_out))


def _kind_of(file: InputFile) -> Format | None:
    """The format to read a file by; None where it is to be passed over.

    Raises:
        UnreadableInput: If it should be an image and is none.
    """
    name = os.path.basename(file.path)
    if os.path.isdir(file.path):
        raise UnreadableInput("the folder cannot be opened", cure="Check its permissions.",
                              path=file.path)  # fmt: skip
    if not file.named and (name.startswith(".") or name.upper() == "DICOMDIR"):
        return None
    if file.named or image_ending(file.path):
        return require_format(file.path)
    try:
        return detect(file.path)
    except UnreadableInput:
        return None  # claims nothing, and cannot be opened


def _read_slice(file: InputFile) -> Slice:
    from unetr_app.io.dicom.slice import read_slice

    return read_slice(file.path)


def _file_case(file: InputFile, kind: Format) -> Case:
    return Case(slug(file.path), file.path, "file", (file.path,), form=str(kind))


def _broken(file: InputFile, problem: UnetrError) -> Case:
    """A case for what should be an image; the name of a DICOM file may hold the patient's."""
    form = _form_of_broken(file)
    name = f"DICOM-{short_hash(file.real)}" if form == Format.DICOM else slug(file.path)
    return Case(name, file.path, "file", (file.path,), problem=problem, form=form)


def _form_of_broken(file: InputFile) -> str:
    try:
        found = detect(file.path)
    except UnreadableInput:
        found = None
    return str(found or claimed_format(file.path) or "")


def _no_volume(file: InputFile) -> Case:
    return _broken(file, UnreadableInput(
        "the DICOM file is no image of slices that make a volume (a localizer, report, "
        "segmentation or the like)",
        cure="Give the folder of a CT, MR or PET series.", path=file.path,
    ))  # fmt: skip


def _series_cases(
    slices: Sequence[tuple[InputFile, Slice]],
) -> tuple[list[tuple[Case, str]], list[InputFile]]:
    """The cases among DICOM files, and the files that are no part of any."""
    if not slices:
        return [], []
    from unetr_app.io.dicom.index import index_slices

    files = {slice_.path: file for file, slice_ in slices}
    index = index_slices(slice_ for _, slice_ in slices)
    drafts = [_series_case(volume) for volume in index.volumes]
    return drafts, [files[a.slice.path] for a in index.aside]


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


def _series_case(volume: SeriesVolume) -> tuple[Case, str]:
    slices = volume.stack.slices
    first = slices[0]
    folder = _common_folder([s.path for s in slices])
    modality = re.sub(r"[^A-Z0-9]", "", first.modality.upper())[:8] or "OT"
    unique = "|".join(filter(None, (first.series_uid or os.path.realpath(folder), volume.key)))
    name = f"{modality}-{abs(first.series_number or 0):03d}-{short_hash(unique)}"
    case = Case(
        name, first.path if len(slices) == 1 else folder, "dicom-series",
        tuple(s.path for s in slices), first.modality, first.study_uid, first.series_uid,
        volume.stack.problem, str(volume.stack.kind), volume.stack.geometry, volume.warnings,
    )  # fmt: skip
    return case, f"{unique}|{first.series_number}"


def _common_folder(paths: Sequence[str]) -> str:
    """The deepest folder above all, as the user gave it where that can be said."""
    folders = [os.path.dirname(path) for path in paths]
    try:
        return os.path.commonpath(folders) or os.curdir
    except ValueError:  # some absolute, some relative
        return os.path.commonpath([os.path.realpath(folder) for folder in folders])
