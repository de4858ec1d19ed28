"""Random checkpoints of SegFormer's encoder and of PVT v2, and what the networks compute of them.

Tensors bear the authors' own names; the tests of other layouts rename them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from unetr_app.networks import encoder_from_checkpoint

State = dict[str, Tensor]
WIDTHS, HEADS, DEPTHS, RATIOS = (8, 12, 24, 16), (1, 3, 2, 4), (1, 2, 1, 1), (8, 4, 2, 1)
STRIDES = (4, 2, 2, 2)


def authors_state(
    *, linear: bool = False, qkv_bias: bool = True, hidden: tuple[int, ...] = (2, 3, 4, 4)
) -> State:
    """Random tensors, as many stages, blocks and channels as the constants above say."""
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {"head.weight": (5, WIDTHS[-1])}
    for n, width in enumerate(WIDTHS):
        kernel, before = (3, WIDTHS[n - 1]) if n else (7, 3)
        shapes[f"patch_embed{n + 1}.proj.weight"] = (width, before, kernel, kernel)
        shapes[f"patch_embed{n + 1}.norm.weight"] = shapes[f"norm{n + 1}.weight"] = (width,)
        for b in range(DEPTHS[n]):
            block, inner = f"block{n + 1}.{b}", hidden[n] * width
            shapes |= {f"{block}.norm{k}.weight": (width,) for k in (1, 2)}
            shapes[f"{block}.attn.q.weight"] = shapes[f"{block}.attn.proj.weight"] = (width, width)
            shapes[f"{block}.attn.kv.weight"] = (2 * width, width)
            if linear or RATIOS[n] > 1:
                side = 1 if linear else RATIOS[n]
                shapes[f"{block}.attn.sr.weight"] = (width, width, side, side)
                shapes[f"{block}.attn.norm.weight"] = (width,)
            shapes[f"{block}.mlp.fc1.weight"] = (inner, width)
            shapes[f"{block}.mlp.dwconv.dwconv.weight"] = (inner, 1, 3, 3)
            shapes[f"{block}.mlp.fc2.weight"] = (width, inner)
    state: State = {}
    for name, shape in shapes.items():
        state[name] = torch.randn(shape) / math.sqrt(max(math.prod(shape[1:]), 1))
        if qkv_bias or not re.search(r"attn\.(q|kv)\.", name):
            state[name.replace("weight", "bias")] = 0.3 * torch.randn(shape[0])
    return state


def reference_maps(
    state: State, image: Tensor, *, norm_eps: float = 1e-6, conv_norm_eps: float = 1e-5
) -> list[Tensor]:
    """The map of every stage, (B, C, H, W), written out over the authors' tensors."""

    def affine(name: str) -> tuple[Tensor, Tensor | None]:
        return state[f"{name}.weight"], state.get(f"{name}.bias")

    def normed(tokens: Tensor, name: str, eps: float) -> Tensor:
        return functional.layer_norm(tokens, tokens.shape[-1:], *affine(name), eps)

    def attended(tokens: Tensor, name: str, heads: int, grid: torch.Size) -> Tensor:
        others = tokens
        if f"{name}.sr.weight" in state:
            side = state[f"{name}.sr.weight"].shape[-1]
            features = tokens.mT.unflatten(2, grid)
            if side == 1:
                features = functional.adaptive_avg_pool2d(features, 7)
            features = functional.conv2d(features, *affine(f"{name}.sr"), stride=side)
            others = normed(features.flatten(2).mT, f"{name}.norm", conv_norm_eps)
            others = functional.gelu(others) if side == 1 else others
        query = functional.linear(tokens, *affine(f"{name}.q")).unflatten(2, (heads, -1))
        key, value = (
            part.unflatten(2, (heads, -1)).transpose(1, 2)
            for part in functional.linear(others, *affine(f"{name}.kv")).chunk(2, dim=2)
        )
        logits = query.transpose(1, 2) @ key.mT / math.sqrt(key.shape[-1])
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return functional.linear(mixed, *affine(f"{name}.proj"))

    def fed(tokens: Tensor, name: str, grid: torch.Size, *, linear: bool) -> Tensor:
        hidden = functional.linear(tokens, *affine(f"{name}.fc1"))
        hidden = functional.relu(hidden) if linear else hidden
        features = functional.conv2d(
            hidden.mT.unflatten(2, grid), *affine(f"{name}.dwconv.dwconv"),
            padding=1, groups=hidden.shape[2],
        )  # fmt: skip
        return functional.linear(functional.gelu(features).flatten(2).mT, *affine(f"{name}.fc2"))

    linear = state.get("block4.0.attn.sr.weight") is not None
    maps: list[Tensor] = []
    for n, heads in enumerate(HEADS):
        kernel = state[f"patch_embed{n + 1}.proj.weight"].shape[-1]
        image = functional.conv2d(
            image, *affine(f"patch_embed{n + 1}.proj"), stride=STRIDES[n], padding=kernel // 2
        )
        grid = image.shape[2:]
        tokens = normed(image.flatten(2).mT, f"patch_embed{n + 1}.norm", conv_norm_eps)
        for b in range(DEPTHS[n]):
            block = f"block{n + 1}.{b}"
            before = normed(tokens, f"{block}.norm1", norm_eps)
            tokens = tokens + attended(before, f"{block}.attn", heads, grid)
            before = normed(tokens, f"{block}.norm2", norm_eps)
            tokens = tokens + fed(before, f"{block}.mlp", grid, linear=linear)
        image = normed(tokens, f"norm{n + 1}", norm_eps).mT.unflatten(2, grid)
        maps.append(image)
    return maps


def split_keys_and_values(state: State, old: str, new: tuple[str, str]) -> State:
    """The state with every fused tensor of keys and values as two."""
    split: State = {}
    for name, tensor in state.items():
        if old in name:
            split |= {name.replace(old, n): t for n, t in zip(new, tensor.chunk(2), strict=True)}
        else:
            split[name] = tensor
    return split


def renamed(state: State, *rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    """The tensors after regular expressions have been replaced in their names, in turn."""
    names = {name: name for name in state}
    for old, new in rules:
        names = {name: re.sub(old, new, now) for name, now in names.items()}
    return {names[name]: tensor for name, tensor in state.items()}


def assert_parity(path: Path, image: Tensor, expected: list[Tensor], **overrides: Any) -> None:
    """In two dimensions, and on volumes that are constant along depth in three."""
    channels = image.shape[1]
    encoder, report = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=channels, **overrides
    )
    assert report.coverage == 1
    with torch.no_grad():
        for ours, theirs in zip(encoder(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    thin, flat = ((2, 4, 4), (1, 2, 2), 2, 2), ((1, 4, 4), (1, 2, 2), (1, 2, 2), (1, 2, 2))
    for strides, slices in ((STRIDES, 32), (thin, 8), (flat, 3)):
        deep, report = encoder_from_checkpoint(
            path, in_channels=channels, patch_strides=strides, **overrides
        )
        assert report.coverage == 1
        with torch.no_grad():
            maps = deep(image.unsqueeze(2).repeat(1, 1, slices, 1, 1))
        for ours, theirs in zip(maps, expected, strict=True):
            same = theirs.unsqueeze(2).expand_as(ours)
            torch.testing.assert_close(ours, same, atol=5e-5, rtol=0)
