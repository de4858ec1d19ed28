"""SegmentationNetwork: an encoder, a decoder and a head."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.networks.blocks.dynunet_block import UnetOutBlock
from torch import Tensor, nn
from torch.nn import functional

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.choices import options_of, require_choice, require_options
from unetr_app.networks.decoders import DECODERS
from unetr_app.networks.encoders import ENCODERS
from unetr_app.networks.pretrained.encoder import encoder_from_checkpoint
from unetr_app.networks.pretrained.monai_unetr import is_monai_unetr, rename_monai_unetr
from unetr_app.networks.pretrained.report import name_some
from unetr_app.networks.tuples import as_tuple

_log = logging.getLogger(__name__)


class SegmentationNetwork(nn.Module):
    """Image to logits: encoder, decoder, head.

    The head works at the stride of the decoder's finest map. Where that is not 1, its logits are
    up-sampled linearly to the image, as in SegFormer (arXiv:2105.15203, section 3.2).

    Args:
        encoder: Keeps the encoders' contract (see `unetr_app.networks.encoders`).
        decoder: Keeps the decoders' contract (see `unetr_app.networks.decoders`).
        spatial_dims: 2 or 3.
        out_channels: Channels of the logits, background included.
        deep_supervision: How many levels below the finest give logits of their own in training.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, *, spatial_dims: int, out_channels: int,
        deep_supervision: int = 0,
    ):  # fmt: skip
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        channels: tuple[int, ...] = decoder.channels  # pyright: ignore[reportAssignmentType]
        strides: tuple[tuple[int, ...], ...] = decoder.strides  # pyright: ignore[reportAssignmentType]
        self.upsamples = max(strides[0]) > 1
        self.mode = "trilinear" if spatial_dims == 3 else "bilinear"
        if not 0 <= deep_supervision < len(channels):
            raise InvalidRequest(
                f"deep_supervision {deep_supervision} must be 0 to {len(channels) - 1} here"
            )
        self.head = UnetOutBlock(spatial_dims, channels[0], out_channels)
        self.coarse_heads = nn.ModuleList(
            UnetOutBlock(spatial_dims, width, out_channels)
            for width in channels[1 : 1 + deep_supervision]
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, spatial...) to logits (B, out_channels, spatial...).

        In training with deep supervision: a list of logits, finest first, the coarse ones each at
        its decoder map's stride.
        """
        maps = self.encoder(x)
        features = self.decoder(x, maps)
        logits = self.head(features[0])
        if self.upsamples:
            size: list[int] = list(x.shape[2:])
            logits = functional.interpolate(logits, size, mode=self.mode, align_corners=False)
        # TorchScript leaves this branch out only where the question stands in the condition itself.
        if not torch.jit.is_scripting() and self.training and len(self.coarse_heads):  # pyright: ignore
            coarse = zip(self.coarse_heads, features[1:], strict=False)
            return [logits, *(head(feature) for head, feature in coarse)]  # pyright: ignore[reportReturnType]
        return logits

    def train(self, mode: bool = True) -> SegmentationNetwork:
        """As `torch.nn.Module.train`; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if not any(p.requires_grad for p in self.encoder.parameters()):
            self.encoder.eval()
        return self

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """As `torch.nn.Module.load_state_dict`; takes MONAI's UNETR names, today's and old, too.

        Raises:
            UnusableWeights: If tensors are missing, unknown or of another shape while ``strict``;
                the message names some of them.
        """
        shapes = {name: tuple(value.shape) for name, value in self.state_dict().items()}
        if is_monai_unetr(state_dict) and "encoder.positions" in shapes:
            grid = shapes["encoder.positions"][2:]
            state_dict = rename_monai_unetr(state_dict, grid=grid, shapes=shapes)
        if strict:
            _require_fit(shapes, state_dict)
        return super().load_state_dict(state_dict, strict=strict, assign=assign)


