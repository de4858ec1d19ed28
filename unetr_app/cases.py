"""Case: one thing to segment, found in files and folders of any mixture of formats.

Files are judged by content. A file whose name claims an image (``.nii``, ``.nii.gz``, ``.nrrd``,
``.mha``, ``.mhd``, ``.dcm``), or that the user names itself, and that is none, is a case with a
problem; any other file that is no image is passed over and counted. Hidden files and DICOMDIR are
passed over. Below a folder that holds a ``manifest.jsonl`` of ours, the folders of its cases are
left out, so that results written into the input tree never become inputs.

Identifiers are safe as file names and do not depend on the order of the inputs: the slug of a
file's own name, with a hash of its path where other cases share it; modality, series number and a
hash of the UID for DICOM, which hold nothing of the patient.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.geometry import Geometry
from unetr_app.io.atomic import PathLike
from unetr_app.io.files import InputFile, find_files
from unetr_app.io.formats import (
    Format,
    claimed_format,
    detect,
    image_ending,
    require_format,
)
from unetr_app.io.names import safe_name, short_hash

if TYPE_CHECKING:
    from unetr_app.io.dicom_index import SeriesVolume
    from unetr_app.io.dicom_slice import Slice


@dataclass(frozen=True)
class Case:
    """One thing to segment.

    Args:
        id: Unique in a run, safe as a file name, nothing of the patient in it for DICOM.
        input: The file, or the folder of the series, as it was given or found.
        kind: Whether it is one file or the slices of a DICOM series.
        paths: Its files; slices in order along their normal.
        modality: DICOM modality code; empty where unknown.
        study_uid: Study Instance UID; empty for files.
        series_uid: Series Instance UID; empty for files.
        problem: Why it cannot be read, where its headers already show that; reading it raises this.
        form: ``nifti``, ``nrrd``, ``metaimage``, or what the series is (``regular``, ``tilt``,
            ``gaps``, ...); empty for a file of no known format.
        geometry: The grid of a DICOM series, known from its headers; None for files.
        warnings: What was left out, and what else the user should know.
    """

    id: str
    input: str
    kind: Literal["file", "dicom-series"]
    paths: tuple[str, ...]
    modality: str = ""
    study_uid: str = field(default="", repr=False)
    series_uid: str = field(default="", repr=False)
    problem: UnetrError | None = None
    form: str = ""
    geometry: Geometry | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """What a search came upon.

    Args:
        cases: In the order of their ids, numbers in them counted as numbers.
        passed_over: Files that are no image.
        set_aside: DICOM files that are no part of a volume: localizers, reports, segmentations.
    """

    cases: tuple[Case, ...]
    passed_over: int = 0
    set_aside: int = 0


def find_cases(paths: Sequence[PathLike] | PathLike) -> list[Case]:
    """Find everything to segment in files and folders.

    Args:
        paths: Files and folders, one or many; folders are searched to their depths, links are
            followed, nothing is found twice.

    Returns:
        Cases in the order of their ids; those with a problem included.

    Raises:
        InvalidRequest: If a path does not exist.

    Example:
        >>> import tempfile
        >>> find_cases(tempfile.mkdtemp())
        []
    """
    return list(survey(paths).cases)


def survey(paths: Sequence[PathLike] | PathLike) -> Found:
    """Find everything to segment, and count what is not.

    Args:
        paths: As for `find_cases`.

    Raises:
        InvalidRequest: If a path does not exist.
    """
    roots = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    drafts: list[tuple[Case, str]] = []  # with the text that a hash would be made of
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
    cases = sorted(_with_unique_ids(drafts), key=lambda case: _natural(case.id))
    return Found(tuple(cases), passed_over, len(left_out))


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
    from unetr_app.io.dicom_slice import read_slice

    return read_slice(file.path)


def _file_case(file: InputFile, kind: Format) -> Case:
    return Case(_slug(file.path), file.path, "file", (file.path,), form=str(kind))


def _broken(file: InputFile, problem: UnetrError) -> Case:
    """A case for what should be an image; the name of a DICOM file may hold the patient's."""
    form = _form_of_broken(file)
    name = f"DICOM-{short_hash(file.real)}" if form == Format.DICOM else _slug(file.path)
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
    from unetr_app.io.dicom_index import index_slices

    files = {slice_.path: file for file, slice_ in slices}
    index = index_slices(slice_ for _, slice_ in slices)
    drafts = [_series_case(volume) for volume in index.volumes]
    return drafts, [files[slice_.path] for slice_ in index.aside]


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


def _slug(path: str) -> str:
    name = os.path.basename(path) or os.path.basename(os.path.realpath(path))
    ending = image_ending(name)
    return safe_name(name[: len(name) - len(ending)])


def _with_unique_ids(drafts: Sequence[tuple[Case, str]]) -> list[Case]:
    """Give every case that shares its id with others a hash, longer where short ones are equal."""
    cases = list(drafts)
    digits = 8
    while digits <= 64:
        count = Counter(case.id.casefold() for case, _ in cases)
        if max(count.values(), default=1) == 1:
            break
        cases = [
            (case, text) if count[case.id.casefold()] == 1
            else (replace(case, id=f"{draft.id}-{short_hash(text, digits)}"), text)
            for (case, text), (draft, _) in zip(cases, drafts, strict=True)
        ]  # fmt: skip
        digits *= 2
    return [case for case, _ in cases]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A sort key in which case2 comes before case10."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]
