from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders.timesformer import SpaceTimeBlock, TimeSformer

ATTENTIONS = ("divided", "joint", "space")


def _tiny(roi_size: tuple[int, ...] = (4, 16, 24), **options: Any) -> TimeSformer:
    torch.manual_seed(0)
    small: dict[str, Any] = {"patch_size": 8, "embed_dim": 12, "depth": 3, "num_heads": 2}
    return TimeSformer(1, roi_size, spatial_dims=len(roi_size), **(small | options)).eval()


def _shaken(encoder: TimeSformer) -> TimeSformer:
    """Every parameter moved, so that nothing holds because something starts at zero."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


def _run(encoder: TimeSformer, image: Tensor) -> Tensor:
    with torch.no_grad():
        return encoder(image)[-1]


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("channels_in", [1, 3])
@pytest.mark.parametrize(
    ("roi", "patch", "stride"),
    [
        ((4, 16, 24), 8, (1, 8, 8)),
        ((4, 16, 24), (2, 8, 4), (2, 8, 4)),
        ((16, 24), 8, (8, 8)),
        ((16, 24), (8, 4), (8, 4)),
    ],
)
def test_it_keeps_the_promise_of_its_two_tuples(
    attention: str, channels_in: int, roi: tuple[int, ...], patch: Any, stride: tuple[int, ...]
) -> None:
    encoder = TimeSformer(
        channels_in, roi, spatial_dims=len(roi), patch_size=patch, embed_dim=12, depth=3,
        num_heads=2, attention=attention, taps=[1, 3],
    )  # fmt: skip
    assert encoder.strides == (stride,) * 2
    assert encoder.channels == (12, 12)
    grid = [n // s for n, s in zip(roi, stride, strict=True)]
    maps = encoder(torch.zeros(2, channels_in, *roi))
    assert [feature.shape for feature in maps] == [(2, 12, *grid)] * 2


@pytest.mark.parametrize("shared", [True, False])
def test_divided_attention_equals_its_equations_token_by_token(shared: bool) -> None:
    torch.manual_seed(0)
    block = SpaceTimeBlock(
        12, 2, 24, prefixes=2, shared_prefix=shared, qkv_bias=True, drop_path=0.0, layer_scale=0.5,
        norm_eps=1e-6,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        prefix = torch.randn(2, 1, 2, 12).expand(-1, 3, -1, -1)  # the same in every slice
        tokens = torch.cat((prefix, torch.randn(2, 3, 5, 12)), dim=2)  # (B, D, P + N, C)
        torch.testing.assert_close(block(tokens), _slowly(block, tokens, shared=shared))


def _slowly(block: SpaceTimeBlock, tokens: Tensor, *, shared: bool) -> Tensor:
    tokens = tokens.clone()
    for place in range(2, tokens.shape[2]):
        line = tokens[:, :, place]  # (B, D, C)
        seen = block.temporal_attention(block.temporal_norm(line))
        tokens[:, :, place] = line + block.temporal_project(seen)
    added = torch.stack(
        [block.attention(block.norm1(tokens[:, d])) for d in range(tokens.shape[1])], dim=1
    )
    if shared:
        added[:, :, :2] = added[:, :, :2].mean(dim=1, keepdim=True)
    tokens = tokens + block.scale1(added)
    return tokens + block.scale2(block.feed_forward(block.norm2(tokens)))


def test_attention_over_depth_sees_one_place_alone() -> None:
    block: Any = _shaken(_tiny()).blocks[0]
    patches = torch.randn(1, 4, 6, 12)
    moved = patches.clone()
    moved[:, 0, 2] *= -2.0
    with torch.no_grad():
        changed = (block._over_depth(moved) - block._over_depth(patches)).abs().amax(dim=(0, 3))
    assert changed[:, 2].min() > 1e-4
    assert changed[:, [0, 1, 3, 4, 5]].max() == 0


@pytest.mark.parametrize(
    ("options", "meet"),
    [
        ({"attention": "divided"}, True),
        ({"attention": "divided", "class_token": False}, True),
        ({"attention": "divided", "shared_prefix": False}, True),
        ({"attention": "joint"}, True),
        ({"attention": "joint", "class_token": False}, True),
        ({"attention": "space"}, False),
        ({"attention": "space", "register_tokens": 2}, False),
    ],
)
def test_slices_meet_but_in_space_attention(options: dict[str, Any], meet: bool) -> None:
    encoder = _shaken(_tiny(**options))
    image = torch.randn(1, 1, 4, 16, 24)
    other = image.clone()
    other[:, :, 3] += 1.0
    change = (_run(encoder, image) - _run(encoder, other)).abs().amax(dim=(0, 1, 3, 4))
    assert change[3] > 1e-3
    assert bool((change[:3] > 1e-4).all()) is meet
    assert meet or bool((change[:3] == 0).all())


@pytest.mark.parametrize("shared", [True, False])
def test_without_projection_slices_meet_in_a_shared_prefix_alone(shared: bool) -> None:
    encoder = _shaken(_tiny(shared_prefix=shared))
    for block in encoder.blocks:
        nn.init.zeros_(block.temporal_project.weight)  # pyright: ignore
        nn.init.zeros_(block.temporal_project.bias)  # pyright: ignore
    image = torch.randn(1, 1, 4, 16, 24)
    other = image.clone()
    other[:, :, 3] += 1.0
    change = (_run(encoder, image) - _run(encoder, other))[:, :, :3].abs().max()
    assert change > 1e-5 if shared else change == 0


def test_attention_over_depth_begins_as_nothing() -> None:
    fresh = _tiny(class_token=False)
    image = torch.randn(1, 1, 4, 16, 24)
    alone = torch.cat([_run(fresh, image[:, :, d : d + 1]) for d in range(4)], dim=2)
    torch.testing.assert_close(_run(fresh, image), alone)


@pytest.mark.parametrize("attention", ["divided", "joint"])
def test_the_order_of_slices_is_in_the_positions_alone(attention: str) -> None:
    encoder = _shaken(_tiny(attention=attention))
    image, order = torch.randn(1, 1, 4, 16, 24), [2, 0, 3, 1]
    ordered = _run(encoder, image)[:, :, order]
    assert not torch.allclose(_run(encoder, image[:, :, order]), ordered, atol=1e-3)
    nn.init.zeros_(encoder.depth_positions)  # pyright: ignore[reportArgumentType]
    ordered = _run(encoder, image)[:, :, order]
    torch.testing.assert_close(_run(encoder, image[:, :, order]), ordered, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_an_image_is_a_volume_of_one_slice(attention: str) -> None:
    flat = _shaken(_tiny((16, 24), attention=attention))
    volume = _tiny((1, 16, 24), attention=attention)
    state = flat.state_dict()
    state["embed.weight"] = state["embed.weight"].unsqueeze(2)
    volume.load_state_dict(state)
    image = torch.randn(2, 1, 16, 24)
    torch.testing.assert_close(_run(volume, image.unsqueeze(2)).squeeze(2), _run(flat, image))


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("shape", [(9, 8, 32), (1, 24, 16)])
def test_inputs_of_another_size_than_the_roi_are_taken(
    attention: str, shape: tuple[int, ...]
) -> None:
    feature = _run(_tiny(attention=attention), torch.randn(1, 1, *shape))
    assert feature.shape[2:] == (shape[0], shape[1] // 8, shape[2] // 8)


def test_positions_of_another_grid_are_adopted() -> None:
    encoder = _tiny()  # 4 slices of 2 x 3 tokens
    ramp = torch.arange(8.0).reshape(1, 1, 8).expand(1, 12, 8)
    lines = encoder.adopt("depth_positions", ramp)
    torch.testing.assert_close(lines[0, 0], torch.tensor([0.5, 2.5, 4.5, 6.5]))
    torch.testing.assert_close(encoder.adopt("depth_positions", ramp[..., :1] + 3), lines * 0 + 3)
    plane = torch.randn(1, 12, 4, 6)
    wanted = nn.functional.interpolate(plane, (2, 3), mode="bicubic", align_corners=False)
    torch.testing.assert_close(encoder.adopt("positions", plane), wanted)
    token = torch.randn(1, 1, 12)
    assert encoder.adopt("prefix_tokens", token) is token


def test_layer_scale_is_on_the_branches_within_slices_alone() -> None:
    encoder = _shaken(_tiny(layer_scale=1e-4, depth=1, class_token=False))
    block: Any = encoder.blocks[0]
    for scale in (block.scale1, block.scale2):
        nn.init.zeros_(scale.gamma)
    tokens = torch.randn(1, 4, 6, 12)
    with torch.no_grad():
        torch.testing.assert_close(block(tokens), tokens + block._over_depth(tokens))
        assert block._over_depth(tokens).abs().max() > 1e-3


def test_the_last_map_is_normed_unless_told_otherwise() -> None:
    image = torch.randn(1, 1, 4, 16, 24)
    torch.testing.assert_close(
        _run(_tiny(), image).mean(1), torch.zeros(1, 4, 2, 3), atol=1e-5, rtol=0
    )
    assert _run(_tiny(final_norm=False), image).mean(1).abs().max() > 1e-4


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_checkpointing_changes_memory_alone(attention: str) -> None:
    plain = _shaken(_tiny(attention=attention))
    frugal = _tiny(attention=attention, gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(1, 1, 4, 16, 24)
    runs = []
    for encoder in (plain.train(), frugal.train()):
        calls: list[None] = []
        encoder.blocks[1].norm1.register_forward_hook(  # pyright: ignore
            lambda *_, seen=calls: seen.append(None)
        )
        encoder(image)[-1].square().sum().backward()
        runs.append(len(calls))
    assert runs == [1, 2]
    torch.testing.assert_close(plain.embed.weight.grad, frugal.embed.weight.grad)


@pytest.mark.parametrize("options", [{}, {"attention": "joint"}, {"gated": True}])
def test_every_weight_learns(options: dict[str, Any]) -> None:
    encoder = _shaken(_tiny(layer_scale=0.1, register_tokens=2, **options)).train()
    encoder(torch.randn(2, 1, 4, 16, 24))[-1].square().sum().backward()
    idle = [n for n, p in encoder.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_paths_are_dropped_in_training_alone_and_more_often_in_later_blocks() -> None:
    encoder = _shaken(_tiny(drop_path=0.5))
    rates = [block.drop_path.rate for block in encoder.blocks]  # pyright: ignore
    assert rates == [0.0, 0.25, 0.5]
    image = torch.randn(4, 1, 4, 16, 24)
    torch.testing.assert_close(_run(encoder, image), _run(encoder, image))
    encoder.train()
    assert not torch.allclose(_run(encoder, image), _run(encoder, image))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"attention": "joint", "class_token": False},
        {"attention": "space"},
        {"register_tokens": 2, "shared_prefix": False, "layer_scale": 0.1, "patch_size": (2, 8, 4)},
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_it_scripts_and_gives_the_same(options: dict[str, Any]) -> None:
    encoder = _shaken(_tiny(drop_path=0.1, **options))
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(encoder), buffer)
    buffer.seek(0)
    scripted = torch.jit.load(buffer)
    for shape in [(4, 16, 24), (6, 24, 8)]:
        image = torch.randn(1, 1, *shape)
        torch.testing.assert_close(_run(scripted, image), _run(encoder, image))


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"embed_dim": 13}, "no multiple of num_heads"),
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"patch_size": (3, 8, 8)}, "no multiple of patch_size"),
        ({"patch_size": (8, 8)}, "patch_size .* must be 3 positive integers"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
        ({"attention": "time"}, "no attention 'time'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)


def test_an_input_that_the_patch_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="no multiple of"):
        _tiny()(torch.zeros(1, 1, 4, 12, 16))
