"""LabelSet: what the integers of a label map mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unetr_app.errors import InvalidRequest

Colour = tuple[int, int, int]

# Okabe & Ito's palette for colour-vision deficiency (doi:10.1038/nmeth.1618); where it is short,
# repeated lighter, then darker.
_PALETTE: tuple[Colour, ...] = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167), (153, 153, 153),
)  # fmt: skip


_SHADES = ((1.0, 0), (0.45, 255), (0.55, 0))  # share of the colour, and what it is mixed with


def _from_palette(value: int) -> Colour:
    """A colour for a label value; the first 24 differ."""
    again, n = divmod(value - 1, len(_PALETTE))
    share, other = _SHADES[again % len(_SHADES)]
    red, green, blue = (round(share * c + (1 - share) * other) for c in _PALETTE[n])
    return red, green, blue


@dataclass(frozen=True)
class Code:
    """A coded concept: a triplet of scheme, value and meaning (DICOM PS3.3 section 8).

    Args:
        scheme: Coding scheme designator, ``"SCT"`` for SNOMED CT.
        value: Code value in that scheme.
        meaning: Words for people.
    """

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Label:
    """One named value of a label map.

    Args:
        value: Integer in the map, 1 or more; 0 is background.
        name: Short name, unique in its set.
        colour: Red, green, blue, 0 to 255; taken from a palette by value where absent.
        type: What the label is (segmented property type), such as SCT 4958002.
        category: What kind of thing it is (segmented property category).
        modifier: What narrows the type, such as left or anterior (its type modifier).
    """

    value: int
    name: str
    colour: Colour = (0, 0, 0)
    type: Code | None = None
    category: Code | None = None
    modifier: Code | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.value <= 65535:
            raise InvalidRequest(f"label {self.name!r} has value {self.value}, not 1 to 65535")
        if not self.name.strip():
            raise InvalidRequest(f"label {self.value} has no name")
        if self.colour == (0, 0, 0):
            object.__setattr__(self, "colour", _from_palette(self.value))


@dataclass(frozen=True)
class LabelSet:
    """The labels of one label map, in order of their value, without background.

    Args:
        labels: Labels with unique values and unique names.

    Raises:
        InvalidRequest: If two labels share a value or a name.

    Example:
        >>> LabelSet.from_names({1: "Anterior", 2: "Posterior"}).names
        ('Anterior', 'Posterior')
    """

    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.labels, key=lambda label: label.value))
        for what in ("value", "name"):
            seen = [getattr(label, what) for label in ordered]
            twice = sorted({str(v) for v in seen if seen.count(v) > 1})
            if twice:
                raise InvalidRequest(f"two labels share the {what} {', '.join(twice)}")
        object.__setattr__(self, "labels", ordered)

    @classmethod
    def from_names(cls, names: dict[int, str]) -> LabelSet:
        """Build from value to name; value 0 (background) is left out."""
        return cls(tuple(Label(value, name) for value, name in names.items() if value != 0))

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order of value."""
        return tuple(label.name for label in self.labels)

    @property
    def values(self) -> tuple[int, ...]:
        """Values in ascending order."""
        return tuple(label.value for label in self.labels)

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The smallest unsigned integer that holds every value."""
        return np.dtype(np.uint8 if max(self.values, default=0) < 256 else np.uint16)

    def find(self, name_or_value: str | int) -> Label:
        """The label of that name (any case) or value.

        Raises:
            InvalidRequest: If there is none; the message lists what there is.
        """
        key = str(name_or_value).strip().casefold()
        for label in self.labels:
            if key in (label.name.casefold(), str(label.value)):
                return label
        raise InvalidRequest(
            f"there is no label {name_or_value!r}",
            cure=f"Labels are: {', '.join(f'{v.value} {v.name}' for v in self.labels)}.",
        )

    def subset(self, wanted: Iterable[str | int]) -> LabelSet:
        """The labels named, values unchanged."""
        return LabelSet(tuple({self.find(key).value: self.find(key) for key in wanted}.values()))

    def completed(self, values: Iterable[int]) -> LabelSet:
        """With labels that go by their number for values that have none.

        Example:
            >>> LabelSet.from_names({1: "liver"}).completed([0, 1, 6]).names
            ('liver', 'label 6')
        """
        missing = sorted({*values} - {0, *self.values})
        taken = {name.casefold() for name in self.names}
        names = {value: f"label {value}" for value in missing}
        others = (
            Label(value, f"value {value}" if name in taken else name)
            for value, name in names.items()
        )
        return LabelSet((*self.labels, *others))

    def renamed(self, names: dict[int, str]) -> LabelSet:
        """The same labels with other names for some values."""
        return LabelSet(tuple(replace(v, name=names.get(v.value, v.name)) for v in self.labels))
