"""The depth of a checkpoint: whether its blocks are all there."""

from __future__ import annotations

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.source import Checkpoint


def stated_depth(
    checkpoint: Checkpoint, found: int, *names: str, published: int | None = None
) -> int:
    """How many blocks the encoder has, so that a truncated file builds no smaller network.

    Args:
        checkpoint: With its configuration.
        found: Blocks that the file holds.
        names: What the reference calls them in its configuration.
        published: What a table of published checkpoints says; None where it says nothing.

    Returns:
        What the caller passed as ``depth``; else what was found.

    Raises:
        UnusableWeights: If the configuration, or else the table, says another number.
    """
    said = checkpoint.fact_or(None, "depth", *names, published=published)
    if checkpoint.given.get("depth") is not None:
        return int(said)
    if said is not None and int(said) != found:
        raise UnusableWeights(
            f"the file holds {found} blocks, and {said} belong to this network",
            cure="Get the file again from its source, or pass depth=... to build another network.",
            path=checkpoint.path,
        )
    return found
