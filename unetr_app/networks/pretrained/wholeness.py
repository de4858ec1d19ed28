"""Wholeness: does a checkpoint fill an encoder far enough, and is all there that belongs to it?"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.report import LoadReport, name_some

MINIMUM_COVERAGE = 0.9


def require_whole(report: LoadReport, own: Collection[str], minimum: float | None) -> None:
    """Refuse a file that fills too little, or lacks what belongs to its own network.

    Args:
        report: What became of every tensor.
        own: Names of the tensors that an encoder has which is built as the checkpoint's was.
        minimum: Share of the encoder's parameters that must be filled; any may then be missing.
            None for `MINIMUM_COVERAGE`, and all that the checkpoint's network has.

    Raises:
        InvalidRequest: If the minimum is no share.
        UnusableWeights: If the file is not whole; the message names tensors that are missing.
    """
    least = _share(MINIMUM_COVERAGE if minimum is None else minimum)
    missing = [record.name for record in report.of("missing")]
    lacking = [name for name in missing if name in own]
    if report.coverage < least:
        what = (
            f"the file fills {report.coverage:.1%} of {report.encoder}, less than {least:.0%}; "
            f"missing: {name_some(missing)}"
        )
    elif minimum is None and lacking:
        what = f"the file lacks what {report.encoder} calls {name_some(lacking)}"
    else:
        return
    raise UnusableWeights(
        what,
        cure="It is not whole, of another network, or options such as depth ask for more than it "
        "holds. minimum_coverage=... (of encoder_from_checkpoint) leaves such tensors as they were "
        "initialised.",
    )


def _share(minimum: Any) -> float:
    if isinstance(minimum, bool) or not isinstance(minimum, (int, float)) or not 0 <= minimum <= 1:
        raise InvalidRequest(
            f"minimum_coverage {minimum} is no share from 0 to 1",
            cure="Write 0.8 for four parameters in five.",
        )
    return float(minimum)
