"""InputFile: the files below folders, each once, results of ours left out."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, cast

from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import PathLike
from unetr_app.outputs import LABEL_MAP, MANIFEST, MEASUREMENTS

_RESULT_FILES = {LABEL_MAP, "labels.nii", "labels.nrrd", "labels.mha", MEASUREMENTS}


@dataclass(frozen=True)
class InputFile:
    """A file, a folder that cannot be listed, or a link that leads nowhere.

    Args:
        path: As it was given or found.
        real: Where it really is, links followed.
        named: Whether the user named it itself.
    """

    path: str
    real: str
    named: bool


def find_files(roots: Iterable[PathLike]) -> list[InputFile]:
    """Every file once, under the first of its names in alphabetical order.

    Below a folder that holds a ``manifest.jsonl`` of ours, the folders of its cases are left out,
    except for files that the manifest names as inputs.

    Args:
        roots: Files and folders.

    Raises:
        InvalidRequest: If a path does not exist.
    """
    files: dict[str, InputFile] = {}
    for root in roots:
        path = os.fspath(root)
        if os.path.isdir(path):
            found = [InputFile(p, os.path.realpath(p), False) for p in _walk(path)]
        elif os.path.isfile(path):
            found = [InputFile(path, os.path.realpath(path), True)]
        else:
            raise InvalidRequest(
                "there is no such file or folder", cure="Check the path.", path=path
            )
        for file in found:
            known = files.get(file.real, file)
            files[file.real] = InputFile(min(known.path, file.path), file.real,
                                     known.named or file.named)  # fmt: skip
    return sorted(files.values(), key=lambda file: file.path)


def _walk(root: str) -> Generator[str]:
    """Files below a folder, each folder entered once however many links lead there.

    A folder that cannot be listed is given itself, a link that leads nowhere too, so that neither
    is lost in silence.
    """
    seen: set[str] = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            names = sorted(os.listdir(folder))
        except OSError:
            yield folder
            continue
        results = _results_of(folder) if MANIFEST in names else None
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) or _leads_nowhere(path):
                yield path
            elif name.startswith(".") or not os.path.isdir(path):
                continue
            elif results is not None and _is_result(path, results):
                inputs = (os.path.join(path, name) for name in results.get(name, ()))
                yield from (path for path in inputs if os.path.isfile(path))
            else:
                pending.append(path)


def _leads_nowhere(path: str) -> bool:
    return os.path.islink(path) and not os.path.exists(path)


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
