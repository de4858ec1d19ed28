"""TrainingCase: an image with its labels, as a data set in MSD's layout lists it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unetr_app.errors import InvalidRequest, UnreadableInput
from unetr_app.labels import LabelSet

INDEX = "dataset.json"
_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class TrainingCase:
    """One image with its labels.

    Args:
        id: Name of the image without its ending; for the screen alone, as others may have named it.
        image: NIfTI file.
        label: NIfTI file, a label map on the image's grid.
        subject: Whose it is; the id where the data set does not say.
        fold: The part of the data set that it was dealt to; None where that is not said.
    """

    id: str
    image: Path
    label: Path
    subject: str
    fold: int | None


def dataset_folder(path: Path) -> Path:
    """The folder of a data set that may be named by its ``dataset.json`` too."""
    return path.parent if path.name == INDEX and path.is_file() else path


def read_dataset(folder: Path) -> tuple[list[TrainingCase], LabelSet]:
    """The cases and the labels of a data set in the layout of the Medical Segmentation Decathlon.

    Args:
        folder: Holds ``dataset.json``, as ``unetr dataset`` makes it.

    Raises:
        InvalidRequest: If there is none, or it names no case or no label.
        UnreadableInput: If it is damaged, lists files that are missing, or lists a case twice.
    """
    index = folder / INDEX
    if not index.is_file():
        raise InvalidRequest(
            "the folder holds no dataset.json, so it is no data set",
            cure="Make one: unetr dataset, or the export of reviewed cases.", path=folder,
        )  # fmt: skip
    try:
        content = json.loads(index.read_text(encoding="utf-8"))
        cases = [_case(folder.resolve(), row) for row in content["training"]]
        labels = _labels(content["labels"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableInput(
            "the lists 'training' and 'labels' of a data set cannot be read from it", path=index,
            cure="Make it again with unetr dataset.",
        ) from error  # fmt: skip
    missing = [p for case in cases for p in (case.image, case.label) if not p.is_file()]
    if missing:
        raise UnreadableInput(
            f"of the files that it lists {len(missing)} are not there, first {missing[0].name}",
            cure="Make or unpack the data set again.", path=index,
        )  # fmt: skip
    ids = [case.id for case in cases]
    twice = next((one for one in ids if ids.count(one) > 1), "")
    if twice:
        raise UnreadableInput(
            f"it lists the case {twice} twice", cure="Take one of them out.", path=index
        )
    if not cases or not len(labels):
        raise InvalidRequest(
            "the data set has no case or no label", cure="Make it again.", path=index
        )
    return sorted(cases, key=lambda case: case.id), labels


def _case(root: Path, row: dict[str, Any]) -> TrainingCase:
    image, label = root / str(row["image"]), root / str(row["label"])
    ending = next((e for e in _ENDINGS if image.name.lower().endswith(e)), "")
    name = image.name[: len(image.name) - len(ending)]
    fold = row.get("fold")
    return TrainingCase(
        name, image, label, str(row.get("subject", name)), None if fold is None else int(fold)
    )


def _labels(table: dict[str, Any]) -> LabelSet:
    """From ``{"1": "liver"}``, or ``{"liver": 1}`` as nnU-Net writes it."""
    named = {
        (int(key), str(value)) if str(key).isdecimal() else (int(value), str(key))
        for key, value in table.items()
    }
    return LabelSet.from_names(dict(sorted(named)))
