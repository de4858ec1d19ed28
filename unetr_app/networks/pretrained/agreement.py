"""Agreement of a ready encoder with a checkpoint in the options that leave no trace in shapes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.report import name_some
from unetr_app.networks.without_memory import parameters_without_memory

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.|$)")

# Attributes of modules that change what a network computes from the same tensors, with the option
# of an encoder that sets each.
_OPTIONS = {
    "activation": "activation",
    "average": "shared_prefix",
    "balance_depth": "balance_depth",
    "eps": "norm_eps",
    "kind": "positions",
    "num_heads": "num_heads",
    "rectify": "linear",
    "residual": "residual_pooling",
}


def require_agreement(encoder: nn.Module, build_reference: Callable[[], nn.Module]) -> None:
    """Refuse to fill an encoder that would compute something else from a checkpoint's tensors.

    Modules of one name are compared: their classes (an activation, or a layer scale where the
    other has none), which parameters they have, and the attributes that no tensor shows. What the
    encoder leaves out or has besides shows in the `LoadReport`; sizes that differ are refitted or
    refused.

    Args:
        encoder: That is to be filled.
        build_reference: Builds the encoder that the checkpoint's own options ask for; its tensors
            are never read, and take no memory.

    Raises:
        UnusableWeights: If they differ; the message names each option, ours and theirs.
    """
    found: dict[str, list[str]] = {}
    with parameters_without_memory():
        theirs = dict(build_reference().named_modules())
    for name, ours in encoder.named_modules():
        if name in theirs:
            for what in _differences(name, ours, theirs[name]):
                found.setdefault(what, []).append(name)
    if found:
        told = [f"{what} ({_where(names[0])})" for what, names in found.items()]
        raise UnusableWeights(
            f"the encoder was built otherwise than the checkpoint's: {name_some(told)}",
            cure="Build it with the checkpoint's options, as encoder_from_checkpoint does; passing "
            "an option here too, as it is in the encoder, keeps it.",
        )


def _differences(name: str, ours: nn.Module, theirs: nn.Module) -> Iterator[str]:
    if type(ours) is not type(theirs):
        yield f"{_words(name)} is {type(ours).__name__} here and {type(theirs).__name__} there"
        return
    for attribute, option in _OPTIONS.items():
        mine, other = getattr(ours, attribute, None), getattr(theirs, attribute, None)
        if not isinstance(mine, (int, float, str)) or mine == other:
            continue
        if not _shows(attribute, ours, theirs):
            yield f"{option} is {mine} here and {other} there"
    if name:  # the encoder's own parameters, such as prefix tokens, are told by the report
        for leaf, parameter in ours._parameters.items():
            mine, other = parameter is not None, theirs._parameters.get(leaf) is not None
            if mine != other:
                yield f"{_words(name)} has {'a' if mine else 'no'} {leaf} here, not so there"


def _shows(attribute: str, ours: Any, theirs: Any) -> bool:
    """Does an attribute differ only because of tensors that one of them lacks?"""
    if attribute == "balance_depth":
        return ours.prefix != theirs.prefix
    if attribute == "average":
        return ours.prefixes != theirs.prefixes
    return attribute == "kind" and ours.kind == "none"


def _words(name: str) -> str:
    return name.rpartition(".")[2] or "the encoder"


def _where(name: str) -> str:
    return _NUMBER.sub("*", name) or "the encoder"
