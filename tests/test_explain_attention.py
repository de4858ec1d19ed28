from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.explain_encoders import NOT_OVER_PLACES, OVER_PLACES, ROI, Looking, tiny
from unetr_app.errors import InvalidRequest
from unetr_app.explain import capture_attention, prefix_attention, voxel_attention
from unetr_app.explain.attention_map import cell_of, prefix_count
from unetr_app.explain.token_layout import TokenLayout, find_layout
from unetr_app.networks import ENCODERS

FAMILIES = [
    ("vit", {}),
    ("vit", {"class_token": True, "register_tokens": 3}),
    ("vit", {"positions": "rotary"}),
    ("timesformer", {}),
    ("timesformer", {"attention": "joint"}),
    ("timesformer", {"attention": "space", "class_token": False}),
    ("segformer", {}),
    ("pvt", {}),
    ("pvt", {"linear": True}),
    ("mvit", {}),
    ("mvit", {"class_token": True}),
]


def calls_of(name: str, **options: object):
    if name not in ENCODERS:
        pytest.skip("not in the table")
    torch.manual_seed(7)
    return capture_attention(tiny(name, **options), torch.randn(1, 1, *ROI))


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_rows_sum_to_1_and_attention_times_values_is_the_output(
    name: str, options: dict[str, object]
):
    calls = calls_of(name, **options)
    for call in calls:
        weights = call.weights()
        torch.testing.assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))
        torch.testing.assert_close(weights @ call.value, call.output, atol=1e-5, rtol=1e-4)
    assert max(float(call.output.abs().max()) for call in calls) > 1e-3


@pytest.mark.parametrize(("name", "options"), FAMILIES)
def test_every_token_has_its_place(name: str, options: dict[str, object]):
    calls = calls_of(name, **options)
    prefix = int(bool(options.get("class_token", name == "timesformer")))
    prefix += int(options.get("register_tokens", 0))  # pyright: ignore
    assert prefix_count(calls) == prefix
    for call in calls:
        assert call.queries is not None
        assert call.keys is not None
        assert call.queries.groups == call.keys.groups == len(call.query)
        assert call.queries.tokens == call.query.shape[2]
        assert call.keys.tokens == call.key.shape[2]
    maps = voxel_attention(calls, (20, 40, 10), ROI)
    assert len(maps) == len(calls)
    for one in maps:
        total = one.weights.sum(axis=(1, 2, 3)) + one.to_prefix.sum(axis=1)
        np.testing.assert_allclose(total, 1.0, atol=1e-5)


def test_calls_are_named_after_their_modules():
    names = [call.name for call in calls_of("vit")]
    assert names == ["blocks.0.attention", "blocks.1.attention"]


@pytest.mark.parametrize("name", NOT_OVER_PLACES)
def test_attention_over_channels_or_none_is_a_clear_error(name: str):
    with pytest.raises(InvalidRequest, match=r"no attention over places.*XCiT.*--what erf"):
        calls_of(name)


def test_the_encoder_is_left_as_it_was():
    encoder = tiny("vit").train()
    x = torch.randn(1, 1, *ROI)
    before = encoder(x)[-1]
    capture_attention(encoder, x)
    assert all(module.training for module in encoder.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.modules())
    torch.testing.assert_close(encoder(x)[-1], before)


def test_hooks_go_where_the_encoder_fails():
    encoder = tiny("vit")
    with pytest.raises(ValueError, match="no multiple of"):
        capture_attention(encoder, torch.randn(1, 1, 32, 64, 63))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in encoder.modules())


def test_one_input_at_a_time():
    with pytest.raises(InvalidRequest, match="one input at a time"):
        capture_attention(tiny("vit"), torch.randn(2, 1, *ROI))


