"""Channel files: ``name_0000``, ``name_0001`` and so on, each of them one channel of a case.

The endings are those of nnU-Net's data sets.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unetr_app.cases.case import Case
from unetr_app.cases.channels import channels_in_words, joined, with_volumes
from unetr_app.cases.ids import Draft, stem
from unetr_app.errors import UnreadableInput
from unetr_app.io.formats import Format, image_ending
from unetr_app.io.names import safe_name

_ENDING = re.compile(r"(.+)_(\d{4})", re.DOTALL | re.ASCII)
_MOST_NAMED = 8  # further ones are left out of a message


@dataclass(frozen=True)
class _Member:
    number: int
    image: Case
    alone: Draft  # what it is should its number be none of a channel


def channel_of(path: str) -> tuple[str, int] | None:
    """The case's name and the number of the channel that a file name tells; None for others.

    Example:
        >>> channel_of("scans/liver_7_0001.nii.gz")
        ('liver_7', 1)
    """
    found = _ENDING.fullmatch(stem(path))
    return (found[1], int(found[2])) if found else None


def channel_siblings(path: str | os.PathLike[str]) -> list[Path]:
    """All channels of the case that a file is the first channel of, in their order, itself too.

    Args:
        path: Of a file; others than ``name_0000`` have none.
    """
    first = Path(path)
    told = channel_of(first.name)
    if told is None or told[1] != 0:
        return []
    found = {0: first}
    for other in sorted(first.parent.iterdir()):
        name = channel_of(other.name)
        if name is not None and name[0] == told[0] and other.is_file():
            found.setdefault(name[1], other)
    return [found[n] for n in sorted(found)]


def join_channels(drafts: Sequence[Draft], channels: tuple[str, ...]) -> list[Draft]:
    """Cases of several channels, made of cases of one image.

    Files that hold a volume for each channel are cases as they are. Of the others, those of one
    folder whose names differ in nothing but the number of the channel make a case.

    Args:
        drafts: Cases of one image each.
        channels: Names of the bundle's channels, two at least.
    """
    whole: list[Draft] = []
    groups: defaultdict[tuple[str, str], list[_Member]] = defaultdict(list)
    for case, text in drafts:
        if case.parts or case.form == "channels":  # put together by rules
            whole.append((case, text))
            continue
        tried = with_volumes(case, channels)
        told = channel_of(case.input) if case.kind == "file" else None
        if tried.parts or told is None or case.form == Format.DICOM:
            whole.append((tried, text))
        else:
            folder = os.path.realpath(os.path.dirname(case.input))
            groups[folder, told[0]].append(_Member(told[1], case, (tried, text)))
    for (folder, name), members in groups.items():
        if any(member.number < len(channels) for member in members):
            case = _joined_files(members, name, channels)
            whole.append((replace(case, id=safe_name(name)), os.path.join(folder, name)))
        else:  # the number counts something else
            whole += [member.alone for member in members]
    return whole


def _joined_files(members: Sequence[_Member], name: str, channels: tuple[str, ...]) -> Case:
    members = sorted(members, key=lambda member: (member.number, member.image.input))
    numbers = [member.number for member in members]
    if numbers == list(range(len(channels))):
        return joined([member.image for member in members], channels)
    case = joined([member.image for member in members], tuple(f"channel_{n}" for n in numbers))
    first = members[0].image.input
    if numbers[0]:  # the input is the same once the first channel is there
        first = os.path.join(os.path.dirname(first), f"{name}_0000{image_ending(first)}")
    problem = _mismatch(numbers, name, channels)
    return replace(case, input=first, problem=problem, parts=(), channels=())


def _mismatch(numbers: Sequence[int], name: str, channels: tuple[str, ...]) -> UnreadableInput:
    """Which channels are missing, there twice, or too many."""
    missing = [n for n in range(len(channels)) if n not in numbers]
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    extra = sorted({n for n in numbers if n >= len(channels)})
    said = [
        f"{_in_words(which, channels)} {state}"
        for which, state in ((missing, "missing"), (twice, "there twice"), (extra, "too many"))
        if which
    ]
    return UnreadableInput(
        f"of {name}: {'; '.join(said)}; the bundle takes {channels_in_words(channels)}",
        cure="Have one file for each of its channels, numbered from _0000 on.",
    )


def _in_words(numbers: Sequence[int], channels: tuple[str, ...]) -> str:
    words = [f"_{n:04d}" + (f" ({channels[n]})" if n < len(channels) else "") for n in numbers]
    shown = words[:_MOST_NAMED] + (["..."] if len(words) > _MOST_NAMED else [])
    return f"{', '.join(shown)} {'is' if len(numbers) == 1 else 'are'}"
