"""Fingerprint: what decides a network's logits beside its weights, in one hash."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

_PLAIN = (bool, int, float, str, type(None), torch.dtype)


def network_fingerprint(network: nn.Module) -> str:
    """A hash of the network's parts, their plain attributes, and the shapes of its weights.

    Networks of one class that differ in a number, such as that of attention heads, differ in it;
    values of weights do not enter.
    """
    parts = [
        (name, f"{type(part).__module__}.{type(part).__qualname__}", _plain_attributes(part))
        for name, part in network.named_modules()
    ]
    weights = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    return hash_of({"parts": parts, "weights": weights})


def hash_of(facts: Any) -> str:
    """A short hash of what JSON can say."""
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def processor() -> str:
    """The model of this machine's CPU, as far as the system says it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("model name", "CPU part")):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    except OSError:  # no Linux
        pass
    return f"{platform.machine()} {platform.processor()}"


def _plain_attributes(part: nn.Module) -> list[tuple[str, str]]:
    attributes = {**vars(part)}
    return sorted((name, repr(value)) for name, value in attributes.items() if _is_plain(value))


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(_is_plain(each) for each in value.values())
    if isinstance(value, (tuple, list)):
        return all(_is_plain(each) for each in value)
    return isinstance(value, _PLAIN)
