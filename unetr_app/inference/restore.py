"""The restore step of our bundles: logits on the model grid to labels on the native grid.

`python -m monai.bundle run` and `Segmenter` both run these transforms, named in the bundles'
``configs/inference.yaml``, so that both give the same label map.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.folder_layout import FolderLayoutBase
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform

from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.io.formats import image_ending
from unetr_app.io.names import safe_name
from unetr_app.resample import BESIDE, restore_label_map


def model_geometry(image: MetaTensor) -> Geometry:
    """The grid of a preprocessed image (C, i, j, k)."""
    i, j, k = (int(n) for n in image.shape[1:])
    return Geometry((i, j, k), np.asarray(image.affine, dtype=np.float64))


def native_geometry(image: MetaTensor) -> Geometry:
    """The grid that a preprocessed image was loaded on."""
    i, j, k = (int(n) for n in np.asarray(image.meta["spatial_shape"])[:3])
    return Geometry((i, j, k), np.asarray(image.meta["original_affine"], dtype=np.float64))


class RestoreLabelsd(MapTransform):
    """Logits on the model grid to a label map on the native grid, both read off the image.

    Args:
        keys: Logits (L, i, j, k).
        image_key: The preprocessed image, whose metadata tell both grids.
    """

    def __init__(self, keys: Any = "pred", *, image_key: str = "image"):
        super().__init__(keys)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same dictionary with (1, I, J, K) unsigned integers under ``keys``.

        Raises:
            UnusableBundle: If a logit is not finite.
        """
        restored = dict(data)
        image: MetaTensor = restored[self.image_key]
        native = native_geometry(image)
        for key in self.key_iterator(restored):
            logits = torch.as_tensor(restored[key]).detach().float().cpu().numpy()
            if not np.isfinite(logits).all():
                raise UnusableBundle(
                    "the network gave values that are not finite",
                    cure="Look for such values in weights and image; on a GPU, try --device cpu.",
                )
            crops = any("Crop" in operation["class"] for operation in image.applied_operations)
            edge = BESIDE if crops else np.inf
            labels = restore_label_map(logits, model_geometry(image), native, edge)
            meta = {
                name: image.meta[name]
                for name in ("filename_or_obj", "original_affine", "spatial_shape", "space")
                if name in image.meta
            }
            restored[key] = MetaTensor(
                torch.from_numpy(labels[None]), affine=torch.from_numpy(native.affine.copy()),
                meta=meta,
            )  # fmt: skip
        return restored


class ResultFolders(FolderLayoutBase):
    """Names results as `unetr segment` does: ``<output_dir>/<image's name>/labels.nii.gz``.

    Images must have names of their own; no hash tells equal ones apart.

    Args:
        output_dir: Where the case folders go.
    """

    def __init__(self, output_dir: str | os.PathLike[str]):
        self.output_dir = Path(output_dir)

    def filename(self, subject: str | os.PathLike[str] = "case", **_: Any) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Path of the labels of the image ``subject``; its folder is made."""
        name = Path(subject).name
        folder = self.output_dir / safe_name(name[: len(name) - len(image_ending(name))])
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / "labels.nii.gz")
