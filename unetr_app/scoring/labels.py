"""Names of labels: from the user, the predictions' bundle, their measurements, or a data set."""

from __future__ import annotations

import json
from pathlib import Path

from unetr_app.bundle import read_card
from unetr_app.errors import InvalidRequest, UnetrError
from unetr_app.labels import Label, LabelSet
from unetr_app.outputs import read_measurements
from unetr_app.scoring.pairs import Pair, Pairs

_DATASET = "dataset.json"
_NONE = LabelSet(())


def parse_labels(text: str) -> LabelSet:
    """Labels from words such as ``"1=Anterior,2=Posterior"``.

    Raises:
        InvalidRequest: If a part is not ``value=name``, or a value or name comes twice.

    Example:
        >>> parse_labels("1=Anterior, 2=Posterior").names
        ('Anterior', 'Posterior')
    """
    labels: list[Label] = []
    for part in text.split(","):
        value, equals, name = (piece.strip() for piece in part.partition("="))
        if not (value.isdecimal() and equals and name):
            raise InvalidRequest(
                f"{part.strip()!r} is not value=name",
                cure="Write labels as in 1=Anterior,2=Posterior.",
            )
        labels.append(Label(int(value), name))
    return LabelSet(tuple(labels))


def find_labels(pairs: Pairs) -> LabelSet:
    """What the values of the label maps mean, as far as files near them tell.

    Those of the first pair are taken for all. Looked for in this order: the bundle that the
    prediction's manifest names, the measurements beside the prediction, a ``dataset.json`` beside
    or one folder above the reference.

    Returns:
        Labels; none where nothing is told.
    """
    if not pairs.matched:
        return _NONE
    first = pairs.matched[0]
    folder = first.reference.parent
    told = None
    if first.out is not None:
        told = _of_bundle(first) or _of_measurements(first.prediction.parent)
    return told or _of_dataset(folder / _DATASET) or _of_dataset(folder.parent / _DATASET) or _NONE


def with_names(values: LabelSet, known: LabelSet) -> LabelSet:
    """``known``, and of ``values`` those that it lacks."""
    told = set(known.values)
    return LabelSet((*known, *(label for label in values if label.value not in told)))


def _of_bundle(pair: Pair) -> LabelSet | None:
    """Labels of the bundle that the manifest names for a case, if it is installed."""
    try:
        return read_card(str(pair.manifest_row["bundle"]["name"])).labels
    except (KeyError, TypeError, UnetrError):
        return None


def _of_measurements(folder: Path) -> LabelSet | None:
    try:
        return LabelSet.from_names({r["value"]: r["name"] for r in read_measurements(folder)})
    except UnetrError:
        return None


def _of_dataset(path: Path) -> LabelSet | None:
    """Labels of a data set: value to name as in the Decathlon, or name to value."""
    try:
        table = dict(json.loads(path.read_text(encoding="utf-8"))["labels"])
        if all(str(key).isdecimal() for key in table):
            return LabelSet.from_names({int(key): str(name) for key, name in table.items()})
        return LabelSet.from_names({int(value): str(name) for name, value in table.items()})
    except (OSError, ValueError, KeyError, TypeError, UnetrError):
        return None
