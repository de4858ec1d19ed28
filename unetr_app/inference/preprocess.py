"""Preprocess: a volume to the model grid, by a bundle's own steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from numpy.typing import NDArray

from unetr_app.bundle import Bundle
from unetr_app.inference.restore import model_geometry
from unetr_app.inference.way_home import Step
from unetr_app.volume import Volume


def preprocess(bundle: Bundle, volume: Volume) -> tuple[dict[str, Any], list[Step]]:
    """Apply a bundle's preprocessing; what it does at random is the same each time.

    Args:
        bundle: An opened bundle.
        volume: (C, I, J, K) on its native grid.

    Returns:
        What the preprocessing gives: under the bundle's ``image_key`` a `MetaTensor` (C, i, j, k)
        on the model grid. And where the image was before, and after each step.
    """
    keys = bundle.input_keys
    channels = [volume.data] if len(keys) == 1 else np.split(volume.data, len(keys))
    images = {key: _placed(data, volume) for key, data in zip(keys, channels, strict=True)}
    data: Any = images
    taken = [Step(volume.geometry)]
    noted = 0
    steps: Any = bundle.preprocessing.transforms
    for step in steps:
        alone = Compose([step])  # at whose end is done what the step puts off
        alone.set_random_state(seed=0)
        data = alone(data)
        image = data.get(bundle.image_key, data.get(keys[0]))
        if isinstance(image, MetaTensor) and image.ndim == 4:
            operations = image.applied_operations
            taken.append(Step(model_geometry(image), tuple(operations[noted:])))
            noted = len(operations)
    return dict(data), taken


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
