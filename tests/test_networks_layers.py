from __future__ import annotations

import pytest
import torch

from unetr_app.networks.layers import DropPath, LayerScale, SelfAttention


@pytest.mark.parametrize("bias", [False, True])
def test_attention_equals_torchs_own(bias: bool) -> None:
    torch.manual_seed(0)
    ours = SelfAttention(24, 4, qkv_bias=bias).eval()
    theirs = torch.nn.MultiheadAttention(24, 4, bias=True, batch_first=True).eval()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.in_proj_bias.copy_(ours.qkv.bias if bias else torch.zeros(72))
        theirs.out_proj.weight.copy_(ours.project.weight)
        theirs.out_proj.bias.copy_(ours.project.bias)
        tokens = torch.randn(2, 7, 24)
        expected, _ = theirs(tokens, tokens, tokens, need_weights=False)
        torch.testing.assert_close(ours(tokens), expected, atol=1e-6, rtol=1e-5)


def test_attention_does_not_mix_the_samples_of_a_batch() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(8, 2)
    tokens = torch.randn(3, 5, 8)
    alone = attention(tokens[1:2])
    torch.testing.assert_close(attention(tokens)[1:2], alone)


def test_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    branch = torch.ones(4000, 3, 2)
    dropped = drop(branch)
    assert dropped[:, 0, 0].unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(dropped.amin((1, 2)), dropped.amax((1, 2)))
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert torch.equal(drop.eval()(branch), branch)


def test_layer_scale_multiplies_each_channel() -> None:
    scale = LayerScale(3, 0.5)
    assert torch.equal(scale(torch.ones(1, 2, 3)), torch.full((1, 2, 3), 0.5))