def build_network(
    encoder: str = "vit",
    decoder: str = "unetr",
    *,
    in_channels: int = 1,
    out_channels: int = 2,
    spatial_dims: int = 3,
    roi_size: int | Sequence[int] = 96,
    deep_supervision: int = 0,
    pretrained: str | None = None,
    freeze_encoder: bool = False,
    encoder_options: Mapping[str, Any] | None = None,
    pretrained_options: Mapping[str, Any] | None = None,
    decoder_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> SegmentationNetwork:
    """Build a segmentation network by the names of its parts.

    Args:
        encoder: A name in `ENCODERS`.
        decoder: A name in `DECODERS`.
        in_channels: Channels of the image.
        out_channels: Channels of the logits, background included.
        spatial_dims: 2 or 3.
        roi_size: Input shape in voxels that the network is laid out for; a number or one an axis.
        deep_supervision: Levels below the finest that give logits of their own in training.
        pretrained: A published checkpoint that the encoder's sizes and weights come from, see
            `encoder_from_checkpoint`; ``options`` such as ``patch_size`` then override it. Images
            are expected with zero mean and unit variance, as checkpoints have them.
        freeze_encoder: Does training leave the encoder alone?
        encoder_options: Arguments of the encoder's class, by name, for configurations that keep a
            table of them.
        pretrained_options: In place of ``encoder_options`` where ``pretrained`` is given, since
            sizes then come from the checkpoint.
        decoder_options: As ``encoder_options``, for the decoder.
        options: Arguments of the encoder's and the decoder's class, by name; an argument that both
            have goes to both. They win over the two tables.

    Raises:
        InvalidRequest: If a name or an option is unknown; the message lists what there is.
        UnusableWeights: If the checkpoint cannot be used.

    Example:
        >>> network = build_network("vit", out_channels=3, roi_size=32, patch_size=8,
        ...                         embed_dim=24, depth=2, num_heads=2, feature_size=4)
        >>> network(torch.zeros(1, 1, 32, 32, 32)).shape
        torch.Size([1, 3, 32, 32, 32])
    """
    encoder_class = ENCODERS[require_choice(encoder, sorted(ENCODERS), "encoder")]
    decoder_class = DECODERS[require_choice(decoder, sorted(DECODERS), "decoder")]
    known = options_of(encoder_class) | options_of(decoder_class)
    require_options(options, known, f"{encoder} and {decoder} have")
    table = encoder_options if pretrained is None else pretrained_options
    for_encoder = _merged(encoder, encoder_class, table, options)
    for_decoder = _merged(decoder, decoder_class, decoder_options, options)
    sizes = {
        "spatial_dims": spatial_dims,
        "roi_size": as_tuple(roi_size, spatial_dims, "roi_size"),
        **for_encoder,
    }
    built: Any = (
        encoder_class(in_channels, **sizes)
        if pretrained is None
        else _pretrained_encoder(pretrained, encoder, in_channels, sizes)
    )
    if freeze_encoder:
        built.requires_grad_(False)
    return SegmentationNetwork(
        built,
        decoder_class(spatial_dims, in_channels, built.channels, built.strides, **for_decoder),
        spatial_dims=spatial_dims,
        out_channels=out_channels,
        deep_supervision=deep_supervision,
    )


def _require_fit(own: Mapping[str, tuple[int, ...]], given: Mapping[str, Any]) -> None:
    """In words, and few: torch names every tensor, which fills screens."""
    common = [name for name in own if name in given]
    found = {
        "lack": [name for name in own if name not in given],
        "hold besides": [name for name in given if name not in own],
        "have in another shape": [n for n in common if _shape(given[n]) != own[n]],
    }
    told = [f"{verb} {name_some(names, 2)}" for verb, names in found.items() if names]
    if told:
        raise UnusableWeights(
            f"the weights do not fit this network: they {'; they '.join(told)}",
            cure="Build the network as it was built in training: the same encoder, decoder, "
            "options and pretrained (in a bundle the same overrides, such as --encoder).",
        )


def _shape(value: Any) -> tuple[int, ...] | None:
    return tuple(value.shape) if isinstance(value, Tensor) else None


def _pretrained_encoder(
    path: str, encoder: str, in_channels: int, sizes: dict[str, Any]
) -> nn.Module:
    """The encoder of a checkpoint, in training mode; what was loaded goes to the log."""
    built, report = encoder_from_checkpoint(
        path, encoder=encoder, in_channels=in_channels, fold_normalisation=False, **sizes
    )
    for line in (report.summary(), *report.notes()):
        _log.info("%s: %s", Path(path).name, line)
    return built.train()


def _merged(
    name: str, part: type[nn.Module], table: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Arguments of one part: its table, and over it those options that it has."""
    known = options_of(part)
    require_options(table or {}, known, f"{name} has")
    return {**(table or {}), **{key: options[key] for key in known & options.keys()}}
