"""Choices by name: of a table, of a few words, of the options that a class has."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable
from typing import TypeVar

from torch import nn

from unetr_app.errors import InvalidRequest

Name = TypeVar("Name", bound=str)


def require_choice(name: Name, known: Collection[str], what: str) -> Name:
    """The name, if it is one of those known.

    Args:
        name: As it was asked for.
        known: What there is, in the order in which a message lists it.
        what: What such a name stands for, in words.

    Raises:
        InvalidRequest: If it is none of them; the message lists what there is.

    Example:
        >>> require_choice("mlp", ("mlp", "unetr"), "decoder")
        'mlp'
    """
    if name not in known:
        raise InvalidRequest(f"there is no {what} {name!r}", cure=f"There are: {', '.join(known)}.")
    return name


def options_of(part: type[nn.Module]) -> set[str]:
    """Options of an encoder's or a decoder's class: its keyword-only arguments, but the axes."""
    parameters = inspect.signature(part.__init__).parameters.values()
    return {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} - {"spatial_dims"}


def require_options(given: Iterable[str], known: Collection[str], whose: str) -> None:
    """Refuse options that nothing has.

    Args:
        given: Names of options.
        known: Names that there are.
        whose: Subject and verb of the message, such as "vit has".

    Raises:
        InvalidRequest: If one is unknown; the message lists what there is.
    """
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise InvalidRequest(
            f"{whose} no option {', '.join(unknown)}",
            cure=f"Options are: {', '.join(sorted(known))}.",
        )
