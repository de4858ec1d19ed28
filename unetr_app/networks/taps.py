"""Taps: after which blocks an encoder of one stride gives its maps."""

from __future__ import annotations

from collections.abc import Sequence

from unetr_app.errors import InvalidRequest


def checked_taps(taps: Sequence[int] | None, depth: int) -> list[int]:
    """Block counts after which a map is taken, ascending, the last one the depth.

    Args:
        taps: As asked for; four at even distances where absent (fewer if ``depth`` is less).
        depth: Blocks of the encoder.

    Raises:
        InvalidRequest: If they do not ascend from 1 to the depth.
    """
    if depth < 1:
        raise InvalidRequest(f"depth {depth} must be at least 1")
    if taps is None:
        count = min(4, depth)
        taps = [round(depth * (n + 1) / count) for n in range(count)]
    ascending = sorted(set(taps)) == list(taps)
    if not taps or not ascending or taps[0] < 1 or taps[-1] != depth:
        raise InvalidRequest(
            f"taps {list(taps)} do not fit {depth} blocks",
            cure=f"Give ascending block counts from 1, the last one {depth}.",
        )
    return list(taps)
