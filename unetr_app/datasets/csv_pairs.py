"""Pairs of a list: a CSV file with the columns image and label, and case and subject if wanted."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from unetr_app.cases import Case, survey
from unetr_app.datasets.dicom_pairs import subject_of
from unetr_app.datasets.label_file import LabelFile
from unetr_app.datasets.pair import Pair, Unmatched
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io.integrity import open_input
from unetr_app.io.names import safe_name

_MOST_BYTES = 2**26
_SUBJECT = ("subject", "patient")
_CURE = "Give it a header with image and label, and a line for each case."


def is_csv(path: str) -> bool:
    """Is it a list by its name?"""
    return path.lower().endswith(".csv") and os.path.isfile(path)


def read_csv_pairs(path: str) -> tuple[list[Pair], list[Unmatched]]:
    """The cases that a list names; relative paths start from the list's folder.

    A row may name several files of labels, separated by ``|``.

    Raises:
        UnreadableInput: If it is no such list.
    """
    pairs: list[Pair] = []
    unmatched: list[Unmatched] = []
    for line, row in _rows(path):
        try:
            pairs.append(_pair(row, path))
        except UnetrError as problem:
            said = type(problem)(f"line {line}: {problem.cause}", cure=problem.cure, path=path)
            unmatched.append(Unmatched(path, said))
    if not pairs and not unmatched:
        raise UnreadableInput("the list names no case", cure=_CURE, path=path)
    return pairs, unmatched


def _pair(row: dict[str, str], path: str) -> Pair:
    if not row["image"] or not row["label"]:
        raise UnreadableInput("image or label is empty", cure="Fill in both.")
    case = _image(_beside(path, row["image"]))
    labels: list[LabelFile] = []
    for cell in row["label"].split("|"):
        file = _beside(path, cell.strip())
        if not os.path.isfile(file):
            raise UnreadableInput("the label file is not there", cure="Check the path.", path=file)
        labels.append(LabelFile.of(file))
    named = safe_name(row["case"]) if row.get("case") else case.id
    said = next((row[word] for word in _SUBJECT if row.get(word)), "")
    subject = f"subject {said}" if said else ""
    if not subject and case.kind == "dicom-series":
        subject = subject_of(case)
    return Pair(named, case, tuple(labels), subject, case.problem)


def _image(path: str) -> Case:
    if not os.path.exists(path):
        raise UnreadableInput("the image is not there", cure="Check the path.", path=path)
    found = survey([path]).cases
    if len(found) != 1:
        raise UnreadableInput(
            f"{len(found) or 'no'} images are there, where one is needed",
            cure="Name a file, or the folder of one series.", path=path,
        )  # fmt: skip
    return found[0]


def _beside(path: str, cell: str) -> str:
    return os.fspath(Path(os.path.dirname(path), cell))


def _rows(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by lower-case name of the column."""
    try:
        with open_input(path) as file:
            text = file.read(_MOST_BYTES).decode("utf-8-sig")
        first = next((line for line in text.splitlines() if line.strip()), "")
        separator = max(",;\t", key=first.count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        header = [cell.strip().casefold() for cell in next(reader, [])]
        if not {"image", "label"} <= set(header):
            raise UnreadableInput("the list has no columns image and label", cure=_CURE, path=path)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                filled = [cell.strip() for cell in cells] + [""] * len(header)
                yield reader.line_num, dict(zip(header, filled, strict=False))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableInput("the list is no table in UTF-8", cure=_CURE, path=path) from error
