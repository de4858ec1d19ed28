from __future__ import annotations

import pytest
import torch

from tests.explain_encoders import ROI, tiny
from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.explain import AttentionCall, capture_attention, rollout
from unetr_app.explain import rollout as rollout_name
from unetr_app.explain.token_layout import TokenLayout

LAYOUT = TokenLayout((2, 2, 2), (0, 1, 2))


def call(query: torch.Tensor, key: torch.Tensor | None = None) -> AttentionCall:
    key = query if key is None else key
    empty = torch.zeros(1, 2, 8, 4)
    return AttentionCall("layer", query, key, empty, empty, None, 1.0, LAYOUT, LAYOUT)


def uniform(layers: int) -> list[AttentionCall]:
    return [call(torch.zeros(1, 2, 8, 4)) for _ in range(layers)]


@pytest.mark.parametrize("layers", [1, 3])
def test_rollout_of_uniform_attention_is_uniform(layers: int):
    rows = rollout(uniform(layers), [0, 5], residual=0.0)
    torch.testing.assert_close(rows, torch.full((2, 8), 1 / 8))


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_residual_branches_keep_a_share_for_the_token_itself(layers: int):
    (row,) = rollout(uniform(layers), [3])
    expected = torch.full((8,), (1 - 0.5**layers) / 8)
    expected[3] += 0.5**layers
    torch.testing.assert_close(row, expected)


@pytest.mark.parametrize("largest", [1, 40, 2**24])
def test_it_is_the_product_of_the_layers(largest: int, monkeypatch: pytest.MonkeyPatch):
    module = __import__("sys").modules["unetr_app.explain.rollout"]
    monkeypatch.setattr(module, "_LARGEST", largest)
    torch.manual_seed(0)
    calls = capture_attention(tiny("vit", class_token=True), 3 * torch.randn(1, 1, *ROI))
    product = torch.eye(65)
    for one in calls:
        product = (0.5 * torch.eye(65) + 0.5 * one.weights()[0].mean(dim=0)) @ product
    rows = rollout(calls, [0, 7, 64])
    torch.testing.assert_close(rows, product[[0, 7, 64]])
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(3))
    assert callable(rollout_name)


def test_pooled_or_divided_tokens_have_no_rollout():
    pooled = call(torch.zeros(1, 2, 8, 4), torch.zeros(1, 2, 4, 4))
    divided = call(torch.zeros(3, 2, 8, 4))
    other = call(torch.zeros(1, 2, 6, 4))
    for calls in ([], [pooled], [divided], [*uniform(1), other]):
        with pytest.raises(InvalidRequest, match="rollout needs"):
            rollout(calls, [0])


def test_it_stops_when_asked():
    with pytest.raises(Cancelled):
        rollout(uniform(2), [0], should_stop=lambda: True)
