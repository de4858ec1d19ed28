"""Backends: one network, run by the fastest library that gives the logits that torch gives."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from unetr_app.errors import InvalidRequest
from unetr_app.inference.backends.backend import Backend, Library, WindowShape, streams_for
from unetr_app.inference.backends.onnx_backend import ONNXRUNTIME
from unetr_app.inference.backends.opening import AUTO, Opening, open_beside_cpu
from unetr_app.inference.backends.openvino_backend import OPENVINO
from unetr_app.inference.backends.trial import TORCH

__all__ = ["LIBRARIES", "Backend", "open_backend"]

LIBRARIES: dict[str, Library] = {library.name: library for library in (OPENVINO, ONNXRUNTIME)}


def open_backend(
    name: str, network: nn.Module, *, window: WindowShape, weights_hash: str = "",
    device: torch.device | None = None, room: int | None = None, labels: int = 0,
) -> Backend:  # fmt: skip
    """A network behind one callable.

    On the CPU ``"auto"`` takes the fastest of torch and the libraries that are installed and agree
    with torch; elsewhere it is torch. Converted networks and choices are kept in the user's cache.

    Args:
        name: ``"auto"``, ``"torch"``, or one of `LIBRARIES`.
        network: In evaluation mode, on ``device``. Its weights may get another memory layout.
        window: (1, C, d, h, w): the one shape that windows will have.
        weights_hash: Of its weights and configuration; where empty, nothing is kept.
        device: The CPU where absent.
        room: Bytes that may be used beyond those in use; None for any number. Where it is too
            little to convert the network, ``"auto"`` is torch.
        labels: Channels of the logits, by which a library computes one or two windows at a time;
            0 where they are not known.

    Raises:
        DeviceMemory: If there is no room to convert the network for the one that is named.
        InvalidRequest: If there is no such backend, it is not installed or not for the device.
        UnusableBundle: If the one that is named cannot run the network or differs from torch.

    Example:
        >>> backend = open_backend("torch", nn.Conv3d(1, 2, 1), window=(1, 1, 4, 4, 4))
        >>> backend.name, backend(torch.zeros(1, 1, 4, 4, 4)).shape
        ('torch', torch.Size([1, 2, 4, 4, 4]))
    """
    known = (AUTO, TORCH, *LIBRARIES)
    if name not in known:
        raise InvalidRequest(
            f"there is no backend {name!r}", cure=f"There are: {', '.join(known)}."
        )
    if device is not None and device.type != "cpu":
        return open_beside_cpu(name, network, device)
    versions: dict[Library, str] = {}
    missing: list[str] = []
    for library in LIBRARIES.values() if name == AUTO else ():
        try:
            versions[library] = library.require()
        except InvalidRequest as error:
            missing.append(error.what)
    if name in LIBRARIES:
        versions[LIBRARIES[name]] = LIBRARIES[name].require()
    backend = Opening(network, window, weights_hash, versions, streams_for(window, labels)).open(
        name, room
    )
    return replace(backend, notes=(*missing, *backend.notes))
