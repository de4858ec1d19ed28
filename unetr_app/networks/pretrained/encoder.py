"""encoder_from_checkpoint: an encoder for volumes from a published checkpoint."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.choices import options_of, require_choice, require_options
from unetr_app.networks.encoders import ENCODERS
from unetr_app.networks.pretrained.agreement import require_agreement
from unetr_app.networks.pretrained.files import read_checkpoint, require_finite
from unetr_app.networks.pretrained.fit import fit
from unetr_app.networks.pretrained.image_to_video import image_to_video
from unetr_app.networks.pretrained.layouts import LAYOUTS
from unetr_app.networks.pretrained.normalisation import (
    can_fold,
    fold_normalisation,
    stated_normalisation,
)
from unetr_app.networks.pretrained.report import LoadReport, name_some
from unetr_app.networks.pretrained.source import Checkpoint, Source, unwrap
from unetr_app.networks.pretrained.wholeness import require_whole
from unetr_app.networks.pretrained.wording import errors_in_words
from unetr_app.networks.tuples import as_tuple
from unetr_app.networks.without_memory import parameters_without_memory

PathLike = str | os.PathLike[str]

_DEEPEST_DEFAULT = 96  # voxels along depth where nobody says how many
_FACTS = {"image_size", "image_mean", "image_std"}  # of the checkpoint, no options of an encoder
_OURS = {"minimum_coverage", "fold_normalisation"}  # of the two functions here
_SAME_NETWORK = {"segformer", "pvt"}  # one function where their sizes agree


def encoder_from_checkpoint(
    path: PathLike,
    *,
    spatial_dims: int = 3,
    in_channels: int = 1,
    roi_size: int | Sequence[int] | None = None,
    **overrides: Any,
) -> tuple[nn.Module, LoadReport]:
    """Build the encoder that a published checkpoint belongs to, in two or three dimensions.

    The layout is recognised from the tensors' names, sizes come from the tensors, and what no
    tensor tells (such as attention heads) from ``config.json``, a table of published names, or
    ``overrides``. Weights of images are inflated so that a volume that is constant along depth
    gives the features of the image in every slice (see `unetr_app.networks.inflation`).

    Args:
        path: A folder with ``config.json`` and ``model.safetensors``, a ``.safetensors``, or a
            ``.pt`` or ``.pth`` file, read without running anything in it.
        spatial_dims: 2 or 3.
        in_channels: Channels of the image. With as many as the checkpoint the embedding is
            untouched; for one channel it is summed, and the normalisation that the checkpoint
            states is folded in where that is exact (``fold_normalisation=False`` leaves it out).
        roi_size: Input shape in voxels that positions are laid out for. Where absent that of the
            checkpoint; along depth as many as along height, at most 96.
        overrides: Arguments of the encoder's class, such as ``patch_size``, ``taps`` or
            ``drop_path``; facts that nothing else tells, such as ``num_heads`` and
            ``image_size``; ``encoder``, to build ``timesformer`` from a vision transformer;
            ``minimum_coverage``, the share of the encoder's parameters that must be filled: without
            it 0.9, and nothing missing that belongs to the checkpoint's own network;
            ``image_mean`` and ``image_std``, for the normalisation that is folded in.

    Returns:
        The encoder in evaluation mode, in float32, and what became of every tensor.

    Raises:
        InvalidRequest: If arguments contradict each other or the checkpoint.
        UnusableWeights: If the file cannot be read, is of no known layout, does not fit, covers
            too little, or leaves an argument open; the message names tensors or argument.

    Example:
        >>> encoder, report = encoder_from_checkpoint(
        ...     "dinov2_vit_small_patch14", roi_size=(48, 64, 48), patch_size=8)  # doctest: +SKIP
        >>> print(report)  # doctest: +SKIP
    """
    minimum, folds = _how(overrides)
    wanted = overrides.pop("encoder", None)
    if wanted is not None:
        require_choice(wanted, sorted(ENCODERS), "encoder")
    if isinstance(in_channels, bool) or not isinstance(in_channels, int) or in_channels < 1:
        raise InvalidRequest(f"in_channels {in_channels!r} must be a whole number from 1 on")
    checkpoint = _read(path, spatial_dims, overrides)
    with errors_in_words(path, "encoder"):
        source = _as_family(_read_source(checkpoint), wanted)
        arguments = _arguments(source, overrides, spatial_dims, roi_size)
        encoder = ENCODERS[source.encoder](in_channels, **arguments)  # pyright: ignore[reportCallIssue]
        source, note = _with_normalisation(source, checkpoint, encoder, folds=folds)
        report = _fill(encoder, source, checkpoint, minimum, note)
        report = replace(report, overruled=_overruled(checkpoint, arguments))
    return encoder.eval(), report


def load_pretrained(encoder: nn.Module, path: PathLike, **overrides: Any) -> LoadReport:
    """Fill an encoder that is there already from a published checkpoint of its family.

    Args:
        encoder: Of a class in `ENCODERS`; changed in place, its mode left as it is.
        path: As in `encoder_from_checkpoint`.
        overrides: As there: facts that nothing else tells, and options in which the encoder is
            meant to differ from the checkpoint, said as they are in the encoder.

    Returns:
        What became of every tensor.

    Raises:
        InvalidRequest: If the encoder is of no known class, or an override is unknown.
        UnusableWeights: As `encoder_from_checkpoint`; and if the file is of another family, or the
            encoder was built with another ``num_heads``, ``norm_eps`` or the like, which no tensor
            shows.
    """
    minimum, folds = _how(overrides)
    family = next((name for name, kind in ENCODERS.items() if type(encoder) is kind), None)
    if family is None:
        raise InvalidRequest(
            f"{type(encoder).__name__} is no encoder of ours",
            cure=f"Encoders are: {', '.join(sorted(ENCODERS))}; of a whole network it is .encoder.",
        )
    spatial_dims = len(encoder.strides[0])  # pyright: ignore[reportArgumentType, reportIndexIssue]
    checkpoint = _read(path, spatial_dims, overrides)
    with errors_in_words(path, "encoder"):
        source = _as_family(_read_source(checkpoint), family)
        arguments = _arguments(source, overrides, spatial_dims, None)
        require_agreement(encoder, lambda: ENCODERS[family](source.in_channels, **arguments))  # pyright: ignore[reportCallIssue]
        source, note = _with_normalisation(source, checkpoint, encoder, folds=folds)
        report = _fill(encoder, source, checkpoint, minimum, note)
        return replace(report, overruled=_overruled(checkpoint, arguments))


def _how(overrides: dict[str, Any]) -> tuple[float | None, bool]:
    """Take ``minimum_coverage`` and ``fold_normalisation`` out of the overrides."""
    folds = overrides.pop("fold_normalisation", True)
    if not isinstance(folds, bool):
        raise InvalidRequest(f"fold_normalisation {folds!r} must be true or false")
    return overrides.pop("minimum_coverage", None), folds


def _read(path: PathLike, spatial_dims: int, given: Mapping[str, Any]) -> Checkpoint:
    if spatial_dims not in (2, 3):
        raise InvalidRequest(f"spatial_dims {spatial_dims} must be 2 or 3")
    state, config = read_checkpoint(path)
    require_finite(state, path)
    return Checkpoint(unwrap(state), config, given, spatial_dims, path)


def _read_source(checkpoint: Checkpoint) -> Source:
    names = checkpoint.state.keys()
    layout = next((layout for layout in LAYOUTS if layout.recognises(names)), None)
    if layout is None:
        raise UnusableWeights(
            f"the tensors' names are of no layout that is known here: {name_some(names, 3)}",
            cure=f"Known are: {', '.join(layout.NAME for layout in LAYOUTS)}.",
        )
    source = layout.read(checkpoint)
    if source.spatial_dims > checkpoint.spatial_dims:
        raise InvalidRequest(
            f"{source.layout} is volumetric; spatial_dims {checkpoint.spatial_dims} was asked for",
            cure="Leave spatial_dims at 3.",
        )
    return source


def _as_family(source: Source, wanted: str | None) -> Source:
    """The source for the encoder that was asked for, where its weights serve that one too."""
    if wanted is None or wanted == source.encoder:
        return source
    if wanted == "timesformer" and source.encoder == "vit" and source.spatial_dims == 2:
        return image_to_video(source)
    if {wanted, source.encoder} <= _SAME_NETWORK:
        return replace(source, encoder=wanted)
    raise UnusableWeights(
        f"the file holds {source.encoder} ({source.layout}); {wanted} was asked for",
        cure=_family_cure(source, wanted),
    )


def _family_cure(source: Source, wanted: str) -> str:
    if wanted == "timesformer" and source.encoder == "vit":
        return "A TimeSformer is made from vision transformers of images alone."
    return f"Build {source.encoder}, or take a checkpoint of {wanted}."


def _arguments(
    source: Source,
    overrides: Mapping[str, Any],
    spatial_dims: int,
    roi_size: int | Sequence[int] | None,
) -> dict[str, Any]:
    options = options_of(ENCODERS[source.encoder])
    require_options(overrides, options | _FACTS | _OURS, f"{source.encoder} has")
    chosen = {name: value for name, value in overrides.items() if name in options}
    arguments = {**source.options, **chosen, "spatial_dims": spatial_dims}
    if roi_size is None:
        arguments["roi_size"] = _default_roi(source, arguments, spatial_dims)
    else:
        arguments["roi_size"] = as_tuple(roi_size, spatial_dims, "roi_size")
    return arguments


def _default_roi(
    source: Source, arguments: Mapping[str, Any], spatial_dims: int
) -> tuple[int, ...]:
    """The checkpoint's image size; whole patches, and along depth as many as along height."""
    patch = as_tuple(arguments.get("patch_size", source.multiple), spatial_dims, "patch_size")
    size = source.image_size or (_DEEPEST_DEFAULT,) * spatial_dims
    if len(size) < spatial_dims:
        size = (min(size[0], _DEEPEST_DEFAULT), *size)
    return tuple(n // p * p or n for n, p in zip(size, patch, strict=True))


def _with_normalisation(
    source: Source, checkpoint: Checkpoint, encoder: nn.Module, *, folds: bool
) -> tuple[Source, str]:
    """The source with the normalisation of its images folded in where that is exact."""
    stated = stated_normalisation(checkpoint, source.in_channels)
    stem: Any = encoder.get_submodule(source.stem.rpartition(".")[0])
    channels = int(encoder.state_dict()[source.stem].shape[1])
    if stated is None:
        return source, ""
    if folds and channels == 1 != source.in_channels and can_fold(stem, source):
        return fold_normalisation(source, stated), (
            "Input: grey, 0 to 1; the checkpoint's normalisation is folded into the embedding."
        )
    return source, (
        f"Input: normalised as the checkpoint's images were, mean {stated[0]} and standard "
        f"deviation {stated[1]} a channel where 0 to 1 is black to white."
    )


def _own_names(source: Source, checkpoint: Checkpoint) -> set[str]:
    """Names of the tensors of an encoder that is built as the checkpoint's was."""
    arguments = _arguments(source, {}, checkpoint.spatial_dims, None)
    with parameters_without_memory():
        return set(ENCODERS[source.encoder](source.in_channels, **arguments).state_dict())  # pyright: ignore[reportCallIssue]


def _overruled(checkpoint: Checkpoint, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Where the caller wants something else than what the checkpoint alone would have given."""
    if not checkpoint.given:
        return ()
    try:
        alone = _read_source(replace(checkpoint, given={})).options
    except UnusableWeights:  # it does not say enough to be read alone
        return ()
    pairs = [(name, arguments[name], alone.get(name)) for name in checkpoint.given if name in alone]
    return tuple(
        f"{n} is {ours}, not {own}" for n, ours, own in pairs if _plain(ours) != _plain(own)
    )


def _plain(value: Any) -> Any:
    """One number for several equal ones, and lists for tuples."""
    if not isinstance(value, (list, tuple)):
        return value
    parts = [_plain(part) for part in value]
    return parts[0] if parts and all(part == parts[0] for part in parts) else parts


def _fill(
    encoder: nn.Module, source: Source, checkpoint: Checkpoint, minimum: float | None, note: str
) -> LoadReport:
    state, report = fit(encoder, source, checkpoint.state)
    report = replace(report, input_note=note)
    require_whole(report, _own_names(source, checkpoint), minimum)
    encoder.load_state_dict(state)
    return report
