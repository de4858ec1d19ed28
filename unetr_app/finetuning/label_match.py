"""Label match: the labels of a data set, found among those of a bundle by their names."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from unetr_app.datasets.label_names import fold, parse_synonyms
from unetr_app.errors import InvalidRequest
from unetr_app.labels import LabelSet
from unetr_app.volume import Segmentation


def match_labels(data: LabelSet, bundle: LabelSet, rename: str = "") -> dict[int, int]:
    """The bundle's value of each of the data set's values.

    Args:
        data: Labels of the data set.
        bundle: Labels of the bundle.
        rename: Names of the data set as the bundle has them: ``"Leber=liver"``.

    Raises:
        InvalidRequest: If they have not the same names, whatever their case; it names both lists.

    Example:
        >>> ours = LabelSet.from_names({1: "liver", 2: "spleen"})
        >>> match_labels(LabelSet.from_names({4: "Spleen", 9: "liver"}), ours)
        {4: 2, 9: 1}
    """
    synonyms = parse_synonyms(rename)
    values = {fold(label.name): label.value for label in bundle}
    names = {label.value: fold(synonyms.get(fold(label.name), label.name)) for label in data}
    if len(set(names.values())) < len(names) or set(names.values()) != set(values):
        raise InvalidRequest(
            f"the data set's labels are {_said(data)}; the bundle's are {_said(bundle)}",
            cure='Say which are the same (--rename "Leber=liver"); every label of the bundle is '
            "needed, and no other.",
        )
    return {value: values[name] for value, name in names.items()}


def mapped(segmentation: Segmentation, table: Mapping[int, int], labels: LabelSet) -> Segmentation:
    """A label map with the values of another table.

    Args:
        segmentation: Exclusive labels.
        table: New value of each value; 0 stays.
        labels: What the new values mean.
    """
    old = segmentation.label_map
    lookup = np.zeros(max([*table, 0]) + 1, dtype=labels.dtype)
    for value, new in table.items():
        lookup[value] = new
    return Segmentation(lookup[old], segmentation.geometry, labels)


def _said(labels: LabelSet) -> str:
    return ", ".join(f"{label.value} {label.name}" for label in labels)