@pytest.mark.parametrize("pool", [(1, 1, 1), (1, 2, 3)])
def test_a_voxel_is_shown_where_its_token_looks(pool: tuple[int, int, int]):
    grid, stride = (2, 4, 6), (4, 2, 3)
    keys = tuple(n // p for n, p in zip(grid, pool, strict=True))
    random = np.random.default_rng(0)
    target = random.integers(0, int(np.prod(keys)), int(np.prod(grid))).tolist()
    encoder = Looking(target, stride=stride, pool=pool)
    shape = tuple(n * s for n, s in zip(grid, stride, strict=True))
    calls = capture_attention(encoder, torch.randn(1, 1, *shape))
    for voxel in ((0, 0, 0), (7, 7, 17), (4, 3, 8), (3, 6, 2)):
        (one,) = voxel_attention(calls, voxel, shape)
        assert one.weights.shape == (1, *keys)
        cell = tuple(v // s for v, s in zip(voxel, stride, strict=True))
        looked_at = np.unravel_index(target[np.ravel_multi_index(cell, grid)], keys)
        assert one.mean[looked_at] == pytest.approx(1.0)


def test_divided_attention_stays_in_its_slice_or_line():
    calls = calls_of("timesformer")
    maps = {one.name: one.weights for one in voxel_attention(calls, (20, 40, 10), ROI)}
    seen = maps["blocks.0.temporal_attention"].sum(axis=0) > 0  # (4, 4, 4)
    assert seen[:, 2, 0].all()
    assert seen.sum() == 4
    seen = maps["blocks.0.attention"].sum(axis=0) > 0
    assert seen[2].all()
    assert seen.sum() == 16


def test_a_class_token_looks_at_the_whole_image():
    calls = calls_of("vit", class_token=True, register_tokens=1)
    for index in (0, 1):
        maps = prefix_attention(calls, index=index)
        assert [one.weights.shape for one in maps] == [(2, 4, 4, 4)] * 2
        row = calls[0].rows(0, [index])[:, 0]
        np.testing.assert_allclose(maps[0].weights, row[:, 2:].reshape(2, 4, 4, 4))
        np.testing.assert_allclose(maps[0].to_prefix, row[:, :2])
    with pytest.raises(InvalidRequest, match="takes no part"):
        prefix_attention(calls, index=2)


def test_copies_of_a_class_token_are_shown_side_by_side():
    calls = [call for call in calls_of("timesformer") if "temporal" not in call.name]
    (one, _) = prefix_attention(calls)
    total = one.weights.sum(axis=(1, 2, 3)) + one.to_prefix.sum(axis=1)
    np.testing.assert_allclose(total, 1.0, atol=1e-5)
    first = calls[0].rows(3, [0])[:, 0, 1:].reshape(2, 4, 4) / 4
    np.testing.assert_allclose(one.weights[:, 3], first, atol=1e-6)


class Calling(nn.Module):
    """One call of attention with whatever arguments."""

    channels = (4,)
    strides = ((4, 4, 4),)

    def __init__(self, *args: object, heads: int = 2, key_heads: int = 2, **named: object):
        super().__init__()
        self.args, self.named, self.heads, self.key_heads = args, named, heads, key_heads

    def forward(self, x: Tensor) -> list[Tensor]:
        torch.manual_seed(3)
        query = torch.randn(1, self.heads, 8, 4)
        key, value = torch.randn(2, 1, self.key_heads, 8, 4).unbind(0)
        functional.scaled_dot_product_attention(query, key, value, *self.args, **self.named)  # pyright: ignore
        return [functional.avg_pool3d(x, 4)]


BIAS = torch.linspace(-2, 2, 64).reshape(8, 8)


@pytest.mark.parametrize(
    "encoder",
    [
        Calling(),
        Calling(BIAS),
        Calling(attn_mask=BIAS[None, None]),
        Calling(attn_mask=BIAS.T > -1.5),
        Calling(is_causal=True),
        Calling(scale=0.1),
        Calling(None, 0.0, False, scale=2.0),
        Calling(heads=4, enable_gqa=True),
    ],
)
def test_every_argument_of_fused_attention_counts(encoder: Calling):
    (call,) = capture_attention(encoder, torch.zeros(1, 1, 8, 8, 8))
    torch.testing.assert_close(call.weights() @ call.value, call.output)
    torch.testing.assert_close(call.rows(0, [5, 2]), call.weights()[0][:, [5, 2]])


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2), (0,)])
@pytest.mark.parametrize("prefix", [0, 2])
def test_places_and_tokens_lead_to_each_other(axes: tuple[int, ...], prefix: int):
    layout = TokenLayout((2, 3, 4), axes, prefix)
    seen: set[tuple[int, int]] = set()
    for cell in np.ndindex(2, 3, 4):
        group, token = layout.locate(cell)
        seen.add((group, token))
        values = np.zeros((5, layout.tokens), dtype=np.float32)
        values[:, token] = 1.0
        placed = layout.place(group, values)
        assert placed.shape == (5, 2, 3, 4)
        assert np.argwhere(placed[0]).tolist() == [list(cell)]
    assert len(seen) == 24
    assert min(token for _, token in seen) == prefix
    assert layout.groups * (layout.tokens - prefix) == 24


@pytest.mark.parametrize(
    ("groups", "tokens", "seen", "found"),
    [
        (1, 64, [(8, 8, 8), (4, 4, 4)], TokenLayout((4, 4, 4), (0, 1, 2))),
        (1, 69, [(4, 4, 4)], TokenLayout((4, 4, 4), (0, 1, 2), 5)),
        (1, 64, [(4, 4, 4), (2, 4, 8)], TokenLayout((2, 4, 8), (0, 1, 2))),
        (6, 5, [(5, 2, 3)], TokenLayout((5, 2, 3), (0,))),
        (5, 7, [(5, 2, 3)], TokenLayout((5, 2, 3), (1, 2), 1)),
        (16, 16, [(16, 4, 4)], None),  # slices or lines: nobody can tell
        (27, 343, [(21, 21, 21)], None),  # windows
        (1, 64, [], None),
        (1, 17, [(4, 4)], TokenLayout((4, 4), (0, 1), 1)),
    ],
)  # fmt: skip
def test_layouts_are_found(
    groups: int, tokens: int, seen: list[tuple[int, ...]], found: TokenLayout | None
):
    assert find_layout(groups, tokens, seen) == found


def test_cells_hold_their_voxels():
    assert cell_of((7, 0, 11), (8, 8, 12), (2, 8, 3)) == (1, 0, 2)
    for outside in ((8, 0, 0), (0, -1, 0)):
        with pytest.raises(InvalidRequest, match="there is no voxel"):
            cell_of(outside, (8, 8, 12), (2, 8, 3))


def test_families_are_all_tried():
    assert {name for name, _ in FAMILIES} == set(OVER_PLACES)
