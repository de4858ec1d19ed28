"""Weights: the network of a bundle with its weights, from a checkpoint or a TorchScript program."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr_app.bundle.card import BundleCard
from unetr_app.bundle.config import BundleConfig
from unetr_app.errors import InvalidRequest, UnusableBundle, UnusableWeights

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PROGRAM = ".ts"
_LONGEST = 300  # letters of what torch says
_PARALLEL = "module."  # what torch's parallel wrappers put before every name


def load_network(
    config: BundleConfig, card: BundleCard, device: torch.device, chosen: Path | None = None
) -> tuple[torch.nn.Module, Path]:
    """The network on a device, in evaluation mode, and the file of its weights.

    The weights are those that were chosen, else those that the config's `CheckpointLoader` loads,
    where they are there, else those of the card. A TorchScript program needs no network in the
    config.

    Raises:
        InvalidRequest: If weights were chosen for a TorchScript program.
        UnusableBundle: If the network does not build.
        UnusableWeights: If the weights are missing, damaged, or belong to another network.
    """
    path = chosen or next(_named_weights(config, card), None) or card.require_weights()
    network_id = _network_id(config)
    if chosen and chosen.suffix != _PROGRAM and not network_id:
        raise InvalidRequest(
            f"{card.name} is a TorchScript program, which takes no other weights",
            cure="Leave --weights out, or name a TorchScript program (.ts).",
        )
    if path.suffix == _PROGRAM or (not network_id and path.with_suffix(_PROGRAM).is_file()):
        path = path.with_suffix(_PROGRAM)
        network = _load_program(path, device)
    elif network_id:
        network = config.build(network_id)
        _require_module(network, network_id, card)
        load_state(network, path, card)
    else:
        raise UnusableBundle(
            f"{card.name} has no network: neither network_def nor models/model.ts",
            cure="Add network_def to configs/inference, or export the network as TorchScript.",
        )
    return network.to(device).eval(), path


def _network_id(config: BundleConfig) -> str:
    nested = next(config.ids_of("network_def"), "")
    return config.first("network_def", "network") or nested or config.first("net", "model")


def _named_weights(config: BundleConfig, card: BundleCard) -> Iterator[Path]:
    for one in config.ids_of_target("CheckpointLoader"):
        try:
            path = card.path / str(config.build(f"{one}#load_path"))
        except UnusableBundle:
            continue  # such as a path that only a training run knows
        if path.is_file():
            yield path


def _require_module(network: Any, network_id: str, card: BundleCard) -> None:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UnusableBundle(
            f"{network_id!r} of {card.name} is a {type(network).__name__}, and no network",
            cure="Name a torch.nn.Module there.",
        )


def _load_program(path: Path, device: torch.device) -> torch.nn.Module:
    import torch

    from unetr_app.networks.pretrained.files import require_finite

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is deprecated; bundles still bring it
            program: Any = torch.jit  # which has no types
            network = program.load(str(path), map_location=device)
    except Exception as error:  # damaged bytes make it raise anything
        raise UnusableWeights(
            "this is damaged, or no TorchScript program",
            cure="Export it again: python -m monai.bundle ckpt_export.",
            path=path,
        ) from error
    require_finite(network.state_dict(), path)
    return network


def load_state(network: torch.nn.Module, path: Path, card: BundleCard) -> None:
    """Fill a bundle's network, its weights there or released, from a checkpoint.

    Raises:
        UnusableWeights: If they are missing, damaged, or belong to another network.
    """
    from unetr_app.networks.pretrained.files import read_checkpoint, require_finite

    state, _ = read_checkpoint(path)
    require_finite(state, path)
    try:
        _fill(network, _plain(state))
    except (UnusableWeights, RuntimeError) as error:
        what = error.what if isinstance(error, UnusableWeights) else _shortened(str(error))
        raise UnusableWeights(
            f"the weights are not those of {card.name}: {what}",
            cure="Use weights that were trained with this bundle's network_def.",
            path=path,
        ) from error


def _shortened(text: str) -> str:
    """On one line, without the end of what torch says of very many tensors."""
    words = " ".join(text.split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def release_weights(network: torch.nn.Module) -> bool:
    """Let go of the memory of a network's parameters, until `load_state` fills it again.

    Returns:
        Whether that was done; a TorchScript program cannot be filled again.
    """
    import torch

    if isinstance(network, torch.jit.ScriptModule):
        return False
    _empty_parameters(network, "meta")
    return True


def is_released(network: torch.nn.Module) -> bool:
    """Were a network's parameters let go?"""
    return any(parameter.is_meta for parameter in network.parameters())


def _fill(network: torch.nn.Module, state: dict[str, Tensor]) -> None:
    """`load_state_dict`, for parameters that were released too: those of networks on the CPU."""
    released = is_released(network)
    if released:
        _empty_parameters(network, "cpu")
    try:
        network.load_state_dict(state)
    except RuntimeError:
        if released:  # rather none than what happened to lie there
            _empty_parameters(network, "meta")
        raise


def _empty_parameters(network: torch.nn.Module, device: str) -> None:
    """Give a network new parameters without values; shared ones stay shared."""
    import torch

    made: dict[torch.nn.Parameter, torch.nn.Parameter] = {}
    for part in network.modules():
        for name, old in [*part.named_parameters(recurse=False, remove_duplicate=False)]:
            if old not in made:
                there = torch.empty_like(old, device=device)
                made[old] = torch.nn.Parameter(there, old.requires_grad)
            setattr(part, name, made[old])


def _plain(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PARALLEL) for name in state):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in state.items()}
    return dict(state)
