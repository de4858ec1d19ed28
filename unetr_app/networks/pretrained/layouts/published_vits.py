"""Published vision transformers: what no tensor of theirs tells."""

from __future__ import annotations

from typing import NamedTuple

from unetr_app.networks.pretrained.source import Checkpoint


class PublishedVit(NamedTuple):
    """A row of the table.

    Args:
        width: Channels; the row is of use only for a file that has as many.
        heads: Attention heads.
        depth: Blocks, so that a truncated file is told from a smaller network.
        activation: Of the feed-forward; see `FeedForward`.
    """

    width: int
    heads: int
    depth: int
    activation: str = "gelu"


_TINY = PublishedVit(192, 3, 12)
_SMALL = PublishedVit(384, 6, 12)
_MEDIUM = PublishedVit(512, 8, 12)
_BASE = PublishedVit(768, 12, 12)
_LARGE = PublishedVit(1024, 16, 24)
_HUGE = PublishedVit(1280, 16, 32)
_DINOV2_GIANT = PublishedVit(1536, 24, 40)

# Names are parts of what timm, transformers and the authors call their checkpoints, hyphens as
# underscores; the longest that fits counts. Dosovitskiy et al. 2020 (arXiv:2010.11929, table 1),
# Touvron et al. 2020 (DeiT, arXiv:2012.12877, table 1), Zhai et al. 2021 (arXiv:2106.04560,
# table 2), Alabdulmohsin et al. 2023 (SoViT, arXiv:2305.13035), Oquab et al. 2023 (DINOv2,
# arXiv:2304.07193, table 17); timm 1.0 for variants of its own and for activations.
PUBLISHED_VITS: dict[str, PublishedVit] = {
    "vit_tiny": _TINY,
    "vit_wee": PublishedVit(256, 4, 14),
    "vit_little": PublishedVit(320, 5, 14),
    "vit_small": _SMALL,
    "vit_small_patch16_36x1": PublishedVit(384, 6, 36),
    "vit_medium": _MEDIUM,
    "vit_mediumd": PublishedVit(512, 8, 20),
    "vit_betwixt": PublishedVit(640, 10, 12),
    "vit_base": _BASE,
    "vit_base_patch16_gap": PublishedVit(768, 16, 12),
    "vit_base_patch16_plus": PublishedVit(896, 14, 12),
    "vit_base_patch32_plus": PublishedVit(896, 14, 12),
    "vit_base_patch32_siglip": PublishedVit(768, 12, 12, "gelu_tanh"),
    "vit_so150m": PublishedVit(896, 14, 18),
    "vit_so150m2": PublishedVit(832, 13, 21),
    "vit_large": _LARGE,
    "vit_large_patch16_siglip_512": PublishedVit(1024, 16, 24, "gelu_tanh"),
    "vit_large_patch16_siglip_gap_512": PublishedVit(1024, 16, 24, "gelu_tanh"),
    "vit_intern300m": _LARGE,
    "eva_large": _LARGE,
    "vit_so400m": PublishedVit(1152, 16, 27),
    "vit_so400m_patch16_siglip": PublishedVit(1152, 16, 27, "gelu_tanh"),
    "vit_huge": _HUGE,
    "vit_giant": PublishedVit(1408, 16, 40),
    "vit_giantopt": PublishedVit(1536, 16, 40, "gelu_tanh"),
    "vit_giant_patch14_dinov2": _DINOV2_GIANT,
    "vit_giant_patch14_reg4_dinov2": _DINOV2_GIANT,
    "vit_gigantic": PublishedVit(1664, 16, 48),
    "deit_tiny": _TINY,
    "deit_small": _SMALL,
    "deit_base": _BASE,
    "deit3_small": _SMALL,
    "deit3_medium": _MEDIUM,
    "deit3_base": _BASE,
    "deit3_large": _LARGE,
    "deit3_huge": _HUGE,
    "dino_deitsmall": _SMALL,
    "dino_vitbase": _BASE,
    "dino_vits": _SMALL,
    "dino_vitb": _BASE,
    "dinov2_vits": _SMALL,
    "dinov2_vitb": _BASE,
    "dinov2_vitl": _LARGE,
    "dinov2_vitg": _DINOV2_GIANT,
    "dinov2_small": _SMALL,
    "dinov2_base": _BASE,
    "dinov2_large": _LARGE,
    "dinov2_giant": _DINOV2_GIANT,
    "dinov2_with_registers_small": _SMALL,
    "dinov2_with_registers_base": _BASE,
    "dinov2_with_registers_large": _LARGE,
    "dinov2_with_registers_giant": _DINOV2_GIANT,
    "mae_pretrain_vit_base": _BASE,
    "mae_pretrain_vit_large": _LARGE,
    "mae_pretrain_vit_huge": _HUGE,
    "vit_mae_base": _BASE,
    "vit_mae_large": _LARGE,
    "vit_mae_huge": _HUGE,
    "vit_msn_small": _SMALL,
    "vit_msn_base": _BASE,
    "vit_msn_large": _LARGE,
}


def published_vit(checkpoint: Checkpoint, width: int) -> PublishedVit | None:
    """The row of the table for a checkpoint, None where its name or its channels fit none.

    Args:
        checkpoint: Its name is looked for as `Checkpoint.published` does.
        width: Its channels.
    """
    row: PublishedVit | None = checkpoint.published(PUBLISHED_VITS)
    return row if row is not None and row.width == width else None
