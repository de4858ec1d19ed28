"""Measures labels of training cases, for the ``label_ranges`` of a bundle's metadata.

``python .ci/label_ranges.py SET 1,2,3,4`` prints the lowest and highest volume of each label in
these folds of a data set in the Decathlon's layout, and how many parts 95 of 100 cases have at
most: stray voxels of an annotator must not excuse those of a network. ``--intensities`` adds the
mean intensity, which only means something where scanners share a scale (CT).
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from unetr_app.io import read_label_map, read_volume
from unetr_app.labels import LabelSet
from unetr_app.review.statistics import LabelStatistics, label_statistics


def measured(
    folder: Path, folds: set[int], *, intensities: bool
) -> Iterator[tuple[LabelStatistics, ...]]:
    """The statistics of each case of these folds."""
    table: dict[str, Any] = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    labels = LabelSet.from_names({int(v): name for v, name in table["labels"].items()})
    for row in table["training"]:
        if row["fold"] not in folds:
            continue
        found = read_label_map(folder / row["label"], labels)
        image = read_volume(folder / row["image"]).data[0] if intensities else None
        yield label_statistics(found.data, found.geometry, labels, image)


def ranges(cases: Iterator[tuple[LabelStatistics, ...]]) -> dict[str, dict[str, Any]]:
    """Lowest and highest values by name, rounded outwards to three digits."""
    rows: dict[str, list[LabelStatistics]] = defaultdict(list)
    for row in (row for case in cases for row in case if row.voxels):
        rows[row.name].append(row)
    return {name: _range(found) for name, found in rows.items()}


def _range(rows: Sequence[LabelStatistics]) -> dict[str, Any]:
    means = [row.mean for row in rows if row.mean is not None]
    found: dict[str, Any] = {"millilitres": _bounds([row.millilitres for row in rows])}
    if means:
        found["mean"] = _bounds(means)
    parts = np.percentile([row.components for row in rows], 95, method="inverted_cdf")
    return found | {"components": int(parts)}


def _bounds(values: Sequence[float]) -> list[float]:
    return [_rounded(min(values), math.floor), _rounded(max(values), math.ceil)]


def _rounded(value: float, towards: Any) -> float:
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 2) if value else 1.0
    return float(f"{towards(round(value / step, 6)) * step:.6g}")


def main(arguments: Sequence[str]) -> None:
    """Print the section as JSON."""
    folder, folds, *rest = arguments
    cases = measured(Path(folder), {*map(int, folds.split(","))}, intensities=bool(rest))
    sys.stdout.write(json.dumps({"label_ranges": ranges(cases)}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
