"""The encoder that words on the command line name: of a bundle, untrained, or pretrained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unetr_app.errors import InvalidRequest

if TYPE_CHECKING:
    from torch import nn

    from unetr_app.explain import Explainer

_ROI = 96  # voxels an axis, where nobody says
_SETTLED = {"path", "spatial_dims", "in_channels", "roi_size", "fold_normalisation"}


@dataclass(frozen=True)
class EncoderWords:
    """What the user said.

    Args:
        bundle: Name or folder; empty for none.
        encoder: Name in `unetr_app.networks.ENCODERS`; empty for none.
        load: Path of a checkpoint; empty for none.
        options: ``NAME=VALUE`` each.
        roi: ``N`` or ``I,J,K``; empty for the default.
        seed: Of an untrained encoder's weights.
        device: ``auto``, ``cpu``, ``cuda`` and so on.
    """

    bundle: str
    encoder: str
    load: str
    options: Sequence[str]
    roi: str
    seed: int
    device: str


def open_explainer(words: EncoderWords) -> tuple[Explainer, str]:
    """Build what the words name.

    With a bundle and another encoder, images are prepared as the bundle says.

    Returns:
        The encoder, and what there is to say about its weights.

    Raises:
        InvalidRequest: If the words contradict each other or name nothing.
        UnusableBundle: If bundle or checkpoint cannot be used.
    """
    roi = parse_triple(words.roi, "--roi-size", one_for_all=True)
    options = parse_options(words.options)
    alone = not (words.encoder or words.load)
    if alone and (roi or options):
        raise InvalidRequest("--roi-size and --option are for --encoder and --load")
    if alone and not words.bundle:
        raise InvalidRequest(
            "no encoder is named", cure=f"Add --bundle, --load or --encoder ({_encoders()})."
        )
    from unetr_app.bundle import find_device, open_bundle
    from unetr_app.explain import Explainer

    bundle = (
        open_bundle(words.bundle, device=words.device, ask_trust=True) if words.bundle else None
    )
    like = Explainer.of_bundle(bundle) if bundle else None
    if like is not None and alone:
        return like, ""
    roi = roi or (like.roi_size if like else (_ROI,) * 3)
    in_channels = like.in_channels if like else 1
    encoder, name, said = _built(words, roi, in_channels, options)
    return Explainer.of_encoder(
        encoder, name=name, roi_size=roi, in_channels=in_channels, like=bundle,
        device=str(find_device(words.device)),
    ), said  # fmt: skip


def parse_triple(
    text: str, option: str, *, one_for_all: bool = False
) -> tuple[int, int, int] | None:
    """Three whole numbers; None of no text.

    Args:
        text: What the user wrote.
        option: After which option.
        one_for_all: May it be one number, meant for all three?

    Raises:
        InvalidRequest: If it is something else, or a number is negative.

    Example:
        >>> parse_triple("40,56,40", "--at"), parse_triple("96", "--roi-size", one_for_all=True)
        ((40, 56, 40), (96, 96, 96))
    """
    if not text:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and one_for_all:
        parts *= 3
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise InvalidRequest(
            f"{option} is {text!r}, no three whole numbers", cure=f"Write {option} 40,56,40."
        )
    i, j, k = (int(part) for part in parts)
    return i, j, k


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Options by name; values are JSON, words, or several of them with commas between.

    Raises:
        InvalidRequest: If one is not ``NAME=VALUE``.

    Example:
        >>> parse_options(["patch_size=8,8,4", "class_token=true", "positions=rotary"])
        {'patch_size': (8, 8, 4), 'class_token': True, 'positions': 'rotary'}
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name.strip().isidentifier() and equals):
            raise InvalidRequest(f"--option {text!r} is not NAME=VALUE")
        options[name.strip()] = _value(value.strip())
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        parts = text.split(",")
        return tuple(_value(part.strip()) for part in parts) if len(parts) > 1 else text


def _built(
    words: EncoderWords, roi: tuple[int, ...], in_channels: int, options: dict[str, Any]
) -> tuple[nn.Module, str, str]:
    """The encoder, its name, and what there is to say about its weights."""
    from unetr_app.explain import build_seeded
    from unetr_app.networks import ENCODERS, encoder_from_checkpoint
    from unetr_app.networks.choices import options_of, require_choice, require_options

    if words.load:
        if settled := sorted(_SETTLED & options.keys()):
            raise InvalidRequest(
                f"--option {settled[0]} is settled otherwise",
                cure="Images and the roi come from --bundle and --roi-size.",
            )
        if words.encoder and "encoder" in options:
            raise InvalidRequest("encoder is said twice, by --option too", cure="Keep one of them.")
        if words.encoder:
            options = options | {"encoder": words.encoder}
        encoder, report = encoder_from_checkpoint(
            words.load, in_channels=in_channels, roi_size=roi, fold_normalisation=False, **options
        )
        said = ". ".join((report.summary(), *report.notes()))
        return encoder, Path(words.load).resolve().name, said
    build: Any = ENCODERS[require_choice(words.encoder, sorted(ENCODERS), "encoder")]
    require_options(options, options_of(build), f"{words.encoder} has")
    try:
        encoder = build_seeded(
            lambda: build(in_channels, roi, spatial_dims=3, **options), seed=words.seed
        )
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:  # odd values
        raise InvalidRequest(f"{words.encoder} cannot be built: {error}") from error
    return encoder, f"{words.encoder}, untrained", "Its weights are random: nothing was trained."


def _encoders() -> str:
    from unetr_app.networks import ENCODERS

    return ", ".join(sorted(ENCODERS))
