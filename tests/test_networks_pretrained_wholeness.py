"""When a report is whole."""

from __future__ import annotations

from typing import Any

import pytest

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.report import LoadReport, Status, TensorRecord
from unetr_app.networks.pretrained.wholeness import require_whole


def _report(*missing: str, loaded: dict[str, tuple[int, ...]]) -> LoadReport:
    def record(name: str, status: Status, shape: tuple[int, ...]) -> TensorRecord:
        return TensorRecord(name, status, shape)

    rows = [record(name, "loaded", shape) for name, shape in loaded.items()]
    return LoadReport(
        "a layout", "vit", (*rows, *(record(name, "missing", (1,)) for name in missing))
    )


BODY = {"embed.weight": (90, 2), "blocks.0.fc.weight": (9, 9), "norm.weight": (9,)}


@pytest.mark.parametrize("missing", ["blocks.1.fc.weight", "norm.bias"])
def test_a_hole_is_refused_unless_a_minimum_is_passed(missing: str) -> None:
    report = _report(missing, loaded=BODY)
    with pytest.raises(UnusableWeights, match=f"lacks what vit calls {missing}") as caught:
        require_whole(report, None)
    assert "minimum_coverage" in caught.value.cure
    require_whole(report, 0.9)


@pytest.mark.parametrize("missing", ["blocks.0.fc.bias", "embed.bias", "positions"])
def test_what_no_block_has_is_no_hole(missing: str) -> None:
    require_whole(_report(missing, loaded=BODY), None)


def test_a_weight_is_a_hole_where_its_bias_is_there() -> None:
    report = _report("head.weight", loaded={**BODY, "head.bias": (9,)})
    with pytest.raises(UnusableWeights, match=r"head\.weight"):
        require_whole(report, None)


def test_too_little_names_what_is_missing() -> None:
    report = _report(*(f"blocks.{n}.gamma" for n in range(9)), loaded={"norm.weight": (9,)})
    with pytest.raises(UnusableWeights, match=r"fills 50.0% of vit, less than 90%.*blocks.0.gamma"):
        require_whole(report, None)
    require_whole(report, 0.5)
    with pytest.raises(UnusableWeights, match="less than 60%"):
        require_whole(report, 0.6)


@pytest.mark.parametrize("minimum", [-0.1, 1.1, 90, "all", True, float("nan")])
def test_a_minimum_that_is_no_share_is_refused(minimum: Any) -> None:
    with pytest.raises(InvalidRequest, match="no share from 0 to 1"):
        require_whole(_report(loaded=BODY), minimum)
