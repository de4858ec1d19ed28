"""Channels: several images that make one case, one for each channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from unetr_app.cases.case import Case
from unetr_app.errors import UnetrError, UnreadableInput
from unetr_app.io.formats import Format

_HOW = ("End the names of a case's files in _0000, _0001 and so on, one for each channel, or give "
        "a list of cases.")  # fmt: skip


def joined(images: Sequence[Case], channels: tuple[str, ...], *, known: bool = True) -> Case:
    """The case that images make, one for each channel, in this order.

    Args:
        images: At least one case of one image each; the result has the first one's id.
        channels: Names of the bundle's channels; or of the images, where no bundle is known.
        known: Whether a bundle is known.

    Returns:
        The case; with a problem where images and channels do not go together.
    """
    if len(images) == 1:
        return with_volumes(images[0], channels) if known else images[0]
    if len(images) != len(channels):
        problem: UnetrError | None = UnreadableInput(
            f"{len(images)} images, where the bundle takes {channels_in_words(channels)}",
            cure="Name one image for each channel, in this order.", path=images[0].input,
        )  # fmt: skip
        channels = ()
    else:
        problem = next((image.problem for image in images if image.problem is not None), None)
        problem = problem or _named_twice(images, channels)
    return Case(
        images[0].id,
        images[0].input,
        "file" if any(image.kind == "file" for image in images) else "dicom-series",
        tuple(dict.fromkeys(path for image in images for path in image.paths)),
        modality=_shared(image.modality for image in images),
        study_uid=_shared(image.study_uid for image in images),
        series_uid=_shared(image.series_uid for image in images),
        problem=problem,
        form=_form([image.form for image in images]),
        warnings=tuple(dict.fromkeys(w for image in images for w in image.warnings)),
        parts=tuple(image.paths for image in images),
        channels=channels,
    )


def with_volumes(image: Case, channels: tuple[str, ...]) -> Case:
    """The case of one image; of several channels where its file holds a volume for each.

    Args:
        image: A case of one image.
        channels: Names of the bundle's channels; the case is as it was where they are fewer than
            two.
    """
    if len(channels) < 2 or image.problem is not None:
        return image
    try:
        count = _volume_count(image)
    except UnetrError as problem:
        return replace(image, problem=problem)
    if count == len(channels):
        parts = (image.paths,) * count
        return replace(image, form=_form([image.form] * count), parts=parts, channels=channels)
    held = "one image" if count == 1 else f"{count} volumes in the file"
    return replace(
        image,
        problem=UnreadableInput(
            f"{held}, where the bundle takes {channels_in_words(channels)}",
            cure=_HOW if count == 1 else "Give one volume for each channel.", path=image.input,
        ),
    )  # fmt: skip


def channels_in_words(channels: Sequence[str]) -> str:
    """Number and names of channels."""
    noun = "channel" if len(channels) == 1 else "channels"
    return f"{len(channels)} {noun} ({', '.join(channels)})"


def _volume_count(image: Case) -> int:
    if image.form != Format.NIFTI:
        return 1
    from unetr_app.io.nifti import read_volume_count

    return read_volume_count(image.paths[0])


def _named_twice(images: Sequence[Case], channels: tuple[str, ...]) -> UnreadableInput | None:
    seen: dict[tuple[str, ...], str] = {}
    for image, name in zip(images, channels, strict=True):
        other = seen.setdefault(image.paths, name)
        if other is not name:
            return UnreadableInput(
                f"is named for two channels, {other} and {name}",
                cure="Name an image of its own for each channel.", path=image.input,
            )  # fmt: skip
    return None


def _shared(values: Iterable[str]) -> str:
    """The value that all have; empty where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""


def _form(forms: Sequence[str]) -> str:
    """Such as ``4 x nifti``, or ``regular + nifti`` where channels differ."""
    kinds = list(dict.fromkeys(forms))
    return f"{len(forms)} x {kinds[0]}" if len(kinds) == 1 else " + ".join(kinds)
