"""Rollout: attention followed from the last layer to the first.

Abnar & Zuidema 2020 (Quantifying attention flow in transformers, arXiv:2005.00928, section 3): the
product of all layers' attention, averaged over heads, each mixed with the identity for the residual
branch. For isotropic encoders only, whose layers all have the same tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from unetr_app.errors import Cancelled, InvalidRequest
from unetr_app.explain.attention import AttentionCall

_LARGEST = 2**24  # attention weights computed at a time


def rollout(
    calls: Sequence[AttentionCall],
    tokens: Sequence[int],
    *,
    residual: float = 0.5,
    should_stop: Callable[[], bool] | None = None,
) -> Tensor:
    """From which input tokens the last layer's tokens are made.

    Only the rows asked for are followed, block by block of each layer's attention, so that memory
    stays small.

    Args:
        calls: All attention of the encoder, first layer first.
        tokens: Which tokens of the last layer.
        residual: Share of the identity in each layer, 0 to 1.
        should_stop: Asked before each layer.

    Returns:
        (rows, tokens), each row summing to 1.

    Raises:
        InvalidRequest: If the layers do not all have the same tokens.
        Cancelled: If ``should_stop`` said so.
    """
    require_isotropic(calls)
    rows = torch.zeros(len(tokens), calls[-1].query.shape[2])
    rows[range(len(tokens)), list(tokens)] = 1.0
    for call in reversed(calls):
        if should_stop is not None and should_stop():
            raise Cancelled("stopped before the rollout was finished")
        rows = residual * rows + (1 - residual) * _through(rows, call)
    return rows


def is_isotropic(calls: Sequence[AttentionCall]) -> bool:
    """Do all layers have the same tokens, each of which sees all others?"""
    first = calls[0]
    count = first.query.shape[2]
    return all(
        len(call.query) == 1 and call.query.shape[2] == count and call.key.shape[2] == count
        for call in calls
    )


def require_isotropic(calls: Sequence[AttentionCall]) -> None:
    """Raise `InvalidRequest` unless all layers have the same tokens."""
    if not calls or not is_isotropic(calls):
        raise InvalidRequest(
            "rollout needs an encoder whose layers all have the same tokens, each seeing all "
            "others (vit): here tokens are pooled, or dealt to groups"
        )


def _through(rows: Tensor, call: AttentionCall) -> Tensor:
    """``rows`` times the mean attention of the heads, (rows, tokens) to (rows, tokens)."""
    count = call.key.shape[2]
    step = max(1, _LARGEST // (call.heads * count))
    total = torch.zeros(len(rows), count)
    for start in range(0, count, step):
        block = slice(start, start + step)
        total += rows[:, block] @ call.rows(0, block).mean(dim=0)
    return total
