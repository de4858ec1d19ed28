"""A data set in the Medical Segmentation Decathlon's layout: is it sound, and into which folds?"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.errors import UnetrError, UnreadableInput, UnsafeGeometry
from unetr_app.io import read_label_map, read_volume
from unetr_app.io.atomic import write_json
from unetr_app.labels import LabelSet

Progress = Callable[[int, int], None]  # cases done, cases in all


@dataclass(frozen=True)
class MsdDataset:
    """What ``dataset.json`` says, once every file has been found to agree with it.

    Args:
        folder: The data set.
        name: Its name.
        labels: What the label maps may hold.
        training: Rows of the training list: image, label, and fold where dealt.
    """

    folder: Path
    name: str
    labels: LabelSet
    training: tuple[dict[str, Any], ...]


def open_msd(folder: Path) -> MsdDataset:
    """Read ``dataset.json`` and see that its counts hold and its files exist.

    Raises:
        UnreadableInput: If it is missing, is no JSON, lacks a part, or names a file that is absent
            or lies outside of the folder.
    """
    path = folder / "dataset.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        labels = LabelSet.from_names({int(v): str(n) for v, n in about["labels"].items()})
        rows = [dict(row) for row in about["training"]]
        files = [Path(row[key]) for row in rows for key in ("image", "label")]
    except FileNotFoundError as error:
        raise UnreadableInput(
            "it holds no dataset.json",
            cure="Name the folder that has dataset.json, imagesTr and labelsTr in it.",
            path=folder,
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableInput(
            f"this is no Decathlon table: {type(error).__name__} {error}",
            cure="It needs labels (value to name) and training (a list of image and label).",
            path=path,
        ) from error
    stated = about.get("numTraining", len(rows))
    if stated != len(rows):
        raise UnreadableInput(f"it states {stated} cases and lists {len(rows)}", path=path)
    root = folder.resolve()
    for file in files:
        whole = (root / file).resolve()
        if not whole.is_relative_to(root):
            raise UnreadableInput(f"it names {str(file)!r}, outside of its folder", path=path)
        if not whole.is_file():
            raise UnreadableInput(
                f"it names {str(file)!r}, which is not there", cure="Fetch it anew.", path=path
            )
    return MsdDataset(folder, str(about.get("name", folder.name)), labels, tuple(rows))


def verify(dataset: MsdDataset, *, progress: Progress | None = None) -> list[UnetrError]:
    """Read every image and label map to the end; the faults found, none if all is well.

    A case is sound if both files can be read, they lie on the same grid, and the label map holds
    known labels only.
    """
    faults: list[UnetrError] = []
    for done, row in enumerate(dataset.training, start=1):
        image, label = dataset.folder / row["image"], dataset.folder / row["label"]
        try:
            volume = read_volume(image, channel=0)
            truth = read_label_map(label, dataset.labels)
            if not truth.geometry.is_close(volume.geometry):
                faults.append(
                    UnsafeGeometry(
                        f"its grid {truth.geometry.shape} is not that of the image, "
                        f"{volume.geometry.shape}, or lies elsewhere",
                        path=label,
                    )
                )
        except UnetrError as error:
            faults.append(error)
        if progress is not None:
            progress(done, len(dataset.training))
    return faults


def deal_folds(dataset: MsdDataset, *, folds: int = 5, seed: int = 0) -> bool:
    """Write a fold for every case into ``dataset.json``; False where they are there already.

    The cases, sorted by name, are shuffled with ``seed`` and dealt in turn, so the folds depend on
    the names and the seed alone and differ in size by one case at most.

    Raises:
        UnreadableInput: If some cases have a fold and others do not.
    """
    dealt = [row for row in dataset.training if "fold" in row]
    path = dataset.folder / "dataset.json"
    if dealt:
        if len(dealt) < len(dataset.training):
            raise UnreadableInput(
                f"{len(dealt)} of {len(dataset.training)} cases have a fold",
                cure="Give every case a fold, or take the folds away to have them dealt.",
                path=path,
            )
        return False
    names = sorted(str(row["image"]) for row in dataset.training)
    order = np.random.default_rng(seed).permutation(len(names))
    fold_of = {names[n]: place % folds for place, n in enumerate(order)}
    about = json.loads(path.read_text(encoding="utf-8"))
    for row in about["training"]:
        row["fold"] = fold_of[str(row["image"])]
    write_json(path, about)
    return True
