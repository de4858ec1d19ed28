"""Source: a published checkpoint told in our words, before it is fitted to an encoder."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unetr_app.errors import UnusableWeights

_WRAPPERS = re.compile(r"^(?:(?:module|_orig_mod)\.)+")
_PART = re.compile(r"^(.+) \[(\d+)/(\d+)\]$")  # "blocks.0.attention.qkv.weight [0/3]"


@dataclass(frozen=True)
class Source:
    """What a checkpoint says: which encoder to build, and its tensors under our names.

    Args:
        layout: Whose key names the file has.
        encoder: Name in `ENCODERS`.
        spatial_dims: Of the checkpoint, 2 or 3.
        in_channels: Of the checkpoint.
        options: Arguments of the encoder's class, for the axes that were asked for.
        tensors: By our names; tensors of an image network stay two-dimensional.
        origins: Our name to the checkpoint's; "" for a tensor that the layout made itself, such as
            zero relative positions along depth.
        skipped: Names of the checkpoint that an encoder has no use for, each with the reason.
        image_size: Input shape that learned positions are laid out for, as many axes as
            ``spatial_dims``; None for families that lay nothing out.
        stem: Our name of the weight that reads the image.
        multiple: What each axis of an input must be a multiple of, where no ``patch_size`` says it;
            a number, or one an axis that was asked for.
    """

    layout: str
    encoder: str
    spatial_dims: int
    in_channels: int
    options: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    origins: Mapping[str, str]
    skipped: Mapping[str, str]
    image_size: tuple[int, ...] | None = None
    stem: str = "embed.weight"
    multiple: int | Sequence[int] = 32


@dataclass(frozen=True)
class Checkpoint:
    """What was found at a path, and what the caller knows about it.

    Args:
        state: Tensors by the file's own names, wrappers' prefixes taken off.
        config: What ``config.json`` says; {} where there is none.
        given: What the caller passed by name; wins over everything else.
        spatial_dims: Axes that were asked for, 2 or 3.
        path: Where it was found.
    """

    state: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    spatial_dims: int = 3
    path: str | os.PathLike[str] = ""

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The reference's own arguments: all that the configuration says, in one level."""
        inner = (self.config.get(key) for key in ("pretrained_cfg", "model_args"))
        return {
            **self.config,
            **{k: v for d in inner if isinstance(d, Mapping) for k, v in d.items()},
        }

    def fact(self, argument: str, *names: str, published: Any = None) -> Any:
        """What no tensor tells: from the caller, the configuration, or a published table.

        Args:
            argument: Our name, by which a caller passes it.
            names: The reference's names in its configuration, the likeliest first.
            published: What a table of published checkpoints says; None where it says nothing.

        Raises:
            UnusableWeights: If it stands nowhere; the message names the argument.
        """
        found = self.fact_or(None, argument, *names, published=published)
        if found is None:
            raise UnusableWeights(
                f"nothing says what {argument} is: no tensor tells it",
                cure=f"Pass {argument}=... (--option {argument}=... on the command line), or put "
                "the config.json of the checkpoint beside it.",
                path=self.path,
            )
        return found

    def fact_or(self, default: Any, argument: str, *names: str, published: Any = None) -> Any:
        """As `fact`, with a default where it stands nowhere."""
        if self.given.get(argument) is not None:
            return self.given[argument]
        said = self.arguments
        for name in (argument, *names):
            if said.get(name) is not None:
                return said[name]
        return default if published is None else published

    def require_stated(
        self, what: str, found: int, argument: str, *names: str, usual: int | None = None
    ) -> None:
        """Refuse a file that lacks what its configuration says it has.

        Args:
            what: Words for what is counted.
            found: How many the file holds.
            argument: Our name; nothing is compared where the caller passes it.
            names: The reference's names in its configuration; a truth counts as 1.
            usual: What the reference takes where its configuration says nothing, if that is known.

        Raises:
            UnusableWeights: If the configuration says another number.
        """
        if self.given.get(argument) is not None:
            return
        silent = found if usual is None else usual
        said = next((self.arguments[n] for n in names if self.arguments.get(n) is not None), silent)
        if int(said) != found:
            raise UnusableWeights(
                f"the file holds {found} {what}, and {int(said)} belong to this network",
                cure="Get the file again from its source.",
                path=self.path,
            )

    def published(self, table: Mapping[str, Any]) -> Any:
        """The row of a table of published names that this checkpoint bears, None without one.

        The name is looked for in the configuration (``architecture``), the file's name and its
        folder's. The longest name that fits wins, so that "xcit_small_12" beats "xcit_small".
        """
        path = Path(self.path)
        said = [str(self.config.get(key, "")) for key in ("architecture", "_name_or_path")]
        for text in (*said, path.name, path.absolute().parent.name if path.suffix else ""):
            words = text.lower().replace("-", "_")
            hits = [name for name in table if name in words]
            if hits:
                return table[max(hits, key=len)]
        return None

    def grid(self, tokens: int, patch: Sequence[int]) -> tuple[int, ...]:
        """Tokens along each axis of the checkpoint's image, from its size or by being square.

        Args:
            tokens: How many positions there are, prefix tokens left out.
            patch: The checkpoint's patch, one an axis.

        Raises:
            UnusableWeights: If nothing says it, or the caller's ``image_size`` has another number.
        """
        axes = len(patch)
        stated = self.stated_grid(patch)
        if stated is not None and math.prod(stated) == tokens:
            return stated
        if self.given.get("image_size") is not None:
            raise UnusableWeights(
                f"image_size {self.given['image_size']} are {math.prod(stated or ())} patches of "
                f"{tuple(patch)}; there are positions of {tokens} tokens",
                cure="Pass the size of the images that it was trained with, or leave it out.",
                path=self.path,
            )
        side = round(tokens ** (1 / axes))
        if side**axes == tokens:
            return (side,) * axes
        raise UnusableWeights(
            f"nothing says how {tokens} tokens lie along {axes} axes",
            cure="Pass image_size=(height, width), the input shape that it was trained with.",
            path=self.path,
        )

    def stated_grid(self, patch: Sequence[int]) -> tuple[int, ...] | None:
        """Tokens along each axis, from the image size that is stated; None where none is.

        Args:
            patch: The checkpoint's patch, one an axis.
        """
        size = self.fact_or(None, "image_size", "img_size", "input_size")
        if size is None:
            return None
        axes = len(patch)
        size = (size,) * axes if isinstance(size, int) else tuple(int(n) for n in size)[-axes:]
        return tuple(n // p for n, p in zip(size, patch, strict=True))

    def per_axis(self, value: Sequence[int]) -> int | tuple[int, ...]:
        """Sizes of an image network for the axes asked for; a number where all are equal.

        Along depth goes the smallest of the others.
        """
        sizes = tuple(int(n) for n in value)
        if len(sizes) < self.spatial_dims:
            sizes = (min(sizes),) * (self.spatial_dims - len(sizes)) + sizes
        return sizes[0] if len(set(sizes)) == 1 else sizes


def unwrap(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors without the prefixes that DataParallel and `torch.compile` add."""
    return {_WRAPPERS.sub("", name): tensor for name, tensor in state.items()}


def strip_prefix(state: Mapping[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    """The same tensors without the first of the prefixes that any name begins with."""
    found = next((p for p in prefixes if any(name.startswith(p) for name in state)), "")
    return {name.removeprefix(found): tensor for name, tensor in state.items()}


def find_prefix(names: Collection[str], *landmarks: str) -> str | None:
    """What stands before names that every file of a layout has, such as "backbone.".

    Args:
        names: Of tensors.
        landmarks: Names that must all be there, after one and the same prefix or none.

    Returns:
        The prefix, "" for none; None where they are not there.

    Example:
        >>> find_prefix(["model.vit.norm", "model.vit.embed"], "embed", "norm")
        'model.vit.'
    """
    first = landmarks[0]
    found = (name.removesuffix(first) for name in names if name.endswith(first))
    whole = (prefix for prefix in found if not prefix or prefix.endswith("."))
    return next((p for p in whole if all(p + mark in names for mark in landmarks)), None)


def count_blocks(names: Collection[str], pattern: str, path: str | os.PathLike[str] = "") -> int:
    """How many blocks there are, from names with their number.

    Args:
        names: Of tensors.
        pattern: A regular expression, the block's number its first group, matched from the start.
        path: Named in an error.

    Raises:
        UnusableWeights: If a number between 0 and the last is missing.
    """
    found = {int(m[1]) for m in (re.match(pattern, name) for name in names) if m}
    count = max(found, default=-1) + 1
    missing = sorted(set(range(count)) - found)
    if missing:
        raise UnusableWeights(
            f"the file holds {count} blocks but not number {missing[0]}",
            cure="The file is not whole: get it again from its source.",
            path=path,
        )
    return count


@dataclass(frozen=True)
class Renamed:
    """Tensors under our names: see `rename`."""

    tensors: dict[str, Tensor]
    origins: dict[str, str]
    skipped: dict[str, str]


def rename(
    state: Mapping[str, Tensor],
    renames: Sequence[tuple[str, str]],
    skips: Sequence[tuple[str, str]] = (),
) -> Renamed:
    """Bring a checkpoint's tensors under our names.

    Args:
        state: Tensors by the checkpoint's names.
        renames: Regular expressions that match a whole name, with our name. One that ends in
            ``[k/n]`` is part k of n that are joined along the first axis, such as queries, keys
            and values that the checkpoint keeps apart.
        skips: Regular expressions matched from the start of a name, with the reason to leave it.

    Returns:
        Tensors, where each comes from, and what was left out. A name that nothing matches is left
        out as unknown.

    Raises:
        UnusableWeights: If some parts of a joined tensor are missing.
    """
    rules = [(re.compile(old), new) for old, new in renames]
    reasons = [(re.compile(old), why) for old, why in skips]
    whole: dict[str, Tensor] = {}
    origins: dict[str, str] = {}
    skipped: dict[str, str] = {}
    parts: dict[str, dict[int, tuple[str, Tensor]]] = {}
    wanted: dict[str, int] = {}
    for name, tensor in state.items():
        ours = next((r.sub(new, name) for r, new in rules if r.fullmatch(name)), None)
        if ours is None:
            why = next((why for r, why in reasons if r.match(name)), "unknown to this layout")
            skipped[name] = why
        elif part := _PART.match(ours):
            parts.setdefault(part[1], {})[int(part[2])] = (name, tensor)
            wanted[part[1]] = int(part[3])
        else:
            whole[ours], origins[ours] = tensor, name
    for ours, found in parts.items():
        if len(found) < wanted[ours]:
            names = ", ".join(name for name, _ in found.values())
            raise UnusableWeights(
                f"{ours} needs {wanted[ours]} parts; there are only {names}",
                cure="The file is not whole: get it again from its source.",
            )
        ordered = [found[n] for n in range(wanted[ours])]
        whole[ours] = _joined([tensor for _, tensor in ordered], ours)
        origins[ours] = " + ".join(name for name, _ in ordered)
    return Renamed(whole, origins, skipped)


def _joined(tensors: Sequence[Tensor], name: str) -> Tensor:
    if len({tensor.shape[1:] for tensor in tensors}) > 1:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise UnusableWeights(
            f"the parts of {name} do not fit each other: {shapes}",
            cure="Get the file again from its source.",
        )
    return torch.cat(list(tensors))
