"""What the tensors of an MViT tell of its sizes, once they are under our names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unetr_app.errors import UnusableWeights

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class BlockShapes:
    """The sizes of one block, read off its tensors.

    Args:
        channels_in: Channels of the tokens that come in.
        width: Channels after attention.
        channels_out: Channels after the feed-forward.
        hidden: Channels inside the feed-forward.
        head: Channels of a head; None where nothing has the size of a head.
    """

    channels_in: int
    width: int
    channels_out: int
    hidden: int
    head: int | None


def read_blocks(tensors: Tensors, count: int) -> list[BlockShapes]:
    """The sizes of every block.

    Raises:
        KeyError: If a tensor is missing that tells them.
    """
    return [_read_block(tensors, f"blocks.{n}.") for n in range(count)]


def _read_block(tensors: Tensors, block: str) -> BlockShapes:
    contract = tensors[block + "feed_forward.contract.weight"]  # (channels_out, hidden)
    pools = [f"{block}attention.pool_{what}.pool.weight" for what in ("query", "key")]
    heads = [int(tensors[name].shape[0]) for name in pools if name in tensors]  # of (head, 1, k...)
    heads += [int(tensors[name].shape[1]) for name in _tables(tensors, block)]
    return BlockShapes(
        channels_in=int(tensors[block + "norm1.weight"].shape[0]),
        width=int(tensors[block + "norm2.weight"].shape[0]),
        channels_out=int(contract.shape[0]),
        hidden=int(contract.shape[1]),
        head=heads[0] if heads else None,
    )


def _tables(tensors: Tensors, block: str) -> list[str]:
    return [name for n in range(3) if (name := f"{block}attention.positions.{n}.table") in tensors]


def stage_starts(blocks: Sequence[BlockShapes]) -> list[int]:
    """The blocks that begin a stage, as far as widths and heads tell: they change there."""
    starts = [0]
    for n in range(1, len(blocks)):
        before, block = blocks[n - 1], blocks[n]
        changes = (before.width, before.head) != (block.width, block.head)
        if changes or before.width != before.channels_out:
            starts.append(n)
    return starts


def shape_options(
    tensors: Tensors, blocks: Sequence[BlockShapes], starts: Sequence[int]
) -> dict[str, Any]:
    """The options of ``mvit`` that follow from tensors alone, strides and heads left out.

    Args:
        tensors: Under our names.
        blocks: Their sizes.
        starts: The blocks that begin a stage.

    Raises:
        UnusableWeights: If blocks of one stage, or widenings, do not go together.
    """
    ends = [*starts[1:], len(blocks)]
    stages = [blocks[start:end] for start, end in zip(starts, ends, strict=True)]
    mixed = next((n for n, stage in enumerate(stages) if len({b.width for b in stage}) > 1), None)
    if mixed is not None:
        raise UnusableWeights(f"the blocks of stage {mixed} have several widths: they make no MViT")
    in_feed_forward = any(block.width != block.channels_out for block in blocks)
    if in_feed_forward and any(block.channels_in != block.width for block in blocks):
        raise UnusableWeights(
            "some blocks widen in attention and some in the feed-forward: they make no MViT here"
        )
    return {
        "embed_dims": [stage[0].width for stage in stages],
        "depths": [len(stage) for stage in stages],
        "mlp_ratio": max(block.hidden / block.width for block in blocks),
        "expand_in_attention": not in_feed_forward,
        "relative_positions": any(name.endswith(".table") for name in tensors),
        "absolute_positions": "positions" in tensors,
        "class_token": "class_token" in tensors,
        "qkv_bias": any(name.endswith(".qkv.bias") for name in tensors),
    }


def pool_kernel(tensors: Tensors, what: str) -> tuple[int, ...] | None:
    """The kernel that pools ``query`` or ``key``, None where no convolution does."""
    name = f".attention.pool_{what}.pool.weight"
    found = next((tensor for key, tensor in tensors.items() if key.endswith(name)), None)
    return None if found is None else tuple(int(n) for n in found.shape[2:])


def widening_renames(state: Tensors, word: str) -> list[tuple[str, str]]:
    """Renames of the shortcuts that widen, where a layout has one name for both of a block.

    Args:
        state: By the layout's names, blocks in one row.
        word: What it calls the layer, in ``blocks.N``.
    """
    renames: list[tuple[str, str]] = []
    for name, qkv in state.items():  # of (3 width, channels in)
        if found := re.fullmatch(r"blocks\.(\d+)\.attn\.qkv\.weight", name):
            ours = "widen1" if qkv.shape[0] != 3 * qkv.shape[1] else "widen2"
            old = rf"blocks\.{found[1]}\.{word}\.(weight|bias)"
            renames.append((old, rf"blocks.{found[1]}.{ours}.\1"))
    return renames
