"""A small vision transformer as publishers put it on disk, for tests without such files."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

WIDTH, HEADS, PATCH, SIDE = 24, 2, 4, 16


def vit_state(*, depth: int = 2, class_token: bool = True) -> dict[str, Tensor]:
    """Random tensors under timm's names, for RGB images of 16 x 16 pixels."""
    generator = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "pos_embed": (1, class_token + (SIDE // PATCH) ** 2, WIDTH),
        "patch_embed.proj.weight": (WIDTH, 3, PATCH, PATCH),
        "patch_embed.proj.bias": (WIDTH,),
    }
    if class_token:
        shapes["cls_token"] = (1, 1, WIDTH)
    linears = {
        "attn.qkv": (3 * WIDTH, WIDTH), "attn.proj": (WIDTH, WIDTH),
        "mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH),
    }  # fmt: skip
    for n in range(depth):
        for name, shape in linears.items():
            shapes[f"blocks.{n}.{name}.weight"] = shape
            shapes[f"blocks.{n}.{name}.bias"] = shape[:1]
    norms = ["norm", *(f"blocks.{n}.norm{m}" for n in range(depth) for m in (1, 2))]
    for name in norms:
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (WIDTH,)
    shapes |= {"head.weight": (5, WIDTH), "head.bias": (5,)}
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def vit_config(*, depth: int = 2) -> dict[str, object]:
    """What stands in config.json beside it."""
    sizes = {"img_size": SIDE, "patch_size": PATCH, "embed_dim": WIDTH, "depth": depth}
    return {"architecture": "vit_small_patch4", "model_args": {**sizes, "num_heads": HEADS}}


def write_vit(folder: Path, *, depth: int = 2, class_token: bool = True) -> Path:
    """Write config.json and model.safetensors into a folder, as users download them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(vit_state(depth=depth, class_token=class_token), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(vit_config(depth=depth)))
    return folder
