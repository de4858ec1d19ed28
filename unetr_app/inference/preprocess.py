"""Preprocess: a volume to the model grid, by a bundle's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray

from unetr_app.bundle import Bundle
from unetr_app.volume import Volume


def preprocess(bundle: Bundle, volume: Volume) -> dict[str, Any]:
    """Apply a bundle's preprocessing.

    Args:
        bundle: An opened bundle.
        volume: (C, I, J, K) on its native grid.

    Returns:
        What the preprocessing gives: under the bundle's ``image_key`` a `MetaTensor` (C, i, j, k)
        on the model grid.
    """
    keys = bundle.input_keys
    channels = [volume.data] if len(keys) == 1 else np.split(volume.data, len(keys))
    images = {key: _placed(data, volume) for key, data in zip(keys, channels, strict=True)}
    data: Any = bundle.preprocessing(images)
    return dict(data)


def _placed(data: NDArray[np.float32], volume: Volume) -> MetaTensor:
    """(C, I, J, K) with what MONAI's readers would say of it."""
    affine = volume.geometry.affine.copy()
    return MetaTensor(
        torch.from_numpy(np.array(data)),
        affine=torch.from_numpy(affine),
        meta={
            "original_affine": affine,
            "spatial_shape": np.asarray(volume.geometry.shape),
            "original_channel_dim": 0,
            "space": "RAS",
        },
    )
