"""Choosing: the cases that rules admit, and the channels that they name put together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from unetr_app.cases.case import Case
from unetr_app.cases.channels import channels_in_words, joined
from unetr_app.cases.ids import Draft
from unetr_app.cases.rules import Rules
from unetr_app.errors import InvalidRequest, UnevenSlices, UnreadableInput, UnsafeGeometry

_MOST_NAMED = 6


@dataclass(frozen=True)
class Chosen:
    """What rules left.

    Args:
        drafts: The cases.
        left_out: How many they did not admit.
        notes: Which rules fitted nothing, and what there was.
    """

    drafts: list[Draft]
    left_out: int = 0
    notes: tuple[str, ...] = ()


def choose(drafts: Sequence[Draft], rules: Rules, channels: tuple[str, ...]) -> Chosen:
    """The cases that rules admit.

    Folders that cannot be opened stay, so that they are not lost in silence; other images than
    DICOM series fit no rule.

    Args:
        drafts: Everything that was found.
        rules: Which to take.
        channels: Names of the bundle's channels, in its order; empty where no bundle is known.

    Raises:
        InvalidRequest: If the rules name other channels than the bundle.
    """
    if rules.are_none:
        return Chosen(list(drafts))
    there = _in_words(drafts)
    images = [d for d in drafts if d[0].form or d[0].problem is None]
    closed = [d for d in drafts if not (d[0].form or d[0].problem is None)]
    fit = [d for d in images if rules.every.admits(d[0])]
    notes: list[str] = []
    if not fit:
        notes.append(f"no series fits the options; there are {there}")
    elif rules.any:
        admitted = [[d for d in fit if rule.admits(d[0])] for rule in rules.any]
        notes += [
            f"no series fits rule {n}; there are {there}"
            for n, found in enumerate(admitted, 1)
            if not found
        ]
        fit = [d for d in fit if any(rule.admits(d[0]) for rule in rules.any)]
    if rules.channels and fit:
        names = _channel_names(rules, channels)
        chosen, used = _with_channels(fit, rules, names)
        if not chosen:
            notes.append(f"no series fits a channel of the rules; there are {there}")
        return Chosen(closed + chosen, len(images) - used, tuple(notes))
    return Chosen(closed + fit, len(images) - len(fit), tuple(notes))


def _in_words(drafts: Sequence[Draft]) -> str:
    """Such as ``3 CT series, 2 MR series and 1 other image``."""
    series = Counter(case.modality or "no modality" for case, _ in drafts if case.facts is not None)
    others = sum(1 for case, _ in drafts if case.facts is None)
    words = [f"{count} series of {name}" for name, count in sorted(series.items())]
    if others:
        words.append(f"{others} other {'image' if others == 1 else 'images'}")
    return ", ".join(words) or "no images at all"


def _channel_names(rules: Rules, channels: tuple[str, ...]) -> tuple[str, ...]:
    """The channels in the bundle's order, or in that of the rules."""
    if not channels:
        return tuple(rules.channels)
    named = {name.casefold(): name for name in rules.channels}
    if named.keys() != {name.casefold() for name in channels}:
        raise InvalidRequest(
            f"the rules name {channels_in_words(tuple(rules.channels))}, the bundle takes "
            f"{channels_in_words(channels)}",
            cure="Have a rule for each channel of the bundle, under its name.",
        )
    return tuple(named[name.casefold()] for name in channels)


def _with_channels(
    fit: Sequence[Draft], rules: Rules, names: tuple[str, ...]
) -> tuple[list[Draft], int]:
    """A case for each study where any channel was found, and how many series they are made of."""
    studies: defaultdict[tuple[str, ...], list[Draft]] = defaultdict(list)
    for case, text in fit:
        assert case.facts is not None
        studies[(case.study_uid or case.input, *case.facts.patient)].append((case, text))
    chosen: list[Draft] = []
    used = 0
    for members in studies.values():
        found = {n: [d for d in members if rules.channels[n].admits(d[0])] for n in names}
        taken = {d[1]: d for series in found.values() for d in series}
        if taken:
            chosen.append(_study(found, names, resample=rules.resample))
            used += len(taken)
    return chosen, used


def _study(
    found: dict[str, list[Draft]], names: tuple[str, ...], *, resample: bool
) -> Draft:  # fmt: skip
    first_case, text = next(series[0] for series in found.values() if series)
    problem = _unclear(found, first_case)
    if problem is not None:
        paths = tuple(dict.fromkeys(p for s in found.values() for c, _ in s for p in c.paths))
        case = replace(first_case, paths=paths, problem=problem, form="channels", geometry=None)
        return case, text
    images = [found[name][0][0] for name in names]
    case = joined(images, names)
    if len(images) > 1:
        case = replace(case, facts=first_case.facts, resample=resample)
        case = _on_one_frame(case, images)
    return case, "|".join(found[name][0][1] for name in names)


def _unclear(found: dict[str, list[Draft]], case: Case) -> UnreadableInput | None:
    """Which channels no series is, or several are."""
    missing = [name for name, series in found.items() if not series]
    several = {name: series for name, series in found.items() if len(series) > 1}
    said = [f"no series of the study fits channel {name}" for name in missing]
    said += [
        f"{len(series)} fit channel {name} ({', '.join(c.id for c, _ in series[:_MOST_NAMED])})"
        for name, series in several.items()
    ]
    if not said:
        return None
    return UnreadableInput(
        "; ".join(said), cure="Make the rules wider or narrower, so that each fits one series.",
        path=case.input,
    )  # fmt: skip


def _on_one_frame(case: Case, images: Sequence[Case]) -> Case:
    """The case, refused where its channels say that their places cannot be compared."""
    frames = {image.facts.frame_uid for image in images if image.facts is not None}
    is_sound = case.problem is None or isinstance(case.problem, UnevenSlices)
    if not is_sound or (len(frames) == 1 and "" not in frames):
        return case
    if len(frames - {""}) > 1 or case.resample:
        problem = UnsafeGeometry(
            "the channels do not share a frame of reference, so that their places cannot be "
            "compared",
            cure="Register them, and give the results as a list of cases.", path=case.input,
        )  # fmt: skip
        return replace(case, problem=problem)
    note = "the frame of reference of some channels is not stated; it was taken to be the same"
    return replace(case, warnings=(*case.warnings, note))
