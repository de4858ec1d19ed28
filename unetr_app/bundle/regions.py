"""Regions: overlapping masks that a bundle's last step makes into one label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from unetr_app.bundle.label_table import is_background
from unetr_app.labels import LabelSet

_MOST_CHANNELS = 10


def merged_values(step: Any, key: str, channels: int) -> dict[tuple[bool, ...], int]:
    """What a transform makes of each combination of masks.

    Args:
        step: A dictionary transform from masks (L, ...) to a label map (1, ...).
        key: Under which it finds the masks.
        channels: How many masks there are.

    Returns:
        Label value of each combination; empty where the transform is no such one.
    """
    import torch

    if not 1 <= channels <= _MOST_CHANNELS:
        return {}
    combinations = list(product((False, True), repeat=channels))
    masks = torch.tensor(combinations, dtype=torch.float32).T[:, :, None, None]
    try:
        found: Any = step({key: masks.clone()})[key]
        turned: Any = step({key: masks.flip(1)})[key].flip(1)
        if found.shape != (1, *masks.shape[1:]) or not bool((found == turned).all()):
            return {}
        values = [float(value) for value in found.flatten()]
    except Exception:  # a bundle's own function may raise anything
        return {}
    if any(value < 0 or value != int(value) for value in values):
        return {}
    return {masks: int(value) for masks, value in zip(combinations, values, strict=True)}


def merged_labels(values: Mapping[tuple[bool, ...], int], names: Sequence[str]) -> LabelSet:
    """Labels of a map that was made out of masks, named by the masks that they lie in.

    Args:
        values: Label value of each combination of masks.
        names: Of the masks.

    Example:
        >>> inside = {(True, True): 4, (False, True): 2, (True, False): 4, (False, False): 0}
        >>> merged_labels(inside, ("core", "whole")).names
        ('whole without core', 'core')
    """
    found = {
        value: _place([masks for masks, other in values.items() if other == value], names)
        for value in sorted(set(values.values()) - {0})
    }
    twice = [name for name in found.values() if list(found.values()).count(name) > 1]
    return LabelSet.from_names(
        {value: f"{name} {value}" if name in twice or not name else name
         for value, name in found.items()}
    )  # fmt: skip


def _place(combinations: Sequence[tuple[bool, ...]], names: Sequence[str]) -> str:
    """The masks that all combinations lie in, and those that none does."""
    real = [n for n, name in enumerate(names) if not is_background(name)]
    inside = [names[n] for n in real if all(masks[n] for masks in combinations)]
    outside = [names[n] for n in real if not any(masks[n] for masks in combinations)]
    without = f" without {', '.join(outside)}" if outside else ""
    return f"{' and '.join(inside) or 'label'}{without}"
