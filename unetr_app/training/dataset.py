"""Data sets in the layout of the Medical Segmentation Decathlon, and folders of images."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from unetr_app.errors import InvalidRequest, UnreadableInput

PathLike = str | os.PathLike[str]
Item = dict[str, str]

_IMAGE = re.compile(r"^[^.].*\.nii(\.gz)?$", re.IGNORECASE)


def read_msd(
    dataset_dir: PathLike, folds: Sequence[int], *, limit: int | None = None
) -> list[Item]:
    """Image and label paths of the training cases in some folds of an MSD data set.

    The layout is that of the Medical Segmentation Decathlon (Antonelli et al. 2022,
    doi:10.1038/s41467-022-30695-9): ``dataset.json`` lists ``training`` pairs of ``image`` and
    ``label``. A pair's ``fold`` is read where it is there; else pairs are dealt to five folds in
    the order of their names.

    Args:
        dataset_dir: Folder that holds ``dataset.json``.
        folds: The folds wanted.
        limit: At most so many cases, spread evenly over the folds' list; all where absent.

    Returns:
        One ``{"image": path, "label": path}`` a case, in order of name.

    Raises:
        InvalidRequest: If there is no ``dataset.json`` or the folds hold no case.
        UnreadableInput: If ``dataset.json`` is not in this layout or lists files that are missing.
    """
    root = Path(dataset_dir)
    index = root / "dataset.json"
    if not index.is_file():
        raise InvalidRequest(
            f"the folder {root.name!r} holds no dataset.json",
            cure="Give --dataset_dir a data set in the layout of the Medical Segmentation "
            "Decathlon; data/README.md says where to get one.",
        )
    try:
        pairs = json.loads(index.read_text(encoding="utf-8"))["training"]
        rows = sorted(
            ((str(p["image"]), str(p["label"]), p.get("fold")) for p in pairs), key=lambda r: r[:2]
        )
        dealt = [n % 5 if fold is None else int(fold) for n, (*_, fold) in enumerate(rows)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableInput(
            "no list 'training' of image and label pairs is in it", path=index
        ) from error
    items = [
        {"image": str(root / image), "label": str(root / label)}
        for (image, label, _), fold in zip(rows, dealt, strict=True)
        if fold in set(folds)
    ]
    if not items:
        raise InvalidRequest(f"folds {list(folds)} hold no case", path=index)
    missing = [path for item in items for path in item.values() if not Path(path).is_file()]
    if missing:
        raise UnreadableInput(
            f"{len(missing)} files that it lists are not there, first {Path(missing[0]).name}",
            cure="Fetch or unpack the data set again.",
            path=index,
        )
    if limit is None or limit >= len(items):
        return items
    return [items[n * len(items) // limit] for n in range(limit)]


def list_images(dataset_dir: PathLike) -> list[Item]:
    """The NIfTI images of a folder (not of its subfolders), as ``{"image": path}``.

    Empty where there are none, so that a bundle can be checked without data; see `require_images`.
    """
    found = sorted(p for p in Path(dataset_dir).glob("*") if _IMAGE.search(p.name))
    return [{"image": str(p)} for p in found]


def require_images(images: Sequence[Item], dataset_dir: PathLike) -> None:
    """Refuse to run on nothing.

    Args:
        images: What `list_images` found.
        dataset_dir: Where.

    Raises:
        InvalidRequest: If there are none.
    """
    if not images:
        raise InvalidRequest(
            f"the folder {Path(dataset_dir).name!r} holds no .nii or .nii.gz image",
            cure="Give --dataset_dir a folder of NIfTI images.",
        )
