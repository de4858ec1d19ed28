"""Listed: the cases that lists name."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from unetr_app.cases.case import Case
from unetr_app.cases.case_list import read_list
from unetr_app.cases.channel_files import channel_of
from unetr_app.cases.channels import joined
from unetr_app.cases.ids import Draft, slug
from unetr_app.cases.images import find_images
from unetr_app.cases.row import Row
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io.atomic import PathLike
from unetr_app.io.formats import image_ending
from unetr_app.io.names import safe_name

_LONGEST_SHOWN = 60
_MOST_PLACES = 8


def find_listed(lists: Iterable[PathLike], channels: tuple[str, ...]) -> list[Draft]:
    """The cases that lists name; a list that cannot be read is a case with a problem.

    Args:
        lists: ``.csv`` and ``.json`` files.
        channels: Names of the bundle's channels; empty where no bundle is known.
    """
    drafts: list[Draft] = []
    seen: set[tuple[str, ...]] = set()
    once = {os.path.realpath(path): os.fspath(path) for path in lists}
    for real, path in once.items():
        try:
            rows = read_list(path, channels, lambda cell, path=path: _is_image(cell, path))
        except UnreadableInput as problem:
            drafts.append((Case(slug(path), path, "file", (path,), problem=problem), real))
            continue
        for row in _without_equal_ids(rows):
            case = _case(row, path, channels)
            named = tuple(map(os.path.realpath, case.paths))
            if row.id or case.problem is not None:
                drafts.append((case, f"{real}|{row.where}"))
            elif named not in seen:  # an image of training may be one of validation too
                seen.add(named)
                drafts.append((case, "|".join(named)))
    return drafts


def _is_image(cell: str, path: str) -> bool:
    return bool(image_ending(cell)) or os.path.exists(_beside(path, cell))


def _beside(path: str, cell: str) -> str:
    return os.fspath(Path(os.path.dirname(path), cell)) if cell else ""


def _without_equal_ids(rows: Sequence[Row]) -> list[Row]:
    """The rows; those with one id become one that says where it is used."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for n, row in enumerate(rows):
        groups[row.id.casefold() or f"\0{n}"].append(row)
    return [group[0] if len(group) == 1 else _refused(group) for group in groups.values()]


def _refused(group: Sequence[Row]) -> Row:
    others = [row.where for row in group[1:]]
    shown = ", ".join(others[:_MOST_PLACES]) + (", ..." if len(others) > _MOST_PLACES else "")
    return replace(group[0], problem=f"has the same id as {shown}")


def _case(row: Row, path: str, channels: tuple[str, ...]) -> Case:
    """The case of one row."""
    fallback = safe_name(row.id or f"{Path(path).stem}-{row.where.replace(', ', '-')}")
    try:
        if row.problem:
            raise UnreadableInput(row.problem, cure="Correct the list.")
        images = [_image(_beside(path, cell)) for cell in row.images]
    except UnetrError as problem:
        return _broken(row, path, fallback, _at(row, path, problem))
    case = _joined(images, row, channels)
    name = channel_of(images[0].input) if len(images) > 1 and images[0].kind == "file" else None
    case_id = fallback if row.id else safe_name(name[0]) if name else case.id
    problem = case.problem and _at(row, path, case.problem)
    return replace(case, id=case_id, input=_input(row, path), problem=problem)


def _broken(row: Row, path: str, case_id: str, problem: UnetrError) -> Case:
    images = [_beside(path, cell) for cell in row.images if _is_a_name(cell)]
    there = tuple(dict.fromkeys(image for image in images if os.path.isfile(image)))
    return Case(case_id, _input(row, path), "file", there or (path,), problem=problem)


def _input(row: Row, path: str) -> str:
    """The list itself where a row has several images: it is what says how they belong together.

    So the input is the same whatever becomes of the row, and leads back to all of its images.
    """
    alone = len(row.images) == 1 and _is_a_name(row.images[0])
    return _beside(path, row.images[0]) if alone else path


def _is_a_name(cell: str) -> bool:
    """Can it be the name of a file?"""
    try:
        return bool(cell) and b"\0" not in os.fsencode(cell)
    except UnicodeEncodeError:
        return False


def _joined(images: Sequence[Case], row: Row, channels: tuple[str, ...]) -> Case:
    if channels:
        return joined(images, channels)
    names = row.channels or tuple(f"channel_{n}" for n in range(len(images)))
    return joined(images, names, known=False)


def _image(path: str) -> Case:
    """The only image of a file or folder.

    Raises:
        UnreadableInput: If it is not there, or there is none, or several.
    """
    if not os.path.isfile(path) and not os.path.isdir(path):
        raise UnreadableInput(
            f"{_shown(path)} is not there",
            cure="Check the path; one that is relative starts from the folder of the list.",
        )
    found = [case for case, _ in find_images([path]).drafts]
    if len(found) != 1:
        raise UnreadableInput(
            f"{_shown(path)} holds {len(found) or 'no'} images, where one is needed",
            cure="Name a file, or the folder of one series.",
        )
    return found[0]


def _at(row: Row, path: str, problem: UnetrError) -> UnetrError:
    """The problem with its place in the list."""
    return type(problem)(f"{row.where}: {problem.cause}", cure=problem.cure, path=path)


def _shown(path: str) -> str:
    name = "".join(c if c.isprintable() else "?" for c in os.path.basename(path.rstrip("/\\")))
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}..."
