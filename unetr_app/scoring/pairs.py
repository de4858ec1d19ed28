"""Pairs: which prediction belongs to which reference, by case id."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.errors import InvalidRequest
from unetr_app.io.formats import IMAGE_ENDINGS, image_ending
from unetr_app.io.names import safe_name
from unetr_app.outputs import LABEL_MAP, read_manifest

ENDINGS = tuple(ending for ending in IMAGE_ENDINGS if ending != ".dcm")


@dataclass(frozen=True)
class Pair:
    """A prediction and its reference.

    Args:
        case_id: Shared by both; nothing of a path.
        prediction: The predicted label map's file.
        reference: The reference's file.
    """

    case_id: str
    prediction: Path
    reference: Path

    @property
    def out(self) -> Path | None:
        """The output folder that the prediction lies in, where `unetr segment` wrote it."""
        return self.prediction.parent.parent if self.prediction.name == LABEL_MAP else None

    @property
    def manifest_row(self) -> dict[str, Any]:
        """What the output folder's manifest says of the prediction; empty where nothing does."""
        return read_manifest(self.out).get(self.prediction.parent.name, {}) if self.out else {}


@dataclass(frozen=True)
class Pairs:
    """What was found in a folder of predictions and a folder of references.

    Args:
        matched: In order of case id.
        only_predicted: Ids of predictions without a reference.
        only_reference: Ids of references without a prediction.
    """

    matched: tuple[Pair, ...]
    only_predicted: tuple[str, ...] = ()
    only_reference: tuple[str, ...] = ()


def case_id_of(file_name: str) -> str:
    """The id of a file's case, as `unetr segment` makes it, whatever the format.

    Args:
        file_name: Without folders; ``.seg`` before the ending (3D Slicer) is left out.

    Example:
        >>> case_id_of("case_7.seg.nrrd")
        'case_7'
    """
    stem = file_name[: len(file_name) - len(image_ending(file_name))]
    return safe_name(stem.removesuffix(".seg") or stem)


def find_pairs(prediction: str | os.PathLike[str], reference: str | os.PathLike[str]) -> Pairs:
    """Match label maps by case id: two folders, or two files whatever they are called.

    A folder that holds ``<case_id>/labels.nii.gz`` (as `unetr segment` writes them) is read as
    such; any other by its files ``<case_id>.nii.gz``, ``.nii``, ``.nrrd``, ``.mha`` or ``.mhd``.

    Args:
        prediction: Folder or file.
        reference: Folder or file.

    Raises:
        InvalidRequest: If one is missing, one is a file and the other a folder, a folder holds no
            label map, or two files of a folder have the same id.
    """
    ours, theirs = Path(prediction), Path(reference)
    for path in (ours, theirs):
        if not path.exists():
            raise InvalidRequest("there is no such file or folder", path=path)
    if ours.is_dir() != theirs.is_dir():
        raise InvalidRequest(
            "one of the two is a file and the other a folder",
            cure="Give two files, or two folders whose files have the same names.",
        )
    if not ours.is_dir():
        named = theirs if ours.name == LABEL_MAP else ours  # "labels" names no case
        return Pairs((Pair(case_id_of(named.name), ours, theirs),))
    predicted, true = label_maps(ours), label_maps(theirs)
    both = sorted(predicted.keys() & true.keys())
    return Pairs(
        tuple(Pair(case_id, predicted[case_id], true[case_id]) for case_id in both),
        tuple(sorted(predicted.keys() - true.keys())),
        tuple(sorted(true.keys() - predicted.keys())),
    )


def label_maps(folder: Path) -> dict[str, Path]:
    """The label maps of a folder by case id.

    Raises:
        InvalidRequest: If there is none, or two have the same id.
    """
    found = [(safe_name(p.parent.name), p) for p in folder.glob(f"*/{LABEL_MAP}") if p.is_file()]
    if not found:
        files = (p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
        found = [(case_id_of(p.name), p) for p in files if p.name.lower().endswith(ENDINGS)]
    maps: dict[str, Path] = {}
    for case_id, path in sorted(found):
        if case_id in maps:
            first, second = (p.relative_to(folder).as_posix() for p in (maps[case_id], path))
            raise InvalidRequest(
                f"the case {case_id} has two label maps, {first} and {second}",
                cure="Keep one of them.",
                path=folder,
            )
        maps[case_id] = path
    if not maps:
        raise InvalidRequest("the folder holds no label map", cure=_advice(folder), path=folder)
    return maps


def _advice(folder: Path) -> str:
    inner = sorted(p.name for p in folder.iterdir() if p.is_dir() and _holds_files(p))
    guess = f"Did you mean its folder {' or '.join(inner[:3])}? " if inner else ""
    return f"{guess}Needed are <case_id>/{LABEL_MAP} or <case_id>.nii.gz, .nii, .nrrd or .mha."


def _holds_files(folder: Path) -> bool:
    return any(p.name.lower().endswith(ENDINGS) for p in folder.iterdir())
