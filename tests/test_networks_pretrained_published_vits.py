from __future__ import annotations

import pytest

from unetr_app.networks.layers import ACTIVATIONS
from unetr_app.networks.pretrained.layouts.published_vits import PUBLISHED_VITS, published_vit
from unetr_app.networks.pretrained.source import Checkpoint


@pytest.mark.parametrize(
    ("name", "width", "expected"),
    [
        ("vit_base_patch16_224.augreg2_in21k_ft_in1k", 768, (12, 12, "gelu")),
        ("vit_base_patch16_gap_224", 768, (16, 12, "gelu")),
        ("vit_small_patch14_dinov2.lvd142m", 384, (6, 12, "gelu")),
        ("vit_small_patch16_36x1_224", 384, (6, 36, "gelu")),
        ("vit_giant_patch14_dinov2", 1536, (24, 40, "gelu")),
        ("vit_so400m_patch14_siglip_224.webli", 1152, (16, 27, "gelu")),
        ("vit_so400m_patch16_siglip_gap_256", 1152, (16, 27, "gelu_tanh")),
        ("vit_giantopt_patch16_siglip_384", 1536, (16, 40, "gelu_tanh")),
        ("google/vit-large-patch32-384", 1024, (16, 24, "gelu")),
        ("facebook/dinov2-with-registers-base", 768, (12, 12, "gelu")),
        ("dinov2_vits14_pretrain.pth", 384, (6, 12, "gelu")),
        ("deit_tiny_distilled_patch16_224-b40b3cf7.pth", 192, (3, 12, "gelu")),
        ("dino_deitsmall16_pretrain.pth", 384, (6, 12, "gelu")),
        ("mae_pretrain_vit_huge.pth", 1280, (16, 32, "gelu")),
    ],
)
def test_names_as_publishers_write_them(
    name: str, width: int, expected: tuple[int, int, str]
) -> None:
    for checkpoint in (Checkpoint({}, {"architecture": name}), Checkpoint({}, path=name)):
        row = published_vit(checkpoint, width)
        assert row is not None
        assert (row.heads, row.depth, row.activation) == expected


def test_a_name_counts_only_for_a_file_of_its_channels() -> None:
    checkpoint = Checkpoint({}, {"architecture": "vit_small_patch16_224"})
    assert published_vit(checkpoint, 384) is not None
    assert published_vit(checkpoint, 768) is None
    assert published_vit(Checkpoint({}, {"architecture": "my_net"}), 384) is None


def test_every_row_can_be_built() -> None:
    for name, row in PUBLISHED_VITS.items():
        assert name == name.lower().replace("-", "_")
        assert row.width % row.heads == 0
        assert row.activation in ACTIVATIONS
