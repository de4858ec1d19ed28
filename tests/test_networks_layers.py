from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from unetr_app.errors import InvalidRequest
from unetr_app.networks.layers import (
    ACTIVATIONS,
    DropPath,
    FeedForward,
    LayerScale,
    SelfAttention,
    SwiGlu,
)
from unetr_app.networks.positions import axial_rotation, rotate


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


def test_a_bias_is_added_to_the_logits() -> None:
    torch.manual_seed(0)
    attention, tokens = SelfAttention(8, 2), torch.randn(2, 5, 8)
    twice = torch.cat([tokens[:, :1], tokens], dim=1)  # the first token counts double
    bias = torch.tensor([2.0, 1, 1, 1, 1]).log()
    torch.testing.assert_close(attention(tokens, bias.expand(1, 1, 1, 5)), attention(twice)[:, 1:])


def test_a_rotation_turns_queries_and_keys_but_not_values() -> None:
    torch.manual_seed(0)
    attention, tokens = SelfAttention(24, 2), torch.randn(2, 6, 24)
    rotation = axial_rotation(12, [3, 2], 0, tokens)
    query, key, value = attention.qkv(tokens).unflatten(-1, (3, 2, 12)).permute(2, 0, 3, 1, 4)
    logits = rotate(query, rotation) @ rotate(key, rotation).mT / 12**0.5
    mixed = (logits.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(tokens, None, rotation), attention.project(mixed))


@pytest.mark.parametrize(("activation", "approximate"), [("gelu", "none"), ("gelu_tanh", "tanh")])
def test_a_feed_forward_is_two_layers_with_its_activation_between(
    activation: str, approximate: str
) -> None:
    torch.manual_seed(0)
    layers, tokens = FeedForward(8, 20, 6, activation=activation), 3 * torch.randn(2, 5, 8)
    expected = layers.contract(functional.gelu(layers.expand(tokens), approximate=approximate))
    assert torch.equal(layers(tokens), expected)
    assert expected.shape == (2, 5, 6)


def test_the_two_activations_differ_a_little() -> None:
    torch.manual_seed(0)
    exact, tokens = FeedForward(8, 20), 3 * torch.randn(2, 5, 8)
    close = FeedForward(8, 20, activation="gelu_tanh")
    close.load_state_dict(exact.state_dict())
    assert 1e-6 < (close(tokens) - exact(tokens)).abs().max() < 1e-2


def test_an_activation_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(InvalidRequest, match="no activation 'relu'") as caught:
        FeedForward(8, 20, activation="relu")
    assert all(name in caught.value.cure for name in ACTIVATIONS)


def test_a_gated_feed_forward_lets_through_what_its_gate_says() -> None:
    torch.manual_seed(0)
    layers, tokens = SwiGlu(4, 6), torch.randn(2, 5, 4)
    gate, through = layers.expand(tokens).split(6, dim=-1)
    torch.testing.assert_close(layers(tokens), layers.contract(functional.silu(gate) * through))
    with torch.no_grad():
        layers.expand.bias[:6] = -1e4  # shut
        layers.contract.bias.zero_()
    assert not layers(tokens).any()


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
