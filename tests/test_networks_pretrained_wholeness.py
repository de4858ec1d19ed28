"""When a report is whole."""

from __future__ import annotations

from typing import Any

import pytest

from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks.pretrained.report import LoadReport, TensorRecord
from unetr_app.networks.pretrained.wholeness import require_whole

OWN = {"embed.weight", "embed.bias", "blocks.0.weight"}
FILLED = (TensorRecord("embed.weight", "loaded", (90,)), TensorRecord("head", "skipped", (999,)))


def _report(missing: str, size: int = 1) -> LoadReport:
    return LoadReport("a layout", "vit", (*FILLED, TensorRecord(missing, "missing", (size,))))


@pytest.mark.parametrize("missing", ["embed.bias", "blocks.0.weight"])
def test_what_belongs_to_the_checkpoints_network_must_be_there(missing: str) -> None:
    with pytest.raises(UnusableWeights, match=f"lacks what vit calls {missing}") as caught:
        require_whole(_report(missing), OWN, None)
    assert "minimum_coverage" in caught.value.cure
    require_whole(_report(missing), OWN, 0.9)


def test_what_the_caller_adds_may_be_missing() -> None:
    require_whole(_report("pooling.query"), OWN, None)


def test_too_little_names_what_is_missing() -> None:
    report = _report("pooling.query", size=90)
    with pytest.raises(UnusableWeights, match=r"fills 50.0% of vit, less than 90%.*pooling.query"):
        require_whole(report, OWN, None)
    require_whole(report, OWN, 0.5)
    with pytest.raises(UnusableWeights, match="less than 60%"):
        require_whole(report, OWN, 0.6)


@pytest.mark.parametrize("minimum", [-0.1, 1.1, 90, "all", True, float("nan")])
def test_a_minimum_that_is_no_share_is_refused(minimum: Any) -> None:
    with pytest.raises(InvalidRequest, match="no share from 0 to 1"):
        require_whole(_report("pooling.query"), OWN, minimum)
