"""Checkpoint files: read tensors without running anything that a file brings along."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unetr_app.errors import UnusableWeights

PathLike = str | os.PathLike[str]

_CONTAINERS = ("state_dict", "model_state_dict", "model_state", "model", "network", "net", "teacher")


def read_checkpoint(path: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the configuration beside them.

    Args:
        path: A ``.safetensors`` file, a ``.pt``, ``.pth`` or ``.bin`` file (read with
            ``weights_only=True``), or a folder with ``model.safetensors`` (or one of the others)
            and, optionally, ``config.json``.

    Returns:
        The state dict, and what ``config.json`` says ({} where there is none).

    Raises:
        UnusableWeights: If there is no such file, it is damaged, or it holds more than tensors.
    """
    path = Path(path)
    if path.is_dir():
        return _read_tensors(_weights_in(path)), _read_config(path / "config.json")
    if not path.is_file():
        raise UnusableWeights("there is no such file or folder", path=path)
    return _read_tensors(path), _read_config(path.with_name("config.json"))


def _weights_in(folder: Path) -> Path:
    names = ("model.safetensors", "model.pt", "model.pth", "pytorch_model.bin")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise UnusableWeights(
            "the folder holds no weights", cure=f"Looked for {', '.join(names)}.", path=folder
        )
    return found[0]


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UnusableWeights(f"this is no JSON object: {error}", path=path) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnusableWeights(
            "the file holds more than tensors, and opening it could run code",
            cure="Ask for the weights as .safetensors or as a plain state dict.",
            path=path,
        ) from error
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UnusableWeights(
            "the file is damaged or no checkpoint", cure="Download it again.", path=path
        ) from error
    return _unpacked(state, path)


def _unpacked(state: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(state, dict) and not any(isinstance(v, Tensor) for v in state.values()):
        inner = next((state[name] for name in _CONTAINERS if name in state), None)
        if inner is None:
            break
        state = inner
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor)} if isinstance(state, dict) else {}
    if not tensors:
        raise UnusableWeights("the file holds no tensors by name", path=path)
    return tensors
