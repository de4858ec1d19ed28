"""What the review tests share: an output folder and lists, with images that differ per case."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from data.phantom import oblique_geometry, phantom
from data.phantom_files import write_nifti
from tests.napari_out import add_case, write_image
from unetr_app.review.desk import Desk
from unetr_app.review.editing.change import Change
from unetr_app.volume import Segmentation, Volume

SHAPE = (24, 28, 16)


def made(seed: int = 0) -> tuple[Volume, Segmentation]:
    """An oblique, anisotropic phantom of two labels."""
    return phantom(oblique_geometry(SHAPE), seed=seed)


def write_out(root: Path, count: int = 2) -> Path:
    """``root/out`` with cases ``case_1`` and so on, of images in ``root/images``."""
    for n in range(1, count + 1):
        found = made(n)
        image = write_image(root / "images" / f"case_{n}.nii.gz", found[0])
        add_case(root / "out", image, found, case_id=f"case_{n}", input_hash="right")
    return root / "out"


def write_pair(folder: Path, name: str, seed: int = 0) -> tuple[Path, Path]:
    """``name.nii.gz`` beside ``name_seg.nii.gz``."""
    volume, labels = made(seed)
    image = write_image(folder / f"{name}.nii.gz", volume)
    data = labels.label_map.astype(np.uint8)
    return image, write_nifti(data, labels.geometry, folder / f"{name}_seg.nii.gz")


def paint(desk: Desk, begin: int, count: int = 5, value: int = 1, name: str = "brush") -> None:
    """A stroke over voxels in a row that do not have the value yet."""
    flat = desk.history.data.reshape(-1)
    free = np.flatnonzero(flat[begin:] != value)[:count] + begin
    where = free.astype(np.int64)
    after = np.full(len(where), value, flat.dtype)
    desk.history.apply(Change(name, where, flat[where].copy(), after))


def voxels(desk: Desk) -> np.ndarray[Any, Any]:
    """The labels under edit, copied."""
    return desk.history.data.copy()
