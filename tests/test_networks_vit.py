from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders import VisionTransformer
from unetr_app.networks.inflation import repeat_over_depth, resize_positions

KINDS = ["learned", "sinusoidal", "rotary", "none"]


def _tiny(roi_size: tuple[int, ...] = (16, 16, 16), **options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    small: dict[str, Any] = {"patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2}
    return VisionTransformer(1, roi_size, spatial_dims=len(roi_size), **(small | options)).eval()


@pytest.mark.parametrize("patch", [4, (8, 4, 2), (16, 8, 16)])
def test_any_patch_anisotropic_too(patch: Any) -> None:
    encoder = _tiny((16, 24, 32), patch_size=patch)
    one_an_axis = (patch,) * 3 if isinstance(patch, int) else patch
    assert encoder.strides == (one_an_axis,) * 3
    grid = [n // p for n, p in zip((16, 24, 32), one_an_axis, strict=True)]
    assert encoder(torch.zeros(1, 1, 16, 24, 32))[0].shape == (1, 12, *grid)


def test_taps_choose_the_blocks_and_default_to_four_even_ones() -> None:
    assert _tiny(depth=12).taps == [3, 6, 9, 12]
    assert _tiny(depth=2).taps == [1, 2]
    encoder = _tiny(depth=3, taps=[2, 3])
    seen: list[torch.Tensor] = []
    encoder.blocks[1].register_forward_hook(lambda _m, _i, out: seen.append(out))
    maps = encoder(torch.randn(1, 1, 16, 16, 16))
    torch.testing.assert_close(maps[0], seen[0].transpose(1, 2).reshape(maps[0].shape))


def test_the_last_map_is_normed() -> None:
    last = _tiny()(torch.randn(1, 1, 16, 16, 16))[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros(1, 2, 2, 2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(24, 16, 32), (8, 8, 8)])
def test_inputs_of_another_size_than_the_roi_are_taken(shape: tuple[int, int, int]) -> None:
    maps = _tiny()(torch.randn(1, 1, *shape))
    assert maps[0].shape[2:] == tuple(n // 8 for n in shape)


def test_tokens_know_their_place() -> None:
    encoder = _tiny()
    constant = encoder(torch.ones(1, 1, 16, 16, 16))[0]
    assert not torch.allclose(constant[..., 0, 0, 0], constant[..., 1, 1, 1])


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    gradients = []
    for encoder in (plain.train(), frugal.train()):
        encoder(image)[-1].square().sum().backward()
        gradients.append(encoder.embed.weight.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"embed_dim": 13}, "no multiple of num_heads"),
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"patch_size": 32}, "no multiple of patch_size"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
        ({"taps": [2, 1, 3]}, "do not fit 3 blocks"),
        ({"taps": [0, 3]}, "do not fit 3 blocks"),
        ({"taps": []}, "do not fit 3 blocks"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_an_input_that_the_patch_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no multiple of"):
        _tiny()(torch.zeros(1, 1, 16, 12, 16))


def _shaken(roi_size: tuple[int, ...], **options: Any) -> VisionTransformer:
    """With weights that all matter."""
    encoder = _tiny(roi_size, **options)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def _inflated(flat: VisionTransformer, slices: int, **options: Any) -> VisionTransformer:
    """The same for volumes of so many slices of tokens, 4 voxels each."""
    deep = _tiny((4 * slices, 16, 24), patch_size=(4, 8, 8), **options)
    state = flat.state_dict()
    state["embed.weight"] = repeat_over_depth(state["embed.weight"], 4)
    if "positions" in state:
        state["positions"] = resize_positions(state["positions"], [slices, 2, 3])
    deep.load_state_dict(state)
    return deep


TOKENS: list[dict[str, Any]] = [
    {"class_token": True, "pool": "token"},
    {"register_tokens": 2, "pool": "average"},
    {"class_token": True, "register_tokens": 3, "gated": True, "pool": "attention"},
    {"class_token": True, "layer_scale": 0.5, "positions": "none", "final_norm": False},
]


@pytest.mark.parametrize("options", TOKENS)
@pytest.mark.parametrize("slices", [1, 2, 5])
def test_prefix_tokens_weigh_as_much_against_equal_slices_as_against_one(
    options: dict[str, Any], slices: int
) -> None:
    flat = _shaken((16, 24), **options)
    deep = _inflated(flat, slices, **options)
    image = torch.randn(2, 1, 16, 24)
    volume = image.unsqueeze(2).repeat(1, 1, 4 * slices, 1, 1)
    with torch.no_grad():
        for found, wanted in zip(deep(volume), flat(image), strict=True):
            equal = wanted.unsqueeze(2).expand_as(found)
            torch.testing.assert_close(found, equal, atol=1e-4, rtol=0)
        if flat.pool:
            torch.testing.assert_close(deep.pooled(volume), flat.pooled(image), atol=1e-4, rtol=0)


@pytest.mark.parametrize("options", TOKENS)
def test_without_that_balance_they_do_not(options: dict[str, Any]) -> None:
    flat = _shaken((16, 24), **options)
    image = torch.randn(2, 1, 16, 24)
    for slices, differs in ((1, False), (5, True)):
        deep = _inflated(flat, slices, balance_depth=False, **options)
        volume = image.unsqueeze(2).repeat(1, 1, 4 * slices, 1, 1)
        with torch.no_grad():
            gap = (deep(volume)[-1] - flat(image)[-1].unsqueeze(2)).abs().max()
        assert (gap > 1e-2) == differs


def test_without_prefix_tokens_there_is_nothing_to_balance() -> None:
    assert not _tiny().balance_depth
    assert _tiny(class_token=True).balance_depth
    assert not _tiny((16, 24), class_token=True).balance_depth
    flat = _shaken((16, 24))
    deep = _inflated(flat, 5)
    image = torch.randn(1, 1, 16, 24)
    with torch.no_grad():
        found = deep(image.unsqueeze(2).repeat(1, 1, 20, 1, 1))[-1]
    torch.testing.assert_close(
        found, flat(image)[-1].unsqueeze(2).expand_as(found), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_all_positions_but_none_tell_where_a_patch_lies(kind: str, axis: int) -> None:
    encoder = _shaken((16, 16, 16), positions=kind, embed_dim=24)
    image = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        swapped = encoder(image.roll(8, dims=axis))[-1]
        gap = (swapped - encoder(image)[-1].roll(1, dims=axis)).abs().max()
    assert (gap < 1e-4) == (kind == "none")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("roi_size", [(16, 16, 16), (16, 16)])
def test_any_positions_take_inputs_of_another_size(kind: str, roi_size: tuple[int, ...]) -> None:
    encoder = _tiny(roi_size, positions=kind, class_token=True)
    shape = (24, 8, 32)[-len(roi_size) :]
    assert encoder(torch.randn(2, 1, *shape))[-1].shape == (2, 12, *(n // 8 for n in shape))


def test_only_learned_positions_are_weights() -> None:
    names = [kind for kind in KINDS if "positions" in _tiny(positions=kind).state_dict()]
    assert names == ["learned"]


OPTIONS: list[dict[str, Any]] = [
    *({"positions": kind} for kind in KINDS),
    {"class_token": True, "register_tokens": 2, "positions": "rotary"},
    {"class_token": True, "gated": True, "layer_scale": 0.1, "qkv_bias": False},
    {"activation": "gelu_tanh", "final_norm": False, "taps": [2, 3]},
    *({"pool": pool, "class_token": True} for pool in ("average", "attention", "token")),
    {"gradient_checkpointing": True, "drop_path": 0.2, "class_token": True},
]


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("roi_size", [(16, 16, 16), (16, 16)])
def test_torchscript_gives_the_same_maps_at_any_size(
    options: dict[str, Any], roi_size: tuple[int, ...]
) -> None:
    encoder = _shaken(roi_size, **options)
    scripted = torch.jit.script(encoder)
    for shape in (roi_size, (8, 24, 16)[-len(roi_size) :]):
        image = torch.randn(2, 1, *shape)
        with torch.no_grad():
            for found, wanted in zip(scripted(image), encoder(image), strict=True):
                torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_checkpointing_changes_no_gradient_of_any_kind(options: dict[str, Any]) -> None:
    steady = {key: value for key, value in options.items() if key != "drop_path"}
    encoder = _shaken((16, 16, 16), **steady).train()
    frugal = _tiny(**{**steady, "gradient_checkpointing": True}).train()
    frugal.load_state_dict(encoder.state_dict())
    image = torch.randn(1, 1, 16, 16, 16)
    gradients: list[dict[str, Tensor]] = []
    for one in (encoder, frugal):
        sum(m.square().sum() for m in one(image)).backward()  # pyright: ignore
        named = one.named_parameters()
        gradients.append({name: p.grad for name, p in named if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-4, rtol=1e-4)


def test_every_weight_but_those_of_pooling_learns_from_the_maps() -> None:
    encoder = _shaken((16, 16, 16), class_token=True, layer_scale=0.1, pool="attention").train()
    sum(m.square().sum() for m in encoder(torch.randn(1, 1, 16, 16, 16))).backward()  # pyright: ignore
    idle = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert idle == {name for name, _ in encoder.named_parameters() if name.startswith("pooling.")}


def test_the_chance_to_drop_a_branch_rises_to_the_last_block() -> None:
    rates = [block.drop_path.rate for block in _tiny(depth=5, drop_path=0.4).blocks]  # pyright: ignore
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("pool", "expected"),
    [("average", lambda tokens: tokens[:, 3:].mean(dim=1)), ("token", lambda t: t[:, 0])],
)
def test_pooling_takes_the_tokens_that_it_is_named_after(pool: Any, expected: Any) -> None:
    encoder = _shaken((16, 16, 16), class_token=True, register_tokens=2, pool=pool)
    seen: list[Tensor] = []
    encoder.norm.register_forward_hook(lambda _m, _i, out: seen.append(out))
    with torch.no_grad():
        pooled = encoder.pooled(torch.randn(2, 1, 16, 16, 16))
    torch.testing.assert_close(pooled, expected(seen[0]))


@pytest.mark.parametrize("pool", ["average", "token"])
def test_what_no_final_norm_norms_is_normed_after_pooling(pool: Any) -> None:
    encoder = _tiny(class_token=True, pool=pool, final_norm=False)
    pooled = encoder.pooled(torch.randn(2, 1, 16, 16, 16))
    torch.testing.assert_close(pooled.mean(dim=1), torch.zeros(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"positions": "fourier"}, "no positions 'fourier'"),
        ({"pool": "max"}, "no pool 'max'"),
        ({"pool": "token"}, "needs class_token"),
        ({"activation": "relu"}, "no activation 'relu'"),
        ({"num_heads": 0}, "no multiple of num_heads"),
        ({"positions": "rotary", "num_heads": 4}, "head width of at least 6, not 3"),
        ({"positions": "rotary", "embed_dim": 14}, "even head width"),
        ({"depth": 0}, "at least 1"),
        ({"patch_size": (8, 8)}, "3 positive integers"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_pooling_that_was_not_built_is_refused_with_what_to_pass() -> None:
    with pytest.raises(InvalidRequest, match="no pooling") as caught:
        _tiny().pooled(torch.zeros(1, 1, 16, 16, 16))
    assert "pool=" in caught.value.cure
