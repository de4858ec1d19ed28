from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest
from unetr_app.networks.encoders.xcit import (
    ConvolutionalStem,
    CrossCovarianceAttention,
    FourierPositions,
    XCiT,
    XCiTBlock,
)

ROI = (8, 16, 24)


def _tiny(**options: Any) -> XCiT:
    torch.manual_seed(0)
    tiny = {
        "patch_size": (4, 8, 8), "embed_dim": 16, "depth": 3, "num_heads": 2, "taps": [1, 3],
    }  # fmt: skip
    return XCiT(1, ROI, **(tiny | options)).eval()


def test_one_map_a_tap_with_the_stride_of_the_patch() -> None:
    encoder = _tiny()
    maps = encoder(torch.randn(2, 1, *ROI))
    assert [m.shape for m in maps] == [(2, 16, 2, 2, 3)] * 2
    assert encoder.channels == (16, 16)
    assert encoder.strides == ((4, 8, 8),) * 2


def test_images_of_two_axes() -> None:
    encoder = XCiT(3, (16, 32), spatial_dims=2, embed_dim=16, depth=1, num_heads=2)
    assert [m.shape for m in encoder(torch.randn(2, 3, 16, 32))] == [(2, 16, 1, 2)]


@pytest.mark.parametrize("shape", [(4, 8, 8), (12, 40, 16)])
def test_inputs_of_another_size_than_the_roi_are_taken(shape: tuple[int, int, int]) -> None:
    maps = _tiny()(torch.randn(1, 1, *shape))
    assert maps[-1].shape[2:] == (shape[0] // 4, shape[1] // 8, shape[2] // 8)


def test_an_input_that_the_patch_does_not_divide_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"no multiple of \[4, 8, 8\]"):
        _tiny()(torch.zeros(1, 1, 8, 12, 16))


def _attention() -> CrossCovarianceAttention:
    torch.manual_seed(0)
    attention = CrossCovarianceAttention(12, 3).eval()
    torch.nn.init.uniform_(attention.temperature, 0.5, 5.0)
    return attention


@torch.no_grad()
def test_cross_covariance_is_as_the_paper_writes_it() -> None:
    attention = _attention()
    tokens = torch.randn(1, 7, 12)
    query, key, value = attention.qkv(tokens)[0].split(12, dim=1)  # each (N, C)
    heads: list[Tensor] = []
    for head in range(3):
        of_head = slice(4 * head, 4 * head + 4)
        q = query[:, of_head] / query[:, of_head].norm(dim=0)
        k = key[:, of_head] / key[:, of_head].norm(dim=0)
        weights = (k.T @ q * attention.temperature[head, 0, 0]).softmax(0)  # of keys, a query
        heads.append(value[:, of_head] @ weights)
    expected = attention.project(torch.cat(heads, dim=1))
    torch.testing.assert_close(attention(tokens)[0], expected, atol=1e-6, rtol=1e-5)


def test_repeated_tokens_attend_as_one() -> None:
    attention = _attention()
    tokens = torch.randn(2, 5, 12)
    torch.testing.assert_close(attention(tokens.repeat(1, 4, 1)), attention(tokens).repeat(1, 4, 1))


def _slow_positions(weight: Tensor, bias: Tensor, grid: tuple[int, ...]) -> Tensor:
    """(C, h, w) from (C, 64), one value at a time."""
    positions = torch.zeros(len(bias), *grid)
    for row in range(grid[0]):
        for column in range(grid[1]):
            waves: list[float] = []
            for place, count in ((row, grid[0]), (column, grid[1])):
                turn = 2 * math.pi * (place + 1) / (count + 1e-6)
                for n in range(16):
                    angle = turn / 10000 ** (2 * n / 32)
                    waves += [math.sin(angle), math.cos(angle)]
            positions[:, row, column] = weight @ torch.tensor(waves) + bias
    return positions


