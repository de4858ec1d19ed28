"""Random vision transformers under timm's names, and their features written out over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from unetr_app.networks import encoder_from_checkpoint

State = dict[str, Tensor]

WIDTH, HEADS = 24, 4
_PREFIXES = ("cls_token", "dist_token", "reg_token", "register_tokens")


def vit_state(
    *, patch: Sequence[int] = (4, 4), grid: Sequence[int] = (3, 3), depth: int = 2,
    channels: int = 3, prefix: Mapping[str, int] | None = None, placed: int | None = None,
    hidden: int = 40, gated: bool = False, scaled: bool = False, qkv_bias: bool = True,
    norm: str = "norm", pool: bool = False,
) -> State:  # fmt: skip
    """Random tensors, none of them small.

    Args:
        patch: Pixels of a token.
        grid: Tokens along height and width.
        depth: Blocks.
        channels: Of the image.
        prefix: Names of prefix tokens, and how many of each; a class token where absent.
        placed: How many of the prefix tokens have a position; all where absent.
        hidden: Channels inside the feed-forward.
        gated: A feed-forward with a gate?
        scaled: Are there layer scales?
        qkv_bias: Have queries, keys and values a bias?
        norm: Name of the last norm, ``norm`` or ``fc_norm``.
        pool: Is there pooling by attention?
    """
    prefix = {"cls_token": 1} if prefix is None else prefix
    placed = sum(prefix.values()) if placed is None else placed
    shapes: dict[str, tuple[int, ...]] = {
        **{name: (1, count, WIDTH) for name, count in prefix.items()},
        "pos_embed": (1, placed + grid[0] * grid[1], WIDTH),
        "patch_embed.proj.weight": (WIDTH, channels, *patch),
    }
    for n in range(depth):
        block = f"blocks.{n}"
        shapes |= {
            f"{block}.norm1.weight": (WIDTH,),
            f"{block}.attn.qkv.weight": (3 * WIDTH, WIDTH),
            f"{block}.attn.proj.weight": (WIDTH, WIDTH),
            f"{block}.norm2.weight": (WIDTH,),
            f"{block}.mlp.fc1.weight": (2 * hidden if gated else hidden, WIDTH),
            f"{block}.mlp.fc2.weight": (WIDTH, hidden),
        }
        if scaled:
            shapes |= {f"{block}.ls1.gamma": (WIDTH,), f"{block}.ls2.gamma": (WIDTH,)}
    shapes |= {f"{norm}.weight": (WIDTH,), "head.weight": (5, WIDTH)}
    if pool:
        linears = {"q": WIDTH, "kv": 2 * WIDTH, "proj": WIDTH, "norm": None, "mlp.fc1": hidden}
        shapes["attn_pool.latent"] = (1, 1, WIDTH)
        for name, rows in linears.items():
            shapes[f"attn_pool.{name}.weight"] = (rows, WIDTH) if rows else (WIDTH,)
        shapes["attn_pool.mlp.fc2.weight"] = (WIDTH, hidden)
    generator = torch.Generator().manual_seed(0)
    biases = {
        name.replace("weight", "bias"): (shape[0],)
        for name, shape in shapes.items()
        if name.endswith("weight") and (qkv_bias or "qkv" not in name)
    }
    shapes |= biases
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def vit_features(
    state: Mapping[str, Tensor], image: Tensor, *, heads: int = HEADS, eps: float = 1e-6,
    approximate: str = "none",
) -> Tensor:  # fmt: skip
    """The last map, (B, C, H, W) to (B, WIDTH, H / p, W / p)."""
    embedded = _embed(state, image)
    tokens = vit_tokens(state, image, heads=heads, eps=eps, approximate=approximate)
    count = embedded.shape[2] * embedded.shape[3]
    return tokens[:, -count:].mT.reshape(embedded.shape)


def vit_tokens(
    state: Mapping[str, Tensor], image: Tensor, *, heads: int = HEADS, eps: float = 1e-6,
    approximate: str = "none",
) -> Tensor:  # fmt: skip
    """All tokens after the last norm, those before the image's first."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(x: Tensor, name: str) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return functional.layer_norm(x, (WIDTH,), weight, bias, eps)

    def attend(x: Tensor, name: str) -> Tensor:
        split = linear(x, f"{name}.qkv").unflatten(-1, (3, heads, -1))  # (B, N, 3, heads, C/heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(dim=-1)
        return linear((weights @ value).transpose(1, 2).flatten(2), f"{name}.proj")

    def perceptron(x: Tensor, name: str) -> Tensor:
        hidden = linear(x, f"{name}.fc1")
        if hidden.shape[-1] == 2 * state[f"{name}.fc2.weight"].shape[1]:
            gate, through = hidden.chunk(2, dim=-1)
            return linear(functional.silu(gate) * through, f"{name}.fc2")
        return linear(functional.gelu(hidden, approximate=approximate), f"{name}.fc2")

    x = _placed(state, _embed(state, image).flatten(2).mT)
    for n in range(sum(name.endswith(".norm1.weight") for name in state)):
        scales = [state.get(f"blocks.{n}.ls{m}.gamma", torch.ones(())) for m in (1, 2)]
        x = x + scales[0] * attend(norm(x, f"blocks.{n}.norm1"), f"blocks.{n}.attn")
        x = x + scales[1] * perceptron(norm(x, f"blocks.{n}.norm2"), f"blocks.{n}.mlp")
    return norm(x, "norm") if "norm.weight" in state else x


