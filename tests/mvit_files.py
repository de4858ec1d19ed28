"""Random checkpoints of MViT under timm's names, and what the network computes of them.

The network is written out for images and for videos alike: videos have a kernel and a table more
("t"). Tests of other layouts rename the tensors.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = dict[str, Tensor]
CONVOLUTIONS: dict[int, Any] = {2: functional.conv2d, 3: functional.conv3d}
LARGEST: dict[int, Any] = {2: functional.max_pool2d, 3: functional.max_pool3d}


@dataclass(frozen=True)
class Recipe:
    """An MViT; sizes along all axes are given one by one, those of the other axes for depth first.

    Args:
        axes: 2 for images, 3 for videos.
        widths: Channels of each stage.
        depths: Blocks of each stage.
        heads: Attention heads of each stage.
        stride_q: In plane, of each stage's first block.
        stride_kv: In plane, of each stage's keys.
        size: Tokens a side of the embedding, which tables are laid out for, and along time.
        class_token: Is there one?
        in_attention: Do tokens widen in attention, or in the feed-forward?
        residual: ``all``, ``grid`` or ``none``.
        relative: Are there tables of relative positions?
        absolute: Are learned positions added?
        every_query: Are queries pooled where the grid stays, too?
    """

    axes: int = 2
    widths: Sequence[int] = (8, 16, 16)
    depths: Sequence[int] = (1, 2, 1)
    heads: Sequence[int] = (1, 2, 4)
    stride_q: Sequence[int] = (1, 2, 2)
    stride_kv: Sequence[int] = (4, 2, 1)
    size: tuple[int, int] = (8, 4)
    class_token: bool = False
    in_attention: bool = True
    residual: str = "all"
    relative: bool = True
    absolute: bool = False
    every_query: bool = True

    @property
    def letters(self) -> str:
        """Of the tables, an axis each."""
        return "thw"[-self.axes :]

    def along_axes(self, plane: int) -> tuple[int, ...]:
        """A stride in plane for all axes: videos keep their frames."""
        return (1,) * (self.axes - 2) + (plane, plane)

    def blocks(self) -> list[tuple[int, int, int, int, int, int]]:
        """(channels in, width, channels out, heads, stride_q, stride_kv) of every block."""
        found, enter = [], self.widths[0]
        for n, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            last = self.widths[min(n + 1, len(self.widths) - 1)]
            for b in range(depth):
                leave = last if b + 1 == depth and not self.in_attention else width
                step = self.stride_q[n] if b == 0 else 1
                found.append((enter, width, leave, self.heads[n], step, self.stride_kv[n]))
                enter = leave
        return found

    @property
    def ends(self) -> list[int]:
        """After which blocks stages end."""
        return [sum(self.depths[: n + 1]) for n in range(len(self.depths))]


def flat_state(recipe: Recipe) -> State:
    """Random tensors under timm's names, but with all blocks in one row."""
    torch.manual_seed(0)
    kernel, side = (3,) * recipe.axes, recipe.size[0]
    stem = (3, 7, 7)[-recipe.axes :]
    tokens = side**2 * recipe.size[1] ** (recipe.axes - 2) + recipe.class_token
    first = recipe.widths[0]
    shapes: dict[str, tuple[int, ...]] = {"patch_embed.proj.weight": (first, 3, *stem)}
    shapes |= {"norm.weight": (recipe.blocks()[-1][2],), "head.fc.weight": (5, 7)}
    shapes |= {"cls_token": (1, 1, first)} if recipe.class_token else {}
    shapes |= {"pos_embed": (1, tokens, first)} if recipe.absolute else {}
    for n, (enter, width, leave, heads, step_q, step_kv) in enumerate(recipe.blocks()):
        name, head = f"blocks.{n}", width // heads
        shapes[f"{name}.norm1.weight"], shapes[f"{name}.norm2.weight"] = (enter,), (width,)
        shapes[f"{name}.attn.qkv.weight"] = (3 * width, enter)
        shapes[f"{name}.attn.proj.weight"] = (width, width)
        for letter in "qkv" if recipe.every_query or step_q > 1 else "kv":
            shapes[f"{name}.attn.pool_{letter}.weight"] = (head, 1, *kernel)
            shapes[f"{name}.attn.norm_{letter}.weight"] = (head,)
        if recipe.relative:
            length = 2 * max(side // step_q, side // step_kv) - 1
            for letter in recipe.letters:
                entries = 2 * recipe.size[1] - 1 if letter == "t" else length
                shapes[f"{name}.attn.rel_pos_{letter}"] = (entries, head)
        if enter != width:
            shapes[f"{name}.shortcut_proj_attn.weight"] = (width, enter)
        if width != leave:
            shapes[f"{name}.shortcut_proj_mlp.weight"] = (leave, width)
        shapes[f"{name}.mlp.fc1.weight"] = (2 * width, width)
        shapes[f"{name}.mlp.fc2.weight"] = (leave, 2 * width)
        side //= step_q
    state = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    for name in [name for name in state if name.endswith(".weight") and "pool_" not in name]:
        state[name.replace("weight", "bias")] = 0.3 * torch.randn(len(state[name]))
    return state


def staged(state: State, depths: Sequence[int]) -> State:
    """The same tensors with each block under its stage."""
    places = [(stage, n) for stage, depth in enumerate(depths) for n in range(depth)]

    def place(found: re.Match[str]) -> str:
        return "stages.{}.blocks.{}.".format(*places[int(found[1])])

    return {re.sub(r"^blocks\.(\d+)\.", place, name): tensor for name, tensor in state.items()}


def reference_maps(recipe: Recipe, state: State, image: Tensor) -> list[Tensor]:
    """The map of every stage of a flat state, the last one normed."""
    axes, prefix = recipe.axes, int(recipe.class_token)
    stride, padding = (2, 4, 4)[-axes:], (1, 3, 3)[-axes:]
    weight, bias = state["patch_embed.proj.weight"], state["patch_embed.proj.bias"]
    embedded = CONVOLUTIONS[axes](image, weight, bias, stride, padding)
    grid, tokens = list(embedded.shape[2:]), embedded.flatten(2).transpose(1, 2)
    if prefix:
        tokens = torch.cat([state["cls_token"].expand(len(image), -1, -1), tokens], 1)
    if recipe.absolute:
        tokens = tokens + state["pos_embed"]
    maps: list[Tensor] = []
    for n, sizes in enumerate(recipe.blocks()):
        tokens, grid = _block(recipe, state, f"blocks.{n}", sizes, tokens, grid)
        if n + 1 in recipe.ends:
            last = n + 1 == recipe.ends[-1]
            on_grid = (_norm(state, "norm", tokens) if last else tokens)[:, prefix:]
            maps.append(on_grid.transpose(1, 2).unflatten(2, grid))
    return maps


def _norm(state: State, name: str, tokens: Tensor) -> Tensor:
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return functional.layer_norm(tokens, weight.shape, weight, bias, 1e-6)


def _linear(state: State, name: str, tokens: Tensor) -> Tensor:
    return functional.linear(tokens, state[f"{name}.weight"], state[f"{name}.bias"])


def _block(
    recipe: Recipe, state: State, name: str, sizes: tuple[int, ...], tokens: Tensor, grid: list[int]
) -> tuple[Tensor, list[int]]:
    enter, width, leave, heads, step_q, step_kv = sizes
    prefix = int(recipe.class_token)
    normed = _norm(state, f"{name}.norm1", tokens)
    qkv = _linear(state, f"{name}.attn.qkv", normed).unflatten(2, (3, heads, -1))
    pooled, grids = {}, {}
    for letter, part in zip("qkv", qkv.permute(2, 0, 3, 1, 4), strict=True):
        step = recipe.along_axes(step_q if letter == "q" else step_kv)
        pooled[letter], grids[letter] = _pool(state, f"{name}.attn", letter, part, grid, step)
    logits = pooled["q"] @ pooled["k"].transpose(2, 3) * (width // heads) ** -0.5
    if recipe.relative:
        bias = _displacements(recipe, state, name, pooled["q"][:, :, prefix:], grids)
        logits[:, :, prefix:, prefix:] += bias
    mixed = logits.softmax(-1) @ pooled["v"]
    first = {"all": 0, "grid": prefix, "none": mixed.shape[2]}[recipe.residual]
    mixed[:, :, first:] += pooled["q"][:, :, first:]
    past = tokens if enter == width else _linear(state, f"{name}.shortcut_proj_attn", normed)
    if step_q > 1:
        on_grid = past[:, prefix:].transpose(1, 2).unflatten(2, grid)
        kernel = tuple(s + 1 if s > 1 else 1 for s in recipe.along_axes(step_q))
        steps, padding = recipe.along_axes(step_q), tuple(k // 2 for k in kernel)
        largest = LARGEST[recipe.axes](on_grid, kernel, steps, padding)
        past = torch.cat([past[:, :prefix], largest.flatten(2).transpose(1, 2)], 1)
    tokens = past + _linear(state, f"{name}.attn.proj", mixed.transpose(1, 2).flatten(2))
    normed = _norm(state, f"{name}.norm2", tokens)
    past = tokens if width == leave else _linear(state, f"{name}.shortcut_proj_mlp", normed)
    hidden = functional.gelu(_linear(state, f"{name}.mlp.fc1", normed))
    return past + _linear(state, f"{name}.mlp.fc2", hidden), grids["q"]


def _pool(
    state: State, name: str, letter: str, part: Tensor, grid: list[int], step: tuple[int, ...]
) -> tuple[Tensor, list[int]]:
    weight = state.get(f"{name}.pool_{letter}.weight")  # (head, 1, k...)
    if weight is None:
        return part, grid
    tokens = torch.Size(grid).numel()
    prefix = part.shape[2] - tokens
    on_grid = part[:, :, prefix:].transpose(2, 3).flatten(0, 1).unflatten(2, grid)
    convolution = CONVOLUTIONS[len(grid)]
    coarse = convolution(on_grid, weight, None, step, 1, groups=len(weight))
    pooled = coarse.flatten(2).transpose(1, 2).unflatten(0, part.shape[:2])
    pooled = torch.cat([part[:, :, :prefix], pooled], 2)
    return _norm(state, f"{name}.norm_{letter}", pooled), list(coarse.shape[2:])


def _displacements(
    recipe: Recipe, state: State, name: str, query: Tensor, grids: dict[str, list[int]]
) -> Tensor:
    """Every query and key in the open: (B, heads, N, K)."""
    places = {k: torch.cartesian_prod(*map(torch.arange, grid)) for k, grid in grids.items()}
    bias = torch.zeros(())
    for axis, letter in enumerate(recipe.letters):
        q, k = grids["q"][axis], grids["k"][axis]
        table = state[f"{name}.attn.rel_pos_{letter}"]
        wanted = 2 * max(q, k) - 1
        if len(table) != wanted:
            table = functional.interpolate(table.T[None], size=wanted, mode="linear")[0].T
        at = places["q"][:, axis, None] * max(k / q, 1)
        after = (k - 1 - places["k"][:, axis]) * max(q / k, 1)
        bias = bias + torch.einsum("bhnc,nkc->bhnk", query, table[(at + after).long()])
    return bias
