"""Networks: encoders, decoders, and the checkpoints that fill them."""

from __future__ import annotations

from unetr_app.networks.decoders import DECODERS
from unetr_app.networks.encoders import ENCODERS
from unetr_app.networks.pretrained.checkpoint import network_from_checkpoint
from unetr_app.networks.pretrained.encoder import encoder_from_checkpoint, load_pretrained
from unetr_app.networks.pretrained.report import LoadReport, TensorRecord
from unetr_app.networks.segmentation import SegmentationNetwork, build_network

__all__ = [
    "DECODERS",
    "ENCODERS",
    "LoadReport",
    "SegmentationNetwork",
    "TensorRecord",
    "build_network",
    "encoder_from_checkpoint",
    "load_pretrained",
    "network_from_checkpoint",
]