def _embed(state: Mapping[str, Tensor], image: Tensor) -> Tensor:
    kernel = state["patch_embed.proj.weight"]
    bias = state["patch_embed.proj.bias"]
    return functional.conv2d(image, kernel, bias, stride=tuple(kernel.shape[2:]))


def _placed(state: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Prefix tokens put first, positions added to those that have one."""
    prefixes = [state[name] for name in _PREFIXES if name in state]
    if not prefixes:
        return tokens + state["pos_embed"]
    prefix = torch.cat(prefixes, dim=1).expand(len(tokens), -1, -1)
    positions = state["pos_embed"]
    placed = positions.shape[1] - tokens.shape[1]
    before = prefix[:, :placed] + positions[:, :placed]
    return torch.cat([before, prefix[:, placed:], tokens + positions[:, placed:]], dim=1)


def write_checkpoint(folder: Path, state: State, config: Mapping[str, Any] | None = None) -> Path:
    """A folder as users download it, with config.json where there is something to say."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "model.safetensors")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def require_parity(
    path: Path, image: Tensor, expected: Tensor, *, coverage: float = 1.0, **overrides: Any
) -> None:
    """Ours equals the reference on an image, and in each slice of volumes of equal slices.

    Args:
        path: Of the checkpoint.
        image: (B, C, H, W).
        expected: The reference's last map of it.
        coverage: Of the encoder's parameters.
        overrides: For `encoder_from_checkpoint`.
    """
    sizes: dict[str, Any] = {"in_channels": image.shape[1], **overrides}
    size = tuple(image.shape[2:])
    encoder, report = encoder_from_checkpoint(path, spatial_dims=2, roi_size=size, **sizes)
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[-1], expected, atol=2e-5, rtol=0)
    assert report.coverage == coverage
    in_plane: Any = encoder.strides
    for slices, thickness in ((1, 4), (3, 4), (4, 2)):
        roi = (slices * thickness, *size)
        patch = (thickness, *in_plane[0])
        deep, report = encoder_from_checkpoint(path, roi_size=roi, **sizes, patch_size=patch)
        assert report.coverage == coverage
        with torch.no_grad():
            features = deep(image.unsqueeze(2).repeat(1, 1, roi[0], 1, 1))[-1]
        wanted = expected.unsqueeze(2).expand(-1, -1, slices, -1, -1)
        torch.testing.assert_close(features, wanted, atol=5e-5, rtol=0)
