from __future__ import annotations

from typing import Any

import pytest
import torch

from unetr_app.networks.encoders import PyramidVisionTransformer, SegFormer

SMALL: dict[str, Any] = {
    "embed_dims": (8, 12, 24, 16), "depths": (1, 1, 1, 1), "num_heads": (1, 3, 2, 4),
}  # fmt: skip


def _tiny(roi_size: tuple[int, ...] = (32, 32, 32), **options: Any) -> PyramidVisionTransformer:
    torch.manual_seed(0)
    return PyramidVisionTransformer(
        1, roi_size, spatial_dims=len(roi_size), **(SMALL | options)
    ).eval()


def test_the_default_is_b0_with_wide_feed_forwards_first() -> None:
    encoder = PyramidVisionTransformer(3, (32, 32), spatial_dims=2)
    assert sum(p.numel() for p in encoder.parameters()) == 3_409_760  # arXiv:2106.13797: 3.4 M
    widths = [stage.blocks[0].feed_forward.expand.out_features for stage in encoder.stages]  # pyright: ignore
    assert widths == [8 * 32, 8 * 64, 4 * 160, 4 * 256]


def test_it_is_segformers_encoder_where_sizes_agree() -> None:
    ours = _tiny(mlp_ratios=(3, 3, 3, 3))
    theirs = SegFormer(1, (32, 32, 32), mlp_ratios=(3, 3, 3, 3), **SMALL).eval()
    theirs.load_state_dict(ours.state_dict())
    image = torch.randn(1, 1, 32, 64, 32)
    assert all(torch.equal(a, b) for a, b in zip(ours(image), theirs(image), strict=True))


@pytest.mark.parametrize("shape", [(32, 32, 64), (96, 32, 32)])
def test_the_linear_variant_attends_to_as_many_keys_whatever_the_input(
    shape: tuple[int, int, int],
) -> None:
    encoder = _tiny(linear=True)
    seen: list[int] = []
    for stage in encoder.stages:
        stage.blocks[0].attention.key_value.register_forward_hook(  # pyright: ignore
            lambda _module, inputs, _output: seen.append(inputs[0].shape[1])
        )
    maps = encoder(torch.randn(1, 1, *shape))
    assert maps[-1].shape[2:] == tuple(n // 32 for n in shape)
    assert seen == [343] * 4


def test_the_linear_variant_needs_no_ratio() -> None:
    encoder = _tiny((4, 16, 16), linear=True, patch_strides=((1, 2, 2), 2, 2, (1, 2, 2)))
    assert encoder.strides[-1] == (4, 16, 16)
    assert encoder(torch.randn(1, 1, 4, 16, 32))[-1].shape == (1, 16, 1, 1, 2)


def test_the_linear_variant_learns_in_every_weight() -> None:
    encoder = _tiny(linear=True).train()
    sum(feature.square().sum() for feature in encoder(torch.randn(1, 1, 32, 32, 32))).backward()  # pyright: ignore
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []
