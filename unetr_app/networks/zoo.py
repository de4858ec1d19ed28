"""EncoderCard: what an encoder costs and gives, before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from unetr_app.errors import InvalidRequest
from unetr_app.networks.choices import require_choice
from unetr_app.networks.encoders import ENCODERS
from unetr_app.networks.pretrained.layouts import LAYOUTS
from unetr_app.networks.tuples import as_tuple
from unetr_app.networks.without_memory import parameters_without_memory

USUAL_SIDE = 96  # voxels an axis that cards are made for

# What people call each encoder, and the paper that says what it is.
FAMILIES: dict[str, tuple[str, str]] = {
    "convmixer": ("ConvMixer", "arXiv:2201.09792"),
    "mixer": ("MLP-Mixer", "arXiv:2105.01601"),
    "mvit": ("MViTv2", "arXiv:2112.01526"),
    "pvt": ("PVT v2", "arXiv:2106.13797"),
    "resnet": ("Residual CNN", "arXiv:2404.09556"),
    "segformer": ("SegFormer (MiT)", "arXiv:2105.15203"),
    "swin": ("Swin", "arXiv:2103.14030"),
    "timesformer": ("TimeSformer", "arXiv:2102.05095"),
    "vit": ("ViT", "arXiv:2010.11929"),
    "xcit": ("XCiT", "arXiv:2106.09681"),
}


@dataclass(frozen=True)
class EncoderCard:
    """An encoder in figures.

    Args:
        name: In `ENCODERS`.
        family: What people call it.
        paper: The publication that says what it is; "" where none is stated.
        parameters: Numbers that training can change.
        flops: Floating-point operations of one forward pass of one input of shape ``roi_size``;
            a multiplication with its addition counts as two. Counted are matrix products and
            convolutions, attention among them; norms, activations and interpolation are not.
        roi_size: Input shape in voxels that the encoder is laid out for.
        channels: Of its maps, finest first.
        strides: Of its maps, finest first, one number an axis.
        layouts: Names of the source layouts whose checkpoints fill it, its own before others that
            are brought into its form.
    """

    name: str
    family: str
    paper: str
    parameters: int
    flops: int
    roi_size: tuple[int, ...]
    channels: tuple[int, ...]
    strides: tuple[tuple[int, ...], ...]
    layouts: tuple[str, ...]


def encoder_card(
    name: str,
    *,
    in_channels: int = 1,
    roi_size: int | Sequence[int] | None = None,
    spatial_dims: int = 3,
    **options: Any,
) -> EncoderCard:
    """Find out what an encoder costs and gives, without memory for it or computing anything.

    Args:
        name: In `ENCODERS`.
        in_channels: Channels of the input.
        roi_size: Input shape in voxels. Where absent 96 along every axis, or the next larger
            number that the encoder takes.
        spatial_dims: 2 or 3.
        options: Arguments of the encoder's class.

    Raises:
        InvalidRequest: If there is no such encoder, or it cannot be built so.

    Example:
        >>> card = encoder_card("vit", roi_size=32, patch_size=8, embed_dim=24, num_heads=2)
        >>> card.strides
        ((8, 8, 8), (8, 8, 8), (8, 8, 8), (8, 8, 8))
    """
    require_choice(name, sorted(ENCODERS), "encoder")
    sides = range(USUAL_SIDE, 2 * USUAL_SIDE) if roi_size is None else (roi_size,)
    sizes = [as_tuple(side, spatial_dims, "roi_size") for side in sides]
    size, encoder = _laid_out(name, in_channels, sizes, {"spatial_dims": spatial_dims, **options})
    family, paper = FAMILIES.get(name, (ENCODERS[name].__name__, ""))
    return EncoderCard(
        name=name,
        family=family,
        paper=paper,
        parameters=count_parameters(encoder),
        flops=_count_flops(encoder, (1, in_channels, *size)),
        roi_size=size,
        channels=encoder.channels,
        strides=encoder.strides,
        layouts=layouts_of(name),
    )


def layouts_of(name: str) -> tuple[str, ...]:
    """Names of the source layouts whose checkpoints fill an encoder, its own first.

    Example:
        >>> layouts_of("xcit")
        ('timm XCiT',)
    """
    serving = [layout for layout in LAYOUTS if name in layout.FILLS]
    return tuple(layout.NAME for layout in sorted(serving, key=lambda its: its.FILLS.index(name)))


def count_parameters(encoder: nn.Module) -> int:
    """Numbers that training can change; batch norms' running statistics are none."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def _laid_out(
    name: str, in_channels: int, sizes: Sequence[tuple[int, ...]], options: dict[str, Any]
) -> tuple[tuple[int, ...], Any]:
    """The first of the sizes that the encoder takes, and the encoder, its tensors without memory.

    Raises:
        InvalidRequest: If it takes none; what it says of the first.
    """
    build: Any = ENCODERS[name]
    refusals: list[InvalidRequest] = []
    for size in sizes:
        try:
            with parameters_without_memory():
                encoder: nn.Module = build(in_channels, size, **options)
        except InvalidRequest as error:
            refusals.append(error)
        else:
            return size, encoder.to("meta").eval()
    raise refusals[0]


def _count_flops(encoder: nn.Module, shape: tuple[int, ...]) -> int:
    """Of one forward pass of an encoder on the meta device; ``shape`` is (B, C, spatial...)."""
    x: Tensor = torch.empty(shape, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(x)
    return counter.get_total_flops()
