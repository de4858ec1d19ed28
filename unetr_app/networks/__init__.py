"""Networks: encoders, decoders, and the checkpoints that fill them."""

from __future__ import annotations

from unetr_app.networks.decoders import DECODERS
from unetr_app.networks.encoders import ENCODERS
from unetr_app.networks.pretrained.checkpoint import network_from_checkpoint
from unetr_app.networks.segmentation import SegmentationNetwork, build_network

__all__ = [
    "DECODERS",
    "ENCODERS",
    "SegmentationNetwork",
    "build_network",
    "network_from_checkpoint",
]
