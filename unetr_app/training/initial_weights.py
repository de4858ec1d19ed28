"""Initial weights: a network that begins with weights it was trained to, not at random."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.files import PathLike, read_checkpoint, require_finite

Network = TypeVar("Network", bound=nn.Module)


def start_from(network: Network, weights: PathLike | None) -> Network:
    """Fill a network with a bundle's weights, every tensor of it; nothing where there are none.

    The file is read without running anything that it brings along.

    Args:
        network: As the config builds it.
        weights: A checkpoint of the same network, such as a bundle's ``models/model.pt``.

    Returns:
        The same network.

    Raises:
        UnusableWeights: If the file is missing, damaged, not finite or of another network.
    """
    if weights is None:
        return network
    state, _ = read_checkpoint(weights)
    require_finite(state, weights)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UnusableWeights(
            f"these are weights of another network: {' '.join(str(error).split())[:300]}",
            cure="Give weights that were trained with this network_def.",
            path=weights,
        ) from error
    return network
