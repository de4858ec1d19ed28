"""Deidentify: objects of a tree without their patients, in a tree of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from unetr_app.errors import Cancelled, InvalidRequest, UnetrError, UnreadableInput
from unetr_app.io.atomic import PathLike, replacing
from unetr_app.io.dicom.confidentiality.uid_map import UidMap
from unetr_app.io.dicom.deidentified import (
    Choices,
    Deidentified,
    deidentify_object,
    is_directory,
)
from unetr_app.io.files import InputFile, find_files
from unetr_app.io.formats import Format, claimed_format, detect
from unetr_app.io.names import short_hash

__all__ = ["Choices", "Ended", "Exported", "Progress", "deidentify"]

_NAME_DIGITS = 16
_SAVED_EVERY = 500  # objects; the rest of a killed run's map follows from its secret

Status = Literal["done", "already done", "copy", "failed"]


@dataclass(frozen=True)
class Ended:
    """How it went with one file.

    Args:
        path: The file as it was found.
        status: ``done``; ``already done`` by an earlier run; a ``copy`` of another; ``failed``.
        error: Why it failed.
    """

    path: str
    status: Status
    error: UnetrError | None = None


@dataclass
class Exported:
    """What a run has done.

    Args:
        ended: One entry a DICOM file, in the order of their names.
        passed_over: Files that are no DICOM objects, DICOMDIR among them.
        faces: How many objects may show a face.
        series: Folders of the series, as new UIDs.
    """

    ended: list[Ended] = field(default_factory=list[Ended])
    passed_over: int = 0
    faces: int = 0
    series: set[str] = field(default_factory=set[str])

    def count(self, *statuses: Status) -> int:
        """How many files ended so."""
        return sum(one.status in statuses for one in self.ended)


Progress = Callable[[int, int, Ended | None], None]
"""Told of (files looked at, files in all, how it went with the last that is DICOM)."""


def deidentify(
    inputs: Iterable[PathLike],
    out: PathLike,
    *,
    choices: Choices | None = None,
    uid_map: PathLike | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Exported:
    """Write each DICOM object below some folders anew, without what tells whose it is.

    An object's file is ``OUT/<study>/<series>/<hash>.dcm``, all of new UIDs. Nothing is ever
    overwritten. What fails is listed and the others go on.

    Args:
        inputs: Files, and folders to search.
        out: A new or empty folder; with a map also that of an earlier run, to go on.
        choices: What is decided for all.
        uid_map: The file with the map of old to new identifiers, outside of ``out``; made where
            it is not there. Without it nobody can tell afterwards whose the objects are.
        progress: Told of each file.
        should_stop: Asked before each file.

    Raises:
        InvalidRequest: If the folders lie within each other, or ``out`` holds what it must not.
        UnwritableOutput: If an object or the map cannot be written.
        Cancelled: If `should_stop` says so; what is written is whole.
    """
    roots = [os.fspath(one) for one in inputs]
    target = Path(os.path.realpath(out))
    files = find_files(roots)
    _check_places(roots, target, uid_map)
    uids = UidMap() if uid_map is None else UidMap.at(uid_map)
    run = _Run(target, uids, choices or Choices())
    try:
        for number, file in enumerate(files, 1):
            if should_stop():
                raise Cancelled("asked to stop", cure=_going_on(uid_map))
            ended = run.take(file)
            if progress is not None:
                progress(number, len(files), ended)
            if number % _SAVED_EVERY == 0:
                uids.save()
    finally:
        uids.save()
    return run.result


def _going_on(uid_map: PathLike | None) -> str:
    if uid_map is not None:
        return "Run the same command again to go on."
    return "Run again into a new folder; with --uid-map a run can go on where it stopped."


class _Run:
    """The files of one run, one after another."""

    def __init__(self, target: Path, uids: UidMap, choices: Choices):
        self.result = Exported()
        self._target, self._uids, self._choices = target, uids, choices
        self._written: set[Path] = set()

    def take(self, file: InputFile) -> Ended | None:
        """Export a file; None where it is no DICOM object."""
        try:
            if not _is_object(file):
                self.result.passed_over += 1
                return None
            ended = Ended(file.path, self._export(file))
        except UnetrError as error:
            if error.code == "unwritable-output":
                raise
            ended = Ended(file.path, "failed", error)
        self.result.ended.append(ended)
        return ended

    def _export(self, file: InputFile) -> Status:
        found = deidentify_object(file.path, self._uids, self._choices)
        path = self._place(found)
        status = self._known(path, found, file)
        if status is None:
            with replacing(path) as part:
                part.write_bytes(found.data)
                if part.read_bytes() != found.data:
                    raise UnreadableInput(
                        "what was written does not read back", path=file.path,
                        cure="Check the disk, and run again.",
                    )  # fmt: skip
            status = "done"
        self._written.add(path)
        self.result.faces += found.shows_face
        self.result.series.add(f"{found.study_uid}/{found.series_uid}")
        return status

    def _place(self, found: Deidentified) -> Path:
        name = f"{short_hash(found.sop_uid, _NAME_DIGITS)}.dcm"
        return self._target / found.study_uid / found.series_uid / name

    def _known(self, path: Path, found: Deidentified, file: InputFile) -> Status | None:
        """How it stands with an object that is there already; None where it is not."""
        if not os.path.lexists(path):
            return None
        with suppress(OSError):
            if not path.is_symlink() and path.read_bytes() == found.data:
                return "copy" if path in self._written else "already done"
        raise InvalidRequest(
            "another object with the same SOP Instance UID has been exported, with other content",
            cure="Export one of the two into a folder of its own.", path=file.path,
        )  # fmt: skip


def _is_object(file: InputFile) -> bool:
    """Is a file a DICOM object, or does it claim to be?"""
    if not os.path.isfile(file.path):
        raise UnreadableInput("it cannot be opened", cure="Check its permissions.", path=file.path)
    found = detect(file.path)
    if found is Format.DICOM:
        return not is_directory(file.path)
    return found is None and claimed_format(file.path) is Format.DICOM


def _check_places(roots: Sequence[str], target: Path, uid_map: PathLike | None) -> None:
    """Refuse folders within each other, a map among the results, and results of others."""
    for root in roots:
        place = Path(os.path.realpath(root))
        if target.is_relative_to(place) or place.is_relative_to(target):
            raise InvalidRequest(
                "the output folder and the input lie within each other", path=root,
                cure="Name an output folder elsewhere.",
            )  # fmt: skip
    if os.path.lexists(target) and not target.is_dir():
        raise InvalidRequest("the output is not a folder", cure="Name another one.", path=target)
    if uid_map is not None:
        place = Path(os.path.realpath(uid_map))
        if place.is_relative_to(target):
            raise InvalidRequest(
                "the UID map lies within the output folder, so it would be given away with it",
                cure="Name a file elsewhere, where only you can read.", path=uid_map,
            )  # fmt: skip
        if place.is_dir():
            raise InvalidRequest("the UID map is a folder", cure="Name a file.", path=uid_map)
    elif target.is_dir() and any(target.iterdir()):
        raise InvalidRequest(
            "the output folder is not empty, and without the UID map of the earlier run nothing "
            "can be added to it",
            cure="Name a new folder, or add --uid-map with that map.", path=target,
        )  # fmt: skip
