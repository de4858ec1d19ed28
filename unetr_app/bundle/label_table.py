"""Label tables: what a bundle's metadata say of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from unetr_app.labels import Code, Label, LabelSet

_BACKGROUND = (
    "background", "back ground", "bg", "everything else", "none", "other", "rest", "unlabeled",
    "unlabelled", "void",
)  # fmt: skip


def labels_from_table(table: Sequence[Mapping[str, Any]]) -> LabelSet:
    """From the ``labels`` of our bundles' metadata."""
    return LabelSet(
        tuple(
            Label(
                int(row["value"]),
                str(row["name"]),
                tuple(row.get("colour", (0, 0, 0))),
                **{key: Code(*row[key]) for key in ("type", "category", "modifier") if key in row},
            )
            for row in table
        )
    )


def is_label_table(found: Any) -> bool:
    """Is it what our bundles' metadata have under ``labels``: rows of values and names?"""
    if not isinstance(found, list):
        return False
    rows = cast("list[Any]", found)
    return bool(rows) and all(isinstance(row, dict) for row in rows)


def counted_from_0(channels: dict[int, str]) -> dict[int, str]:
    """Channels that begin with a background numbered 1, by the numbers they have in an array.

    Example:
        >>> counted_from_0({1: "background", 2: "liver"})
        {0: 'background', 1: 'liver'}
        >>> counted_from_0({1: "liver", 2: "tumor"})
        {1: 'liver', 2: 'tumor'}
    """
    first = min(channels, default=0)
    if first != 1 or not is_background(channels[1]):
        return channels
    return {number - 1: name for number, name in channels.items()}


def is_background(name: str) -> bool:
    """Does a channel of that name stand for what no label is?

    Example:
        >>> is_background("Background"), is_background("Whole tumor")
        (True, False)
    """
    return name.strip().casefold() in _BACKGROUND


def region_values(channels: Mapping[int, str], count: int = 0) -> tuple[int, ...]:
    """Label value of each channel where every channel is a mask of its own.

    Args:
        channels: Number and name, as ``channel_def`` gives them.
        count: Channels that the network has; 0 where that is not known.

    Example:
        >>> region_values({0: "Tumor core", 1: "Whole tumor"})
        (1, 2)
        >>> region_values({0: "background", 1: "spleen"})
        (0, 1)
        >>> region_values({0: "background", 1: "spleen"}, count=1)
        (1,)
    """
    named = max(channels, default=-1) + 1
    if is_background(channels.get(0, "")):
        return tuple(range(1, named)) if count == named - 1 else tuple(range(named))
    return tuple(range(1, named + 1))


def labels_from_channels(channels: Mapping[int, str], *, overlapping: bool) -> LabelSet:
    """From the names of output channels.

    Args:
        channels: Name of each channel.
        overlapping: Every channel is a mask; where not, the channel's number is the label's value.
    """
    first = 1 if overlapping and not is_background(channels.get(0, "")) else 0
    return LabelSet.from_names(_unique({first + n: name for n, name in channels.items()}))


def _unique(names: Mapping[int, str]) -> dict[int, str]:
    """Every name once; a value is added where it is there twice, or where it is empty."""
    plain = {value: name.strip() for value, name in names.items()}
    often = [name.casefold() for name in plain.values()]
    return {
        value: name if name and often.count(name.casefold()) == 1 else f"{name or 'label'} {value}"
        for value, name in plain.items()
    }
