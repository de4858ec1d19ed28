"""The table of decoders: name to class.

A decoder is built from ``(spatial_dims, in_channels, channels, strides, **options)``, the first
two of the image and the others of its encoder. It publishes the ``channels`` and ``strides`` of
what ``forward(image, maps)`` returns, finest first. Where the finest stride is not 1, the network
up-samples the head's logits to the image.
"""

from __future__ import annotations

from torch import nn

from unetr_app.networks.decoders.mlp import MlpDecoder
from unetr_app.networks.decoders.unetr import UnetrDecoder

DECODERS: dict[str, type[nn.Module]] = {
    "unetr": UnetrDecoder,
    "mlp": MlpDecoder,
}

__all__ = ["DECODERS", "MlpDecoder", "UnetrDecoder"]
