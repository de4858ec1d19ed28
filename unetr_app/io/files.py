"""InputFile: the files below folders, each once, results of ours left out."""

from __future__ import annotations

import json
import os
import stat
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import PathLike
from unetr_app.outputs import LABEL_MAP, MANIFEST, MEASUREMENTS, REVIEWS_MARK

_RESULT_FILES = {LABEL_MAP, "labels.nii", "labels.nrrd", "labels.mha", MEASUREMENTS}


@dataclass(frozen=True)
class InputFile:
    """A file, or what stands in the place of one.

    Args:
        path: As it was given or found.
        real: Where it really is, links followed; the same in every run.
        named: Whether the user named it itself.
        state: ``closed`` for a folder that cannot be listed, ``special`` for a pipe, a socket or a
            device. A link that leads nowhere is a ``file``, and opening it says so.
        member: Where it lies in an archive, if ``path`` is a copy from there; else empty.
        archive: The archive's path, as it was given or found; else empty.
    """

    path: str
    real: str
    named: bool
    state: Literal["file", "closed", "special"] = "file"
    member: str = ""
    archive: str = ""


def find_files(roots: Iterable[PathLike]) -> list[InputFile]:
    """Every file once, under the first of its names in alphabetical order.

    Below a folder that holds a ``manifest.jsonl`` of ours, the folders of its cases are left out,
    except for files that the manifest names as inputs. Folders of reviews are left out.

    Args:
        roots: Files and folders.

    Raises:
        InvalidRequest: If a path does not exist, or is neither file nor folder.
    """
    files: dict[str, InputFile] = {}
    for root in roots:
        path = os.fspath(root)
        if os.path.isdir(path):
            found: Iterable[InputFile] = _walk(path)
        elif os.path.isfile(path):
            found = [InputFile(path, os.path.realpath(path), True)]
        else:
            raise _neither(path)
        for file in found:
            known = files.get(file.real, file)
            files[file.real] = replace(file, path=min(known.path, file.path),
                                       named=known.named or file.named)  # fmt: skip
    return sorted(files.values(), key=lambda file: file.path)


def _neither(path: str) -> InvalidRequest:
    if os.path.lexists(path) and not os.path.islink(path):
        return InvalidRequest(
            "is a pipe, a socket or a device", cure="Name a file or a folder.", path=path
        )
    return InvalidRequest("there is no such file or folder", cure="Check the path.", path=path)


def _walk(root: str) -> Generator[InputFile]:
    """Files below a folder, each folder entered once however many links lead there.

    A folder that cannot be listed, or lies so deep that it cannot be named, is given itself, and
    so is a link that leads nowhere: nothing is lost in silence.
    """
    seen: set[tuple[int, int]] = set()
    pending = [(root, os.path.realpath(root))]
    while pending:
        folder, real = pending.pop()
        try:
            info = os.stat(folder)
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError:
            yield InputFile(folder, real, False, "closed")
            continue
        if any(entry.name == REVIEWS_MARK for entry in entries):
            continue
        results = _results_of(folder) if any(e.name == MANIFEST for e in entries) else None
        for entry in entries:
            path = os.path.join(folder, entry.name)
            there = os.path.realpath(path) if entry.is_symlink() else os.path.join(real, entry.name)
            kind = _kind(entry)
            if kind != "folder":
                yield InputFile(path, there, False, kind)
            elif entry.name.startswith("."):
                continue
            elif results is not None and _is_result(path, results):
                inputs = (os.path.join(path, name) for name in results.get(entry.name, ()))
                yield from (
                    InputFile(p, os.path.realpath(p), False) for p in inputs if os.path.isfile(p)
                )
            else:
                pending.append((path, there))


def _kind(entry: os.DirEntry[str]) -> Literal["file", "folder", "special"]:
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        mode = entry.stat().st_mode
    except OSError:  # a link that leads nowhere, or round in a circle
        return "file"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "special"


def _results_of(folder: str) -> dict[str, set[str]] | None:
    """For each case of a folder of results, the names of its inputs; None if it is none of ours."""
    results: dict[str, set[str]] = defaultdict(set)
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                row = _row(line)
                if row is not None:
                    results[str(row["case_id"])].add(os.path.basename(str(row.get("input", ""))))
    except OSError:
        return None
    return results or None


def _row(line: str) -> dict[str, Any] | None:
    try:
        row: object = json.loads(line)
    except ValueError:  # the last line of a killed run may be torn
        return None
    if not isinstance(row, dict) or not {"case_id", "status"} <= row.keys():
        return None
    return cast("dict[str, Any]", row)


def _is_result(folder: str, results: dict[str, set[str]]) -> bool:
    if os.path.basename(folder) in results:
        return True
    try:
        return not _RESULT_FILES.isdisjoint(os.listdir(folder))
    except OSError:
        return False
