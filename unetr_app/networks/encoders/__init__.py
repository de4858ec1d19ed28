"""The table of encoders: name to class.

An encoder is a module with two tuples and one method, and decoders use nothing else:

* ``channels``: channels of each map it returns, finest map first;
* ``strides``: input voxels per voxel of each map, one integer an axis, finest map first;
* ``forward(x)``: (B, C, spatial...) to a list of maps, one for each entry of the two tuples.
"""

from __future__ import annotations

from torch import nn

from unetr_app.networks.encoders.vit import VisionTransformer

ENCODERS: dict[str, type[nn.Module]] = {
    "vit": VisionTransformer,
}

__all__ = ["ENCODERS", "VisionTransformer"]
