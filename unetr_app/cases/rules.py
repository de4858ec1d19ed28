"""Rules: which DICOM series are cases, and which series is which channel.

A rule admits a series where all of its conditions hold; a series is a case where any rule admits
it. The description of a series may hold what a person typed about a patient: rules match it, and
nothing shows or stores it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from unetr_app.cases.case import Case
from unetr_app.errors import InvalidRequest
from unetr_app.io.atomic import PathLike

_CONDITIONS = ("modality", "description", "min_slices", "max_slices", "kind", "image_type")
_MOST_BYTES = 2**20
_CURE = ("Give rules: a list of conditions, or channels: a name and conditions for each channel; "
         "see docs/inputs.md.")  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """Conditions that a series has to meet, all of them; those left empty hold for any.

    Args:
        modality: One of these DICOM codes.
        description: Found somewhere in the Series Description, capitals or not.
        min_slices: As many slices at least.
        max_slices: As many at most.
        kind: One of these: ``regular``, ``tilt``, ``phases`` and so on.
        image_type: Each of these is among the values of Image Type.
    """

    modality: tuple[str, ...] = ()
    description: re.Pattern[str] | None = field(default=None, repr=False)
    min_slices: int = 0
    max_slices: int | None = None
    kind: tuple[str, ...] = ()
    image_type: tuple[str, ...] = ()

    def admits(self, case: Case) -> bool:
        """Does a case meet all conditions? What is no DICOM series never does."""
        facts = case.facts
        if facts is None or case.kind != "dicom-series":
            return False
        slices = case.slices
        most = slices if self.max_slices is None else self.max_slices
        return (
            self.min_slices <= slices <= most
            and (not self.modality or case.modality.upper() in self.modality)
            and (not self.kind or case.form in self.kind)
            and set(self.image_type) <= {value.upper() for value in facts.image_type}
            and (self.description is None or bool(self.description.search(facts.description)))
        )


@dataclass(frozen=True)
class Rules:
    """What to take of what was found.

    Args:
        every: A rule that must admit every series, whatever else admits it; the command line's.
        any: Rules of which one must admit a series; any series will do where there are none.
        channels: For each channel of a bundle the rule that says which series of a study it is.
        resample: Whether channels on other grids are put onto the first channel's.
    """

    every: Rule = Rule()
    any: tuple[Rule, ...] = ()
    channels: Mapping[str, Rule] = field(default_factory=dict[str, Rule])
    resample: bool = False

    @property
    def are_none(self) -> bool:
        """Do they let everything through as it is?"""
        return self.every == Rule() and not self.any and not self.channels


def make_rule(
    *, modality: str = "", description: str = "", min_slices: int = 0, where: str = "the options"
) -> Rule:
    """A rule as it is typed.

    Args:
        modality: DICOM codes with commas between them.
        description: A regular expression.
        min_slices: As many slices at least.
        where: What to name in a message.

    Raises:
        InvalidRequest: If a condition makes no sense.

    Example:
        >>> make_rule(modality="ct,MR").modality
        ('CT', 'MR')
    """
    conditions: dict[str, Any] = {}
    if modality:
        conditions["modality"] = modality.split(",")
    if description:
        conditions["description"] = description
    if min_slices:
        conditions["min_slices"] = min_slices
    return _rule(conditions, where)


def read_rules(path: PathLike, *, every: Rule | None = None) -> Rules:
    """Read a file of rules.

    Args:
        path: YAML, or JSON in a file named ``.json``.
        every: A further rule that must admit every series.

    Raises:
        InvalidRequest: If the file cannot be read or holds no rules.
    """
    try:
        return _rules(_loaded(path), every or Rule())
    except InvalidRequest as error:
        raise InvalidRequest(error.what, cure=error.cure, path=path) from error


def _loaded(path: PathLike) -> dict[str, Any]:
    import yaml

    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise InvalidRequest("a file of rules has no more than 1 MiB", cure=_CURE)
        text = content.decode("utf-8-sig")
        is_json = os.fspath(path).lower().endswith(".json")
        found: Any = json.loads(text) if is_json else yaml.safe_load(text)
    except OSError as error:
        raise InvalidRequest(
            f"the rules could not be read: {error.strerror}", cure="Check the path."
        ) from error
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InvalidRequest("the file is no YAML or JSON that can be read", cure=_CURE) from error
    if not isinstance(found, dict) or not found:
        raise InvalidRequest("the file holds no rules", cure=_CURE)
    return cast("dict[str, Any]", found)


def _rules(found: dict[str, Any], every: Rule) -> Rules:
    unknown = sorted(map(str, found.keys() - {"rules", "channels", "resample"}))
    if unknown:
        raise InvalidRequest(f"there is no {', '.join(unknown)} in a file of rules", cure=_CURE)
    listed, named = found.get("rules", []), found.get("channels", {})
    resample = found.get("resample", False)
    if not isinstance(listed, list) or not isinstance(named, dict):
        raise InvalidRequest("rules is no list, or channels no table", cure=_CURE)
    if not isinstance(resample, bool):
        raise InvalidRequest("resample is neither true nor false", cure=_CURE)
    rules = cast("list[Any]", listed)
    channels = cast("dict[Any, Any]", named)
    return Rules(
        every,
        tuple(_rule(entry, f"rule {n}") for n, entry in enumerate(rules, 1)),
        {str(name): _rule(entry, f"channel {name}") for name, entry in channels.items()},
        resample,
    )


def _rule(entry: Any, where: str) -> Rule:
    if not isinstance(entry, dict):
        raise InvalidRequest(f"{where} is no table of conditions", cure=_CURE)
    given = cast("dict[str, Any]", entry)
    unknown = sorted(map(str, given.keys() - set(_CONDITIONS)))
    if unknown:
        raise InvalidRequest(
            f"{where} has no condition {', '.join(unknown)}",
            cure=f"Use {', '.join(_CONDITIONS)}.",
        )
    most = given.get("max_slices")
    return Rule(
        modality=_words(given.get("modality", ()), f"{where}: modality"),
        description=_pattern(given.get("description"), f"{where}: description"),
        min_slices=_count(given.get("min_slices", 0), f"{where}: min_slices"),
        max_slices=None if most is None else _count(most, f"{where}: max_slices"),
        kind=tuple(w.lower() for w in _words(given.get("kind", ()), f"{where}: kind")),
        image_type=_words(given.get("image_type", ()), f"{where}: image_type"),
    )


def _words(value: Any, where: str) -> tuple[str, ...]:
    words = cast("list[Any] | tuple[Any, ...]", value if isinstance(value, list | tuple)
                 else [value])  # fmt: skip
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise InvalidRequest(f"{where} is no word, nor a list of words", cure=_CURE)
    return tuple(word.strip().upper() for word in words)


def _count(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidRequest(f"{where} is no whole number from 0 on", cure=_CURE)
    return value


def _pattern(value: Any, where: str) -> re.Pattern[str] | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return re.compile(value, re.IGNORECASE)
        raise InvalidRequest(f"{where} is no text", cure=_CURE)
    except (re.error, OverflowError, RecursionError) as error:
        raise InvalidRequest(
            f"{where} is no regular expression: {error}", cure="Correct it."
        ) from error
