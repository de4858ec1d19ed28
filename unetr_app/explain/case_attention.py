"""CaseAttention: all that is shown of the attention to one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from unetr_app.errors import Cancelled
from unetr_app.explain.attention import AttentionCall, capture_attention
from unetr_app.explain.attention_map import (
    AttentionMap,
    cell_of,
    prefix_attention,
    prefix_count,
    voxel_attention,
)
from unetr_app.explain.explainer import Explainer
from unetr_app.explain.files import ROLLOUT
from unetr_app.explain.rollout import is_isotropic, rollout
from unetr_app.explain.window import Window


@dataclass(frozen=True, eq=False)
class CaseAttention:
    """Attention of one token, layer by layer, to what one window shows.

    Args:
        maps: One a layer; after them the rollout, for isotropic encoders.
        window: What the encoder saw.
        voxel: Index on the window of the voxel whose token looks; None for the class token.
    """

    maps: tuple[AttentionMap, ...]
    window: Window
    voxel: tuple[int, int, int] | None


def attention_of(
    explainer: Explainer,
    window: Window,
    voxel: tuple[int, int, int] | None,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> CaseAttention:
    """Where one token looks.

    Args:
        explainer: Whose encoder.
        window: What it sees.
        voxel: Index on the window; None for the class token, or the window's middle where the
            encoder has none.
        should_stop: Asked between layers.

    Raises:
        InvalidRequest: If the encoder has no attention over places that can be laid out.
        Cancelled: If ``should_stop`` said so.
    """
    calls = capture_attention(explainer.encoder, explainer.tensor(window))
    if should_stop is not None and should_stop():
        raise Cancelled("stopped before the attention was finished")
    shape = window.geometry.shape
    if voxel is None and not prefix_count(calls):
        i, j, k = (n // 2 for n in shape)
        voxel = (i, j, k)
    maps = prefix_attention(calls) if voxel is None else voxel_attention(calls, voxel, shape)
    followed = _rolled_out(calls, voxel, shape, should_stop) if is_isotropic(calls) else []
    return CaseAttention((*maps, *followed), window, voxel)


def _rolled_out(
    calls: list[AttentionCall],
    voxel: tuple[int, int, int] | None,
    shape: tuple[int, int, int],
    should_stop: Callable[[], bool] | None,
) -> list[AttentionMap]:
    """The rollout of the same token, as one more map; none where tokens have no known place."""
    layout = calls[-1].queries
    if layout is None:
        return []
    token = 0
    if voxel is not None:
        _, token = layout.locate(cell_of(voxel, shape, layout.grid))
    row = rollout(calls, [token], should_stop=should_stop).numpy()  # (1, tokens)
    return [AttentionMap(ROLLOUT, layout.place(0, row), row[:, : layout.prefix].copy())]
