"""The table of source layouts: whose key names a checkpoint may have.

A layout is a module with a ``NAME``, the encoders that it ``FILLS``, a function
``recognises(keys)`` that tells from the names of the tensors alone whether a file is of that
layout, and a function ``read(checkpoint)`` that tells it in our words, as a `Source`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from unetr_app.networks.pretrained.layouts import (
    facebook_timesformer,
    hf_pvt,
    hf_segformer,
    hf_timesformer,
    hf_vit,
    monai_swin,
    monai_vit,
    nvlabs_segformer,
    timm_convmixer,
    timm_mixer,
    timm_mvit,
    timm_pvt,
    timm_vit,
    timm_xcit,
    torchvision_mvit,
)
from unetr_app.networks.pretrained.source import Checkpoint, Source


class Layout(Protocol):
    """What a module of this table has."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """Whose key names they are, in words; the publisher first."""
        ...

    @property
    def FILLS(self) -> tuple[str, ...]:  # noqa: N802 - a constant of the module
        """Names in `ENCODERS`: the usual first, then others that are built when asked for."""
        ...

    def recognises(self, keys: Collection[str]) -> bool:
        """Are the names of a file's tensors of this layout?"""
        ...

    def read(self, checkpoint: Checkpoint) -> Source:
        """The checkpoint in our words."""
        ...


LAYOUTS: tuple[Layout, ...] = (
    facebook_timesformer,
    hf_pvt,
    hf_segformer,
    hf_timesformer,
    hf_vit,
    monai_swin,
    monai_vit,
    nvlabs_segformer,
    timm_convmixer,
    timm_mixer,
    timm_mvit,
    timm_pvt,
    timm_vit,
    timm_xcit,
    torchvision_mvit,
)
