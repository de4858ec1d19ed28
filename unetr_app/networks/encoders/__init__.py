"""The table of encoders: name to class.

An encoder is a module with two tuples and one method, and decoders use nothing else:

* ``channels``: channels of each map it returns, finest map first;
* ``strides``: input voxels per voxel of each map, one integer an axis, finest map first;
* ``forward(x)``: (B, C, spatial...) to a list of maps, one for each entry of the two tuples.
"""

from __future__ import annotations

from torch import nn

from unetr_app.networks.encoders.convmixer import ConvMixer
from unetr_app.networks.encoders.mixer import MlpMixer
from unetr_app.networks.encoders.mvit import MultiscaleVisionTransformer
from unetr_app.networks.encoders.pvt import PyramidVisionTransformer
from unetr_app.networks.encoders.resnet import ResidualEncoder
from unetr_app.networks.encoders.segformer import SegFormer
from unetr_app.networks.encoders.swin import SwinEncoder
from unetr_app.networks.encoders.timesformer import TimeSformer
from unetr_app.networks.encoders.vit import VisionTransformer
from unetr_app.networks.encoders.xcit import XCiT

ENCODERS: dict[str, type[nn.Module]] = {
    "convmixer": ConvMixer,
    "mixer": MlpMixer,
    "mvit": MultiscaleVisionTransformer,
    "pvt": PyramidVisionTransformer,
    "resnet": ResidualEncoder,
    "segformer": SegFormer,
    "swin": SwinEncoder,
    "timesformer": TimeSformer,
    "vit": VisionTransformer,
    "xcit": XCiT,
}

__all__ = [
    "ENCODERS",
    "ConvMixer",
    "MlpMixer",
    "MultiscaleVisionTransformer",
    "PyramidVisionTransformer",
    "ResidualEncoder",
    "SegFormer",
    "SwinEncoder",
    "TimeSformer",
    "VisionTransformer",
    "XCiT",
]
