"""Preprocess: a volume to the model grid, by a bundle's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from unetr_app.bundle import Bundle
from unetr_app.volume import Volume


def preprocess(bundle: Bundle, volume: Volume) -> dict[str, Any]:
    """Apply a bundle's preprocessing.

    Args:
        bundle: An opened bundle.
        volume: (C, I, J, K) on its native grid.

    Returns:
        What the preprocessing gives: ``image`` is a `MetaTensor` (C, i, j, k) on the model grid.
    """
    affine = volume.geometry.affine.copy()
    image = MetaTensor(
        torch.from_numpy(np.array(volume.data)),
        affine=torch.from_numpy(affine),
        meta={
            "original_affine": affine,
            "spatial_shape": np.asarray(volume.geometry.shape),
            "original_channel_dim": 0,
            "space": "RAS",
        },
    )
    data: Any = bundle.preprocessing({"image": image})
    return dict(data)
