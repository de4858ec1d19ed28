from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders.mixer import MixerBlock, MlpMixer, TokenMixing

ROI = (8, 16, 24)


def _tiny(**options: Any) -> MlpMixer:
    torch.manual_seed(0)
    tiny = {"patch_size": (4, 8, 8), "embed_dim": 12, "depth": 3, "taps": [1, 3]}
    return MlpMixer(1, ROI, **(tiny | options)).eval()


def _adopted(source: TokenMixing, target: TokenMixing) -> TokenMixing:
    """The target with the source's weights, as a checkpoint brings them."""
    theirs = source.state_dict()
    for name, own in target.state_dict().items():
        owner, _, leaf = name.rpartition(".")
        own.copy_(target.get_submodule(owner).adopt(leaf, theirs[name]))
    return target


def test_one_map_a_tap_with_the_stride_of_the_patch() -> None:
    encoder = _tiny()
    maps = encoder(torch.randn(2, 1, *ROI))
    assert [m.shape for m in maps] == [(2, 12, 2, 2, 3)] * 2
    assert encoder.channels == (12, 12)
    assert encoder.strides == ((4, 8, 8),) * 2


def test_images_of_two_axes() -> None:
    encoder = MlpMixer(3, (16, 24), spatial_dims=2, patch_size=8, embed_dim=12, depth=1)
    assert [m.shape for m in encoder(torch.randn(2, 3, 16, 24))] == [(2, 12, 2, 3)]


@pytest.mark.parametrize("shape", [(8, 16, 16), (16, 16, 24), (8, 24, 16)])
def test_any_other_input_is_refused_in_words(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"laid out for roi_size \[8, 16, 24\] alone"):
        _tiny()(torch.zeros(1, 1, *shape))


def test_the_last_map_is_normed() -> None:
    last = _tiny()(torch.randn(1, 1, *ROI))[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros(1, 2, 2, 3), atol=1e-5, rtol=0)


def test_every_token_reaches_every_other() -> None:
    encoder = _tiny(depth=1, taps=[1])
    image = torch.randn(1, 1, *ROI)
    other = image.clone()
    other[..., 0, 0, 0] += 1.0
    changed = (encoder(image)[0] - encoder(other)[0]).abs().amax(1)
    assert (changed > 0).all()


@pytest.mark.parametrize("gated", [False, True])
def test_token_mixing_is_the_same_for_every_channel(gated: bool) -> None:
    torch.manual_seed(0)
    mixing = TokenMixing((2, 3), 5, gated=gated)
    tokens = torch.randn(2, 6, 7)
    order = torch.randperm(7)
    torch.testing.assert_close(mixing(tokens[:, :, order]), mixing(tokens)[:, :, order])


@torch.no_grad()
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_inflated_token_mixing_does_in_every_slice_what_it_did(depth: int, gated: bool) -> None:
    torch.manual_seed(0)
    flat = TokenMixing((3, 4), 6, gated=gated)
    torch.nn.init.normal_(flat.contract.bias)
    deep = _adopted(flat, TokenMixing((depth, 3, 4), 6, gated=gated))
    tokens = torch.randn(2, 12, 5)
    repeated = deep(tokens.repeat(1, depth, 1)).unflatten(1, (depth, 12))
    torch.testing.assert_close(repeated, flat(tokens).unsqueeze(1).expand(-1, depth, -1, -1))


@torch.no_grad()
def test_another_grid_in_plane_keeps_hidden_values_as_large() -> None:
    flat, fine = TokenMixing((4, 6), 5), TokenMixing((8, 9), 5)
    ramp = torch.linspace(-1.0, 2.0, 6).expand(5, 4, 6)  # along W, by far not zero in the mean
    flat.expand.weight.copy_(ramp)
    _adopted(flat, fine)
    before, after = flat.expand(torch.ones(1, 1, 24)), fine.expand(torch.ones(1, 1, 72))
    torch.testing.assert_close(after, before, rtol=0.01, atol=0)
    assert fine.expand.weight[0, 0].diff().min() > 0  # still a ramp along W
    torch.testing.assert_close(fine.expand.weight, fine.expand.weight[:, :1].expand(-1, 8, -1))


def test_weights_of_volumes_are_not_taken_for_images() -> None:
    deep, flat = TokenMixing((2, 3, 4), 6), TokenMixing((3, 4), 6)
    weight = deep.expand.weight.data
    assert flat.expand.adopt("weight", weight) is weight


def test_a_block_whose_branches_count_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    block = MixerBlock((2, 2), 6, 3, 12, gated=False, drop_path=0.0, layer_scale=0.0, norm_eps=1e-6)
    tokens = torch.randn(2, 4, 6)
    assert torch.equal(block(tokens), tokens)


def test_both_branches_are_dropped_in_training_more_often_in_later_blocks() -> None:
    encoder = _tiny(drop_path=0.5)
    assert [block.drop_path.rate for block in encoder.blocks] == [0.0, 0.25, 0.5]
    block = _tiny(drop_path=0.999999, depth=2, taps=[2]).blocks[1].train()
    tokens = torch.randn(2, 12, 12)
    assert torch.equal(block(tokens), tokens)


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, *ROI)
    gradients: list[Tensor | None] = []
    for encoder in (plain.train(), frugal.train()):
        encoder(image)[-1].square().sum().backward()
        gradients.append(encoder.embed.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("options", [{}, {"gated": True, "stem_norm": True, "layer_scale": 0.5}])
def test_torchscript_gives_the_same(options: dict[str, Any]) -> None:
    encoder = _tiny(**options)
    image = torch.randn(1, 1, *ROI)
    for scripted, plain in zip(torch.jit.script(encoder)(image), encoder(image), strict=True):
        torch.testing.assert_close(scripted, plain)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"patch_size": 16}, "no multiple of patch_size"),
        ({"patch_size": (4, 8)}, "3 positive integers"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)
