"""Wholeness: did a checkpoint fill an encoder evenly and far enough?"""

from __future__ import annotations

import re
from typing import Any

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.report import FILLED, LoadReport, name_some

MINIMUM_COVERAGE = 0.9

_NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def require_whole(report: LoadReport, minimum: float | None) -> None:
    """Refuse a file that fills too little, or leaves a hole among blocks that it fills.

    Args:
        report: What became of every tensor.
        minimum: Share of the encoder's parameters that must be filled; holes are then accepted.
            None for `MINIMUM_COVERAGE` and no hole.

    Raises:
        InvalidRequest: If the minimum is no share.
        UnusableWeights: If the file is not whole; the message names tensors that are missing.
    """
    least = _share(MINIMUM_COVERAGE if minimum is None else minimum)
    missing = [record.name for record in report.of("missing")]
    if report.coverage < least:
        raise UnusableWeights(
            f"the file fills {report.coverage:.1%} of {report.encoder}, less than {least:.0%}; "
            f"missing: {name_some(missing)}",
            cure="It is not whole or of another network; minimum_coverage=... accepts less.",
        )
    if minimum is None and (holes := _holes(report)):
        raise UnusableWeights(
            f"the file lacks what {report.encoder} calls {name_some(holes)}",
            cure="It is not whole: get it again from its source. minimum_coverage=... leaves such "
            "tensors as they were initialised.",
        )


def _holes(report: LoadReport) -> list[str]:
    """Missing tensors whose like was filled in another block, and halves of norms.

    A bias that no block has is no hole: there are networks without.
    """
    filled = {record.name: record for record in report.records if record.status in FILLED}
    kinds = {_NUMBER.sub("*", name) for name in filled}
    holes: list[str] = []
    for record in report.of("missing"):
        module, _, leaf = record.name.rpartition(".")
        other = filled.get(f"{module}.{'bias' if leaf == 'weight' else 'weight'}")
        half = other is not None and (leaf == "weight" or len(other.shape) == 1)
        if half or _NUMBER.sub("*", record.name) in kinds:
            holes.append(record.name)
    return holes


def _share(minimum: Any) -> float:
    if isinstance(minimum, bool) or not isinstance(minimum, (int, float)) or not 0 <= minimum <= 1:
        raise InvalidRequest(
            f"minimum_coverage {minimum} is no share from 0 to 1",
            cure="Write 0.8 for four parameters in five.",
        )
    return float(minimum)
