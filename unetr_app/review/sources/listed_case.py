"""ListedCase: an entry made of what a list says of a case in words."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from unetr_app.cases import Case, find_cases
from unetr_app.cases.ids import stem
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io.formats import claimed_format
from unetr_app.labels import LabelSet
from unetr_app.review.sources.entry import Entry, no_image
from unetr_app.review.sources.files_of_labels import FilesOfLabels

WORDS = {
    "id": ("id", "case", "case_id"),
    "image": ("image",),
    "labels": ("labels", "label"),
    "second": ("second", "prediction"),
    "uncertainty": ("uncertainty",),
    "bundle": ("bundle",),
    "seg": ("seg",),
    "subject": ("subject", "patient"),
    "modality": ("modality",),
}
"""What a list may say of a case, and how it may call that; paths start from the list's folder."""


def listed_case(
    cells: Mapping[str, str], folder: Path, where: str, known: LabelSet | None = None
) -> Entry:
    """The entry of one row.

    ``labels`` is what is reviewed, and ``second`` (or ``prediction``) what it is compared with; a
    row with the one alone has it reviewed. Several files of labels are separated by ``|``.

    Args:
        cells: By lower-case name of the column; see `WORDS`.
        folder: Where relative paths start from.
        where: The row's place in the list, such as ``line 3``.
        known: What the values of label maps mean.
    """
    said = {key: _said(cells, names) for key, names in WORDS.items()}
    labels, second = said["labels"] or said["second"], said["second"] if said["labels"] else ""
    paths = tuple(_beside(folder, part) for part in labels.split("|") if part.strip())
    image = _beside(folder, said["image"]) if said["image"] else ""
    mean, map_path = _uncertainty(said["uncertainty"], folder)
    named_after = said["image"] or next(iter(paths), "")
    return Entry(
        said["id"] or (stem(named_after) if named_after else where.replace(" ", "-")),
        FilesOfLabels(paths, known),
        partial(image_at, image) if image else no_image,
        kind=_kind(image),
        modality=said["modality"],
        second=FilesOfLabels((_beside(folder, second),), known) if second else None,
        uncertainty=map_path,
        mean_uncertainty=mean,
        bundle={"name": said["bundle"]} if said["bundle"] else {},
        seg=Path(_beside(folder, said["seg"])) if said["seg"] else _seg_among(paths),
        subject=f"subject {said['subject']}" if said["subject"] else "",
        problem=_problem(paths, where),
        warnings=() if not image or os.path.exists(image) else (f"{where}: the image is gone",),
    )


def refused(where: str, problem: UnetrError) -> Entry:
    """The entry of a row that cannot be read."""
    return Entry(where.replace(" ", "-"), FilesOfLabels(()), problem=problem)


def image_at(path: str) -> Case:
    """The only image of a file or folder.

    Raises:
        UnreadableInput: If it is not there, or there is none, or several.
    """
    if not os.path.exists(path):
        raise UnreadableInput(
            "the image is not there", cure="Check the path in the list.", path=path
        )
    found = find_cases(path)
    if len(found) != 1:
        raise UnreadableInput(
            f"{len(found) or 'no'} images are there, where one is needed",
            cure="Name a file, or the folder of one series.", path=path,
        )  # fmt: skip
    return found[0]


def _said(cells: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((cells[name] for name in names if cells.get(name)), "")


def _beside(folder: Path, cell: str) -> str:
    return os.fspath(folder / cell.strip())


def _kind(image: str) -> str:
    claimed = claimed_format(image) if image else None
    return str(claimed) if claimed else ("dicom-series" if os.path.isdir(image) else "")


def _uncertainty(cell: str, folder: Path) -> tuple[float | None, Path | None]:
    """A number, or the path of a map."""
    if not cell:
        return None, None
    try:
        number = float(cell)
    except ValueError:
        return None, Path(_beside(folder, cell))
    return (number if math.isfinite(number) else None), None


def _seg_among(paths: tuple[str, ...]) -> Path | None:
    """A DICOM SEG that is itself what is reviewed, and so the predecessor of what is corrected."""
    from unetr_app.io.dicom.label_object import label_kind

    alone = len(paths) == 1 and paths[0].lower().endswith((".dcm", ".ima")) and paths[0]
    return Path(alone) if alone and label_kind(alone) == "seg" else None


def _problem(paths: tuple[str, ...], where: str) -> UnetrError | None:
    if not paths:
        return UnreadableInput(f"{where} names no labels", cure="Fill in the column labels.")
    gone = next((path for path in paths if not os.path.isfile(path)), None)
    if gone is None:
        return None
    return UnreadableInput(
        f"{where}: the file of labels is not there", cure="Check the path in the list.", path=gone
    )
