"""Checkpoint files: read tensors without running anything that a file brings along."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from unetr_app.errors import UnusableWeights

PathLike = str | os.PathLike[str]

_CONTAINERS = (  # where training scripts keep the state dict, the likeliest first
    "state_dict", "model_state_dict", "model_state", "model", "network", "net", "teacher",
)  # fmt: skip

_NORMALISATION = ("image_mean", "image_std")

_POINTER = b"version https://git-lfs"

_DEEPEST = 4  # containers in containers

# Many training scripts store their best score as a numpy number beside the tensors. It is rebuilt
# from a type and bytes: no code of the file runs.
_NUMBERS: tuple[Any, ...] = (
    multiarray.scalar,
    (multiarray.scalar, "numpy.core.multiarray.scalar"),  # its name before numpy 2
    np.dtype,
    *(type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32)),
)


def read_checkpoint(path: PathLike) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors by name, and the configuration beside them.

    transformers keeps the normalisation of images in a file of its own,
    ``preprocessor_config.json``; its ``image_mean`` and ``image_std`` are added.

    Args:
        path: A ``.safetensors`` file, a ``.pt``, ``.pth`` or ``.bin`` file (read with
            ``weights_only=True``), or a folder with ``model.safetensors`` (or one of the others)
            and, optionally, ``config.json``.

    Returns:
        The state dict, and what ``config.json`` says ({} where there is neither file).

    Raises:
        UnusableWeights: If there is no such file, it is damaged, or it holds more than tensors.
    """
    path = Path(path)
    if path.is_dir():
        return _read_tensors(_weights_in(path)), _read_configs(path)
    if not path.is_file():
        raise UnusableWeights(
            "there is no such file or folder",
            cure="Check the path; nothing is downloaded.",
            path=path,
        )
    if path.suffix == ".json":
        raise UnusableWeights(
            "this is a configuration, without weights",
            cure="Name the folder that it lies in, or the file of the weights.",
            path=path,
        )
    return _read_tensors(path), _read_configs(path.parent)


def read_torch(path: PathLike) -> Any:
    """What `torch.save` wrote: tensors, numbers, words, lists and dictionaries, nothing that runs.

    Raises:
        UnusableWeights: If the file is damaged anywhere, or holds more than that.
    """
    try:
        _require_no_pointer(path)
        _require_whole(path)
        with torch.serialization.safe_globals(list(_NUMBERS)), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UnusableWeights(
            "the file holds more than tensors, and opening it could run code",
            cure="Ask for the weights as .safetensors or as a plain state dict.",
            path=path,
        ) from error
    except UnusableWeights:
        raise
    except Exception as error:  # damaged bytes make the unpickler raise anything
        raise _damaged(path) from error


def require_finite(state: Mapping[str, Tensor], path: PathLike) -> None:
    """Refuse weights that training has spoilt, or that are stored in no plain way.

    Raises:
        UnusableWeights: If a tensor holds NaN or infinity, or is quantised, sparse or without
            numbers (of the device "meta"); the message names it.
    """
    for name, tensor in state.items():
        if tensor.is_quantized or tensor.layout is not torch.strided or tensor.is_meta:
            raise UnusableWeights(
                f"the tensor {name!r} is quantised, sparse or without numbers",
                cure="Ask for the weights as plain tensors.",
                path=path,
            )
        values = tensor.float() if tensor.element_size() == 1 else tensor  # not known of 8 bits
        if tensor.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise UnusableWeights(
                f"the tensor {name!r} holds values that are not finite",
                cure="Take an earlier checkpoint of that training.",
                path=path,
            )


def _require_no_pointer(path: PathLike) -> None:
    with open(path, "rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise UnusableWeights(
                "this is Git LFS's pointer to a file, and not the file",
                cure="Fetch it: git lfs pull, in the repository.",
                path=path,
            )


def _require_whole(path: PathLike) -> None:
    """Compare every member with its checksum, which `torch.load` does not do."""
    if not zipfile.is_zipfile(path):
        return  # the format before torch 1.6, which has no checksums; or not from `torch.save`
    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise UnusableWeights(
                    "this is a TorchScript program, not weights",
                    cure="Ask for the state dict that it was exported from.",
                    path=path,
                )
            if archive.testzip() is not None:
                raise _damaged(path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise _damaged(path) from error


def _damaged(path: PathLike) -> UnusableWeights:
    return UnusableWeights(
        "the file is damaged or no checkpoint", cure="Get it again from its source.", path=path
    )


def _weights_in(folder: Path) -> Path:
    names = ("model.safetensors", "model.pt", "model.pth", "pytorch_model.bin")
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise UnusableWeights(
            "the folder holds no weights", cure=f"Looked for {', '.join(names)}.", path=folder
        )
    return found[0]


def _read_configs(folder: Path) -> dict[str, Any]:
    images = _read_config(folder / "preprocessor_config.json")
    if not images.get("do_normalize", True):
        images = {}
    normalisation = {key: images[key] for key in _NORMALISATION if key in images}
    return normalisation | _read_config(folder / "config.json")


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError, RecursionError) as error:
        raise UnusableWeights(
            f"this is no JSON object: {error}", cure="Get it again from its source.", path=path
        ) from error
    except OSError as error:
        raise UnusableWeights(
            f"it cannot be read: {error.strerror}", cure="Check its permissions.", path=path
        ) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return _unpacked(read_torch(path), path)
    try:
        return _unpacked(load_file(path), path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path) from error


def _unpacked(state: Any, path: Path) -> dict[str, Tensor]:
    for _ in range(_DEEPEST):
        if not isinstance(state, dict):
            break
        inner = (state.get(name) for name in _CONTAINERS)
        state = next((value for value in inner if isinstance(value, dict)), state)
    named = state.items() if isinstance(state, dict) else ()
    tensors = {
        name: value for name, value in named if isinstance(name, str) and isinstance(value, Tensor)
    }
    if not tensors:
        raise UnusableWeights(
            "the file holds no tensors by name",
            cure="Ask for the state dict of the network.",
            path=path,
        )
    return tensors
