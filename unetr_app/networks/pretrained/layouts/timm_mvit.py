"""The key layout of MViTv2: timm's, and Facebook's own with blocks in one row (``blocks.N``).

Facebook's files are of images (from its repository "mvit") or of videos (from "SlowFast"), which
differ in one thing that no tensor tells: the class token of the latter gets no pooled query added.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.layouts.mvit_shapes import (
    read_blocks,
    stage_starts,
    widening_renames,
)
from unetr_app.networks.pretrained.layouts.mvit_source import axis_table, mvit_source
from unetr_app.networks.pretrained.layouts.timm_mvit_facts import read_facts, stated_size
from unetr_app.networks.pretrained.source import (
    Checkpoint,
    Renamed,
    Source,
    count_blocks,
    rename,
    strip_prefix,
)

NAME = "timm MViTv2"
FILLS = ("mvit",)

State = Mapping[str, Tensor]
Sizes = tuple[int, ...]

_PREFIXES = ("model.", "backbone.", "encoder.")
_STAGED = re.compile(r"stages\.(\d+)\.blocks\.(\d+)\.")
_FLAT = r"blocks\.(\d+)\."
_SIGNS = re.compile(
    r"(?:^|\.)(?:stages\.\d+\.blocks\.\d+\.(?:attn\.(?:(?:pool|norm)_[qkv]\.|rel_pos_[hw]$)|shortcut_proj_)"
    r"|blocks\.\d+\.attn\.(?:pool|norm)_[qkv]\.weight$)"
)
_AFFINE = r"(weight|bias)"
_RENAMES = (
    (r"patch_embed\.proj\." + _AFFINE, r"embed.\1"),
    (_FLAT + r"(norm[12])\." + _AFFINE, r"blocks.\1.\2.\3"),
    (_FLAT + r"attn\.qkv\." + _AFFINE, r"blocks.\1.attention.qkv.\2"),
    (_FLAT + r"attn\.proj\." + _AFFINE, r"blocks.\1.attention.project.\2"),
    *(
        (
            _FLAT + rf"attn\.{part}_{letter}\." + _AFFINE,
            rf"blocks.\1.attention.pool_{word}.{part}.\2",
        )
        for part in ("pool", "norm")
        for letter, word in (("q", "query"), ("k", "key"), ("v", "value"))
    ),
    (_FLAT + r"mlp\.fc1\." + _AFFINE, r"blocks.\1.feed_forward.expand.\2"),
    (_FLAT + r"mlp\.fc2\." + _AFFINE, r"blocks.\1.feed_forward.contract.\2"),
    (_FLAT + r"shortcut_proj_attn\." + _AFFINE, r"blocks.\1.widen1.\2"),
    (_FLAT + r"shortcut_proj_mlp\." + _AFFINE, r"blocks.\1.widen2.\2"),
    (r"norm\." + _AFFINE, r"norm.\1"),
)
_SKIPS = ((r"head\.", "classification head"),)

_TOKENS = ("cls_token", "pos_embed")


def recognises(keys: Collection[str]) -> bool:
    """Do the keys belong to MViTv2, timm's or Facebook's?"""
    return any(_SIGNS.search(key) for key in keys)


def read(checkpoint: Checkpoint) -> Source:
    """The checkpoint told as our ``mvit``.

    Strides come from the configuration (``cfg``) or, for the published sizes, from what they have
    in common; the tables of relative positions must agree with them. For other files without a
    configuration the caller passes what the tables leave open.

    Raises:
        UnusableWeights: If blocks are missing, strides are open or contradict the tensors, or it
            is a variant that computes something else.
    """
    state = strip_prefix(checkpoint.state, *_PREFIXES)
    _refuse_variants(state)
    axes = state["patch_embed.proj.weight"].ndim - 2
    flat, depths = _in_one_row(state, checkpoint)
    renamed = _renamed(flat, checkpoint, axes)
    blocks = read_blocks(renamed.tensors, count_blocks(flat, _FLAT, checkpoint.path))
    starts = stage_starts(blocks) if depths is None else _starts(depths)
    facts = read_facts(checkpoint, renamed.tensors, blocks, starts)
    renamed, size = _with_tokens(renamed, state, checkpoint, facts.patch_stride)
    facts = replace(facts, image_size=facts.image_size or size or stated_size(checkpoint, axes))
    return mvit_source(checkpoint, NAME, renamed, blocks, starts, facts)


def _refuse_variants(state: State) -> None:
    if any(re.search(r"blocks\.\d+\.attn\.q\.weight$", name) for name in state):
        raise UnusableWeights(
            "its queries, keys and values are made apart, as in the first MViT and where tokens "
            "are pooled before: mvit does neither",
            cure="Take a checkpoint of MViTv2, or torchvision's mvit_v1_b.",
        )
    if "pos_embed_spatial" in state:
        raise UnusableWeights(
            "its positions are of the first MViT (pos_embed_spatial)",
            cure="Take a checkpoint of MViTv2, or torchvision's mvit_v1_b.",
        )


def _in_one_row(
    state: State, checkpoint: Checkpoint
) -> tuple[dict[str, tuple[str, Tensor]], list[int] | None]:
    """Names with all blocks in one row, to the file's name and tensor; blocks of each stage.

    Raises:
        UnusableWeights: If a block or a stage is missing.
    """
    if not any(_STAGED.match(name) for name in state):
        return {name: (name, tensor) for name, tensor in state.items()}, None
    stages = count_blocks(state, r"stages\.(\d+)\.", checkpoint.path)
    depths = [
        count_blocks(state, rf"stages\.{stage}\.blocks\.(\d+)\.", checkpoint.path)
        for stage in range(stages)
    ]
    starts = _starts(depths)

    def in_row(name: str) -> str:
        return _STAGED.sub(lambda m: f"blocks.{starts[int(m[1])] + int(m[2])}.", name)

    return {in_row(name): (name, tensor) for name, tensor in state.items()}, depths


def _starts(depths: Sequence[int]) -> list[int]:
    return [sum(depths[:stage]) for stage in range(len(depths))]


def _renamed(flat: Mapping[str, tuple[str, Tensor]], checkpoint: Checkpoint, axes: int) -> Renamed:
    letters = "thw"[-axes:]
    tables = tuple(
        (_FLAT + rf"attn\.rel_pos_{letter}", axis_table(r"blocks.\1.", axis, checkpoint, axes))
        for axis, letter in enumerate(letters)
    )
    tensors = {name: tensor for name, (_, tensor) in flat.items() if name not in _TOKENS}
    shortcuts = widening_renames(tensors, "proj")
    renamed = rename(tensors, (*_RENAMES, *tables, *shortcuts), _SKIPS)
    return Renamed(
        renamed.tensors,
        {ours: flat[name][0] for ours, name in renamed.origins.items()},
        {flat[name][0]: why for name, why in renamed.skipped.items()},
    )


def _with_tokens(
    renamed: Renamed, state: State, checkpoint: Checkpoint, patch: Sizes
) -> tuple[Renamed, Sizes | None]:
    """Class token and learned positions added, and the image size that these are laid out for.

    The class token's own position is added to the token itself, which is the same sum.
    """
    tensors, origins = dict(renamed.tensors), dict(renamed.origins)
    token, laid_out = state.get("cls_token"), state.get("pos_embed")  # (1, 1, C), (1, 1 + N, C)
    prefix = 0 if token is None else 1
    grid: Sizes | None = None
    if laid_out is not None:
        grid = checkpoint.grid(int(laid_out.shape[1]) - prefix, patch)
        positions = laid_out[:, prefix:].transpose(1, 2)
        tensors["positions"] = positions.reshape(1, positions.shape[1], *grid)
        origins["positions"] = "pos_embed"
    if token is not None:
        own = token if laid_out is None else token + laid_out[:, :1]
        tensors["class_token"] = own
        origins["class_token"] = " + ".join(name for name in _TOKENS if name in state)
    size = None if grid is None else tuple(n * p for n, p in zip(grid, patch, strict=True))
    return replace(renamed, tensors=tensors, origins=origins), size
