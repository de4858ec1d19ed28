"""LabelNames: which labels a data set has, what they are called, and which value each gets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from unetr_app.cases.ids import natural
from unetr_app.errors import InvalidRequest
from unetr_app.labels import LabelSet


@dataclass(frozen=True)
class LabelNames:
    """The labels of a data set; values are 1, 2, ... in their order, as training needs them.

    Args:
        names: In order of value.
        synonyms: Other names, folded, for some of them.
        known: What the values of label maps without names mean; None where the user does not say.
        left_out: Names that some cases have and the data set has not, with how many cases.
    """

    names: tuple[str, ...]
    synonyms: Mapping[str, str]
    known: LabelSet | None = None
    left_out: Mapping[str, int] | None = None

    @property
    def labels(self) -> LabelSet:
        """As a table."""
        return LabelSet.from_names(dict(enumerate(self.names, start=1)))

    def value_of(self, name: str) -> int:
        """The value of a label by any of its names; 0 where the data set has none of that name."""
        folded = fold(name)
        meant = fold(self.synonyms.get(folded, name))
        return next((n for n, own in enumerate(self.names, start=1) if fold(own) == meant), 0)

    def wanted_among(self, names: Sequence[str]) -> tuple[str, ...]:
        """Those of a case's names that the data set has."""
        return tuple(name for name in names if self.value_of(name))

    def require(self, names: Sequence[str], *, all_of_them: bool) -> None:
        """Refuse a case by the names of its labels.

        Raises:
            InvalidRequest: If it has two of one, or lacks one and all are needed.
        """
        values = Counter(filter(None, map(self.value_of, names)))
        twice = [self.names[value - 1] for value, count in values.items() if count > 1]
        if twice:
            raise InvalidRequest(
                f"several of its labels are called {', '.join(twice)}",
                cure="Leave one of the files of labels out.",
            )
        missing = [name for n, name in enumerate(self.names, start=1) if n not in values]
        if missing and all_of_them:
            raise InvalidRequest(
                f"it has no label {', '.join(missing)}; it has {', '.join(names) or 'none'}",
                cure="Draw it, leave the case out, choose other labels with --labels, or say with "
                "--rename which of its names is meant.",
            )


def fold(name: str) -> str:
    """A name as it is compared: in any case, with any spaces or underscores."""
    return " ".join(name.replace("_", " ").split()).casefold()


def parse_labels(text: str) -> tuple[tuple[str, ...], LabelSet | None]:
    """Names wanted, and what values mean, from ``"liver,spleen"`` or ``"1=liver,2=spleen"``.

    Raises:
        InvalidRequest: If a name is empty or comes twice, or only some parts have a value.
    """
    names: list[str] = []
    values: dict[int, str] = {}
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    for part in parts:
        value, equals, name = (piece.strip() for piece in part.partition("="))
        named = name if equals else value
        if not named or (equals and not (value.isdecimal() and 0 < int(value) < 65536)):
            raise InvalidRequest(
                f"--labels: {part!r} is no name and no value=name",
                cure="Write liver,spleen or 1=liver,2=spleen.",
            )
        if equals:
            values[int(value)] = named
        names.append(named)
    if len({fold(name) for name in names}) < len(names) or len(values) not in (0, len(names)):
        raise InvalidRequest(
            "--labels names a label twice, or gives some a value and others none",
            cure="Write liver,spleen or 1=liver,2=spleen.",
        )
    return tuple(names), LabelSet.from_names(values) if values else None


def parse_synonyms(text: str) -> dict[str, str]:
    """Other names for labels, from ``"Leber=liver,liver_v2=liver"``; their names are folded.

    Raises:
        InvalidRequest: If a part is not old=new.
    """
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        old, _, new = (piece.strip() for piece in part.partition("="))
        if not old or not new:
            raise InvalidRequest(
                f"--rename: {part!r} is not old=new", cure="Write Leber=liver,Milz=spleen."
            )
        found[fold(old)] = new
    return found


def agree_on(
    cases: Sequence[Sequence[str]], synonyms: Mapping[str, str], *, kept: Iterable[str] = ()
) -> LabelNames:
    """The labels that more than half of the cases have, in the order of the first that has them.

    Args:
        cases: The names in each case, in order of value.
        synonyms: Other names, folded.
        kept: Names that are labels however few cases have them: those of values that nothing
            names, which a label map has only where there are voxels.

    Raises:
        InvalidRequest: If no name is that common.
    """
    count: Counter[str] = Counter()
    called: dict[str, str] = {}
    for names in cases:
        meant = {fold(found): found for found in (synonyms.get(fold(n), n) for n in names)}
        count.update(meant.keys())
        called = {**meant, **called}
    always = {fold(synonyms.get(fold(name), name)) for name in kept}
    common = [key for key in called if 2 * count[key] > len(cases) or key in always]
    rest = {called[key]: count[key] for key in called if key not in common}
    if not common:
        shown = ", ".join(f"{name} ({n})" for name, n in list(rest.items())[:12])
        raise InvalidRequest(
            f"no label has the same name in most of the {len(cases)} cases: {shown or 'none'}",
            cure="Choose with --labels, and say with --rename which names mean the same.",
        )
    places = {
        fold(synonyms.get(fold(name), name)): (n, at)
        for n, names in reversed(list(enumerate(cases)))
        for at, name in enumerate(names)
    }
    if always.issuperset(common):  # label_2 before label_10
        ordered = sorted(common, key=lambda key: natural(called[key]))
    else:
        ordered = sorted(common, key=places.__getitem__)
    return LabelNames(tuple(called[key] for key in ordered), synonyms, left_out=rest)
