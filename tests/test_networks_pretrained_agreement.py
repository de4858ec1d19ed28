from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from unetr_app.errors import UnusableWeights
from unetr_app.networks import ENCODERS
from unetr_app.networks.encoders import ConvMixer, SwinEncoder, VisionTransformer
from unetr_app.networks.pretrained.agreement import require_agreement

SMALL: dict[str, Any] = {"patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}


def _vit(roi_size: tuple[int, ...] = (16, 16, 16), channels: int = 1, **options: Any) -> nn.Module:
    dims = len(roi_size)
    return VisionTransformer(channels, roi_size, spatial_dims=dims, **{**SMALL, **options})


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"drop_path": 0.3, "gradient_checkpointing": True, "taps": [2]},
        {"patch_size": (4, 8, 16), "roi_size": (8, 32, 16), "channels": 3},
        {"class_token": True, "pool": "attention", "positions": "none"},
        {"depth": 1, "layer_scale": 0.5},
    ],
)
def test_what_shows_in_the_report_or_changes_no_feature_may_differ(options: dict[str, Any]) -> None:
    theirs = {"layer_scale": 1e-5} if "layer_scale" in options else {}
    require_agreement(_vit(**options), lambda: _vit(channels=3, **theirs))


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        ({"num_heads": 3}, {}, r"num_heads is 3 here and 2 there \(blocks\.\*\.attention\)"),
        ({"norm_eps": 1e-5}, {"norm_eps": 1e-6}, r"norm_eps is 1e-05 here and 1e-06 there"),
        ({"activation": "gelu_tanh"}, {}, "activation is gelu_tanh here and gelu there"),
        ({"layer_scale": 0.1}, {}, "scale1 is LayerScale here and Identity there"),
        ({}, {"layer_scale": 0.1}, "scale2 is Identity here and LayerScale there"),
        ({"qkv_bias": False}, {}, r"qkv has no bias here, not so there"),
        ({}, {"qkv_bias": False}, r"qkv has a bias here, not so there"),
        ({"final_norm": False}, {}, r"norm is Identity here and LayerNorm there \(norm\)"),
        ({"gated": True}, {}, "feed_forward is SwiGlu here and FeedForward there"),
        (
            {"class_token": True},
            {"class_token": True, "balance_depth": False},
            "balance_depth is True here and False there",
        ),
    ],
)
def test_an_option_without_a_trace_is_named_with_ours_and_theirs(
    ours: dict[str, Any], theirs: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnusableWeights, match=words) as caught:
        require_agreement(_vit(**ours), lambda: _vit(**theirs))
    assert "encoder_from_checkpoint" in caught.value.cure


def test_every_difference_is_named_once() -> None:
    with pytest.raises(UnusableWeights) as caught:
        require_agreement(_vit(num_heads=4, norm_eps=1e-3, depth=6), lambda: _vit(depth=6))
    assert caught.value.what.count("num_heads") == caught.value.what.count("norm_eps") == 1


def test_activations_that_are_modules_are_compared_too() -> None:
    def build(activation: str) -> nn.Module:
        sizes: dict[str, Any] = {"patch_size": 4, "embed_dim": 8, "depth": 1, "kernel_size": 3}
        return ConvMixer(1, (8, 8, 8), activation=activation, **sizes)

    require_agreement(build("gelu"), lambda: build("gelu"))
    with pytest.raises(UnusableWeights, match="GELU here and ReLU there"):
        require_agreement(build("gelu"), lambda: build("relu"))


def test_the_reference_takes_no_memory_where_its_class_can_do_without() -> None:
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(_vit())
        return built[-1]

    require_agreement(_vit(), build)
    assert [{p.device.type for p in one.parameters()} for one in built] == [{"meta"}]
    assert next(_vit().parameters()).device.type == "cpu"


def test_nor_need_its_class_do_without() -> None:
    def build(**options: Any) -> nn.Module:
        sizes: dict[str, Any] = {"embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2)}
        return SwinEncoder(1, (16, 16, 16), **{**sizes, "window_size": 2, **options})

    require_agreement(build(), build)
    with pytest.raises(UnusableWeights, match=r"norm_eps is 1e-05 here and 0\.001 there"):
        require_agreement(build(), lambda: build(norm_eps=1e-3))


@pytest.mark.parametrize("family", sorted(ENCODERS))
def test_every_encoder_agrees_with_itself(family: str) -> None:
    def build() -> nn.Module:
        return ENCODERS[family](1, (64, 64), spatial_dims=2)  # pyright: ignore[reportCallIssue]

    state = torch.random.get_rng_state()
    require_agreement(build(), build)
    torch.random.set_rng_state(state)
