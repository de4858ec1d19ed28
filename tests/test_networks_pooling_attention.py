from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from unetr_app.errors import InvalidRequest
from unetr_app.networks.pooling_attention import (
    PoolingAttention,
    TokenPooling,
    head_pooling,
    shortcut_pooling,
)
from unetr_app.networks.relative_positions import RelativePositions


def _pooling(**options: Any) -> TokenPooling:
    defaults: dict[str, Any] = {"mode": "conv", "class_token": False, "norm_eps": 1e-6}
    kernel, stride = options.pop("kernel", (3, 3)), options.pop("stride", (2, 2))
    return head_pooling(4, kernel, stride, **(defaults | options))


@pytest.mark.parametrize("mode", ["conv", "max", "average"])
@pytest.mark.parametrize("class_token", [False, True])
def test_pooling_is_what_torch_does_on_the_grid(mode: str, class_token: bool) -> None:
    torch.manual_seed(0)
    pooling = _pooling(mode=mode, class_token=class_token)
    tokens = torch.randn(2, 3, 24 + class_token, 4)  # of a 4 x 6 grid
    pooled, grid = pooling(tokens, [4, 6])
    assert grid == [2, 3]
    assert pooled.shape == (2, 3, 6 + class_token, 4)
    for head in range(3):
        on_grid = tokens[:, head, int(class_token) :].transpose(1, 2).reshape(2, 4, 4, 6)
        expected = pooling.pool(on_grid).flatten(2).transpose(1, 2)  # pyright: ignore
        if mode == "conv":
            expected = pooling.norm(expected)  # pyright: ignore
        torch.testing.assert_close(pooled[:, head, int(class_token) :], expected)
    if class_token:
        alone = pooling.norm(tokens[:, :, :1]) if mode == "conv" else tokens[:, :, :1]  # pyright: ignore
        torch.testing.assert_close(pooled[:, :, :1], alone)


def test_a_kernel_and_a_stride_of_one_leave_tokens_alone() -> None:
    tokens = torch.randn(1, 2, 6, 4)
    pooling = _pooling(kernel=(1, 1), stride=(1, 1))
    assert pooling(tokens, [2, 3]) == (tokens, [2, 3])
    assert not list(pooling.parameters())


def test_averages_count_the_zeros_around_the_grid_however_small_it_is() -> None:
    pooled, grid = _pooling(kernel=(3, 3, 3), stride=(1, 1, 1), mode="average")(
        torch.ones(1, 1, 2, 4), [2, 1, 1]
    )
    assert grid == [2, 1, 1]
    torch.testing.assert_close(pooled, torch.full((1, 1, 2, 4), 2 / 27))


@pytest.mark.parametrize("stride", [(2, 2), (3, 1), (4, 2), (1, 3)])
def test_the_shortcut_gets_the_grid_of_the_queries(stride: tuple[int, int]) -> None:
    grid = [12, 12]
    tokens = torch.randn(1, 1, 144, 4)
    shortcut, coarse = shortcut_pooling(stride, class_token=False)(tokens, grid)
    queries, expected = _pooling(stride=stride)(tokens, grid)
    assert coarse == expected == [12 // s for s in stride]
    assert shortcut.shape == queries.shape


@pytest.mark.parametrize(
    ("options", "what"),
    [({"kernel": (2, 3)}, "must be odd"), ({"mode": "median"}, "no pool 'median'")],
)
def test_kernels_that_do_not_fit_are_refused(options: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidRequest, match=what):
        _pooling(**options)


def _attention(**options: Any) -> PoolingAttention:
    torch.manual_seed(0)
    token = options.get("class_token", False)
    positions = RelativePositions((2, 2, 3), (1, 1, 2), 4) if options.pop("known", True) else None
    pools = [
        _pooling(kernel=(3, 3, 3), stride=stride, class_token=token)
        for stride in ((1, 2, 2), (2, 4, 4), (2, 4, 4))
    ]
    return PoolingAttention(10, 8, pools=pools, positions=positions, num_heads=2, **options).eval()


def _slow(attention: PoolingAttention, tokens: Tensor, grid: list[int], depth: int) -> Tensor:
    """Attention in the open: logits, softmax, sum."""
    prefix = attention.prefix
    qkv = attention.qkv(tokens).reshape(len(tokens), -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
    query, query_grid = attention.pool_query(qkv[0], grid)
    key, key_grid = attention.pool_key(qkv[1], grid)
    value, _ = attention.pool_value(qkv[2], grid)
    logits = query @ key.transpose(2, 3) / 2.0
    if attention.positions is not None:
        on_grid = query[:, :, prefix:]
        logits[:, :, prefix:, prefix:] += attention.positions(on_grid, query_grid, key_grid)
    logits[..., :prefix] += math.log(depth)
    mixed = logits.softmax(-1) @ value
    if attention.residual == "all":
        mixed += query
    elif attention.residual == "grid":
        mixed[:, :, prefix:] += query[:, :, prefix:]
    return attention.project(mixed.transpose(1, 2).flatten(2))


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("residual", ["all", "grid", "none"])
@pytest.mark.parametrize("balance_depth", [False, True])
def test_attention_equals_its_slow_twin(
    known: bool, class_token: bool, residual: Any, balance_depth: bool
) -> None:
    attention = _attention(
        known=known, class_token=class_token, residual=residual, balance_depth=balance_depth
    )
    tokens = torch.randn(2, 4 * 4 * 6 + class_token, 10)
    with torch.no_grad():
        mixed, grid = attention(tokens, [4, 4, 6])
        slow = _slow(attention, tokens, [4, 4, 6], 2 if balance_depth else 1)  # 4 slices / 2
    assert grid == [4, 2, 3]
    torch.testing.assert_close(mixed, slow, atol=1e-5, rtol=1e-5)


def test_an_unknown_residual_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no residual_pooling 'half'"):
        _attention(residual="half")
