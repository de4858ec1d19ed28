"""ExpectedRanges: what a label usually measures, in training or in the cases of one worklist."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from unetr_app.bundle.folders import METADATA, find_bundle
from unetr_app.errors import UnusableBundle
from unetr_app.review.statistics import LabelStatistics

Bounds = tuple[float, float]

KEY = "label_ranges"
_FEWEST = 8  # cases; a median of fewer says little of what is usual
_WIDTH = 3.5  # robust deviations (Iglewicz & Hoaglin 1993)
_SCALE = 1.4826  # makes the median absolute deviation a normal distribution's standard deviation


@dataclass(frozen=True)
class LabelRange:
    """What one label usually measures; None where nothing is known.

    Args:
        millilitres: Lowest and highest volume.
        mean: Lowest and highest mean intensity, where intensities can be compared (CT).
        components: The most parts that it has.
    """

    millilitres: Bounds | None = None
    mean: Bounds | None = None
    components: int | None = None


@dataclass(frozen=True)
class ExpectedRanges:
    """What labels usually measure.

    Args:
        labels: By the label's name, in small letters.
        source: Where the ranges come from: ``"training"`` or ``"worklist"``.
    """

    labels: Mapping[str, LabelRange] = field(default_factory=dict[str, LabelRange])
    source: str = "training"

    def of(self, name: str) -> LabelRange:
        """The range of a label by its name, any case; an empty one where there is none."""
        return self.labels.get(name.strip().casefold(), LabelRange())

    @classmethod
    def from_metadata(cls, section: Mapping[str, Any]) -> ExpectedRanges:
        """Build from the ``label_ranges`` of a bundle's ``metadata.json``.

        Raises:
            UnusableBundle: If it is not of the form that docs/bundles.md gives.

        Example:
            >>> ranges = ExpectedRanges.from_metadata({"Liver": {"millilitres": [800, 2500]}})
            >>> ranges.of("liver").millilitres
            (800.0, 2500.0)
        """
        try:
            found = {str(name).strip().casefold(): _range(row) for name, row in section.items()}
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise UnusableBundle(
                f"the {KEY} of its metadata.json are damaged: {error}",
                cure='The form is {"liver": {"millilitres": [800, 2500], "mean": [40, 140], '
                '"components": 1}}; all three may be absent.',
            ) from error
        return cls(found, "training")

    @classmethod
    def of_cases(
        cls, cases: Iterable[Sequence[LabelStatistics]], *, intensities: bool = False
    ) -> ExpectedRanges:
        """What is usual among the cases of one worklist.

        From the median 3.5 robust deviations to both sides (median absolute deviation times
        1.4826), of labels that eight cases have at least. Labels without voxels do not count.
        Where more than half of the cases measure the same there is no deviation, and no range.

        Args:
            cases: The statistics of each case, of one bundle.
            intensities: Judge mean intensities too; only where scanners share a scale (CT).
        """
        volumes: dict[str, list[float]] = defaultdict(list)
        means: dict[str, list[float]] = defaultdict(list)
        for row in (row for case in cases for row in case if row.voxels):
            key = row.name.strip().casefold()
            volumes[key].append(row.millilitres)
            if intensities and row.mean is not None:
                means[key].append(row.mean)
        ranges = {
            key: LabelRange(_floored(_robust(found)), _robust(means[key]))
            for key, found in volumes.items()
        }
        return cls(ranges, "worklist")


def trained_ranges(bundle: str | Path) -> ExpectedRanges | None:
    """What a bundle's labels measured in training; None where it does not say.

    Args:
        bundle: Name or folder, as on the command line.

    Raises:
        InvalidRequest: If there is no such bundle.
        UnusableBundle: If its metadata cannot be read, or its ranges are damaged.
    """
    folder = find_bundle(bundle)
    try:
        metadata: Any = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        section = metadata.get(KEY)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UnusableBundle(
            f"metadata.json of {folder.name} cannot be read",
            cure="Copy the bundle again.", path=folder / METADATA,
        ) from error  # fmt: skip
    if section is None:
        return None
    if not isinstance(section, dict):
        raise UnusableBundle(
            f"the {KEY} of metadata.json of {folder.name} are no table",
            cure="docs/bundles.md shows their form.", path=folder / METADATA,
        )  # fmt: skip
    return ExpectedRanges.from_metadata(cast("dict[str, Any]", section))


def _range(row: Mapping[str, Any]) -> LabelRange:
    components = row.get("components")
    return LabelRange(
        _bounds(row.get("millilitres")),
        _bounds(row.get("mean")),
        None if components is None else int(components),
    )


def _bounds(values: Any) -> Bounds | None:
    if values is None:
        return None
    low, high = (float(v) for v in values)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"{values} is no range")
    return low, high


def _robust(values: Sequence[float]) -> Bounds | None:
    if len(values) < _FEWEST:
        return None
    median = float(np.median(values))
    deviation = _SCALE * float(np.median(np.abs(np.asarray(values) - median)))
    if deviation <= 0:
        return None
    return median - _WIDTH * deviation, median + _WIDTH * deviation


def _floored(bounds: Bounds | None) -> Bounds | None:
    return None if bounds is None else (max(0.0, bounds[0]), bounds[1])
