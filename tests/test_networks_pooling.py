from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pooling import AttentionPool, AveragePool


@pytest.mark.parametrize("thickness", [2, 4, 8])
@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("timm_vit_map", "attention"),
        ("timm_vit_gap", "average"),
        ("timm_vit_cls", "token"),
        ("timm_vit_dino_reg", "token"),
    ],
)
def test_the_references_pooled_features(name: str, pool: str, thickness: int, shared: Path) -> None:
    folder = shared / "fixtures/encoders" / name
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")["pooled"]
    flat: Any = encoder_from_checkpoint(
        folder, spatial_dims=2, in_channels=3, roi_size=(32, 32), pool=pool
    )[0]
    deep: Any = encoder_from_checkpoint(
        folder, in_channels=3, roi_size=(8, 32, 32), pool=pool, patch_size=(thickness, 8, 8)
    )[0]
    volume = image.unsqueeze(2).repeat(1, 1, 8, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(flat.pooled(image), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(deep.pooled(volume), expected, atol=5e-5, rtol=0)


def _attention_pool() -> AttentionPool:
    torch.manual_seed(0)
    pool = AttentionPool(12, 3, 20)
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return pool.eval()


def _torchs_own(pool: AttentionPool, tokens: Tensor) -> Tensor:
    theirs = torch.nn.MultiheadAttention(12, 3, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([pool.query.weight, pool.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([pool.query.bias, pool.key_value.bias]))
        theirs.out_proj.load_state_dict(pool.project.state_dict())
    probe = pool.probe.expand(len(tokens), -1, -1)
    mixed = theirs(probe, tokens, tokens, need_weights=False)[0][:, 0]  # (B, C)
    return mixed + pool.feed_forward(pool.norm(mixed))


def test_pooling_by_attention_is_torchs_attention_with_one_learned_query() -> None:
    pool, tokens = _attention_pool(), torch.randn(2, 7, 12)
    with torch.no_grad():
        torch.testing.assert_close(pool(tokens), _torchs_own(pool, tokens), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "pool", [_attention_pool(), AveragePool(12, norm=True), AveragePool(12, norm=False)]
)
def test_neither_order_nor_repetition_of_tokens_matters(pool: torch.nn.Module) -> None:
    tokens = torch.randn(2, 7, 12)
    shuffled = tokens[:, torch.randperm(7)].repeat(1, 3, 1)
    with torch.no_grad():
        torch.testing.assert_close(pool(shuffled), pool(tokens), atol=1e-5, rtol=0)


def test_the_mean_is_normed_where_that_is_asked_for() -> None:
    tokens = torch.randn(2, 7, 12)
    torch.testing.assert_close(AveragePool(12, norm=False)(tokens), tokens.mean(dim=1))
    normed = AveragePool(12, norm=True)(tokens)
    torch.testing.assert_close(normed.mean(dim=1), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(normed.var(dim=1, unbiased=False), torch.ones(2), atol=1e-3, rtol=0)
    assert not list(AveragePool(12, norm=False).parameters())