@torch.no_grad()
@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (4, 2)])
def test_positions_are_the_waves_of_height_then_width(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    positions = FourierPositions(6, 2)
    torch.nn.init.normal_(positions.bias)
    expected = _slow_positions(positions.weight.flatten(1), positions.bias, grid)
    torch.testing.assert_close(positions(list(grid)), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_positions_of_images_know_no_depth_until_they_learn_it() -> None:
    torch.manual_seed(0)
    flat, deep = FourierPositions(6, 2), FourierPositions(6, 3)
    deep.weight.copy_(deep.adopt("weight", flat.weight))
    volume = deep([4, 3, 5])
    torch.testing.assert_close(volume, flat([3, 5]).unsqueeze(1).expand(-1, 4, -1, -1))
    deep.weight[:, 64:].normal_()  # the columns of depth
    change = deep([4, 3, 5]) - volume
    assert change.diff(dim=1).abs().min() > 1e-3
    torch.testing.assert_close(change, change[:, :, :1, :1].expand(-1, -1, 3, 5))


@torch.no_grad()
def test_positions_can_be_left_out() -> None:
    without, placed = _tiny(positions=False), _tiny()
    known = without.load_state_dict(placed.state_dict(), strict=False)
    assert known.unexpected_keys == ["positions.weight", "positions.bias"]
    image = torch.randn(1, 1, *ROI)
    assert not torch.allclose(without(image)[-1], placed(image)[-1], atol=1e-2)
    placed.positions.weight.zero_()
    torch.testing.assert_close(without(image)[-1], placed(image)[-1])


@pytest.mark.parametrize(
    ("patch", "layers", "strides"),
    [
        ((16, 16), 4, [(2, 2)] * 4),
        ((8, 8), 3, [(2, 2)] * 3),
        ((4, 8, 16), 4, [(1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)]),
        ((1, 4, 4), 2, [(1, 2, 2), (1, 2, 2)]),
        ((8, 8), 4, [(1, 1), (2, 2), (2, 2), (2, 2)]),
        ((1, 1), 1, [(1, 1)]),
    ],
)
def test_the_stem_halves_its_coarser_axes_first(
    patch: tuple[int, ...], layers: int, strides: list[tuple[int, ...]]
) -> None:
    stem = ConvolutionalStem(2, 16, patch, layers).eval()
    assert [step[0].stride for step in stem.steps] == strides
    widths = [step[0].out_channels for step in stem.steps]
    assert widths == [16 >> (layers - 1 - n) for n in range(layers)]
    shape = tuple(3 * p for p in patch)
    assert stem(torch.randn(1, 2, *shape)).shape == (1, 16, *(3 for _ in patch))


def test_a_block_whose_branches_count_nothing_changes_nothing() -> None:
    torch.manual_seed(0)
    block = XCiTBlock(
        8, 2, 16, spatial_dims=2, qkv_bias=True, drop_path=0.0, layer_scale=0.0, norm_eps=1e-6
    ).eval()
    tokens = torch.randn(2, 6, 8)
    assert torch.equal(block(tokens, [2, 8, 2, 3]), tokens)


@torch.no_grad()
def test_the_local_interaction_reaches_two_tokens() -> None:
    local = _tiny().blocks[0].local
    features = torch.randn(1, 16, 2, 7, 8)
    other = features.clone()
    other[..., 0, 3, 2] += 1.0
    changed = (local(features) - local(other)).abs().amax((0, 1)) > 1e-7  # (2, 7, 8)
    expected = torch.zeros(2, 7, 8, dtype=torch.bool)
    expected[:, 1:6, 0:5] = True
    assert torch.equal(changed, expected)


def test_branches_are_dropped_more_often_in_later_blocks() -> None:
    encoder = _tiny(drop_path=0.5)
    assert [block.drop_path.rate for block in encoder.blocks] == [0.0, 0.25, 0.5]


def test_checkpointing_changes_memory_alone() -> None:
    plain, frugal = _tiny(), _tiny(gradient_checkpointing=True)
    frugal.load_state_dict(plain.state_dict())
    image = torch.randn(2, 1, *ROI)
    for encoder in (plain.train(), frugal.train()):
        encoder(image)[-1].square().sum().backward()
    for ours, theirs in zip(frugal.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert plain.blocks[0].local.norm.running_mean.abs().max() > 0
    for ours, theirs in zip(frugal.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)  # running statistics are updated once


@pytest.mark.parametrize("options", [{}, {"positions": False, "layer_scale": None}])
def test_torchscript_gives_the_same(options: dict[str, Any]) -> None:
    encoder = _tiny(**options)
    scripted = torch.jit.script(encoder)
    for shape in (ROI, (4, 8, 8)):
        image = torch.randn(1, 1, *shape)
        for ours, plain in zip(scripted(image), encoder(image), strict=True):
            torch.testing.assert_close(ours, plain)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"embed_dim": 15}, "no multiple of num_heads"),
        ({"patch_size": 7}, "no multiple of patch_size"),
        ({"patch_size": (4, 8, 12)}, "not made of powers of two"),
        ({"stem_layers": 2}, r"stem_layers 2 do not reach patch_size \(4, 8, 8\)"),
        ({"embed_dim": 18}, "cannot be halved 2 times"),
        ({"stem_layers": 0, "patch_size": 1}, "do not reach"),
        ({"taps": [1, 2]}, "do not fit 3 blocks"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _tiny(**options)
