from __future__ import annotations

from typing import Any

import pytest

from unetr_app.errors import UnusableWeights
from unetr_app.networks.pretrained.depth import stated_depth
from unetr_app.networks.pretrained.source import Checkpoint


@pytest.mark.parametrize(
    ("config", "published"),
    [
        ({}, None),
        ({}, 3),
        ({"num_blocks": 3}, None),
        ({"model_args": {"depth": 3}}, None),
        ({"depth": 3}, 12),  # the configuration knows better than a name
    ],
)
def test_what_the_file_holds_where_nothing_contradicts(
    config: dict[str, Any], published: int | None
) -> None:
    assert stated_depth(Checkpoint({}, config), 3, "num_blocks", published=published) == 3


@pytest.mark.parametrize(
    ("config", "published"), [({"num_blocks": 4}, 3), ({}, 4), ({"depth": 2}, None)]
)
def test_another_number_is_refused(config: dict[str, Any], published: int | None) -> None:
    with pytest.raises(UnusableWeights, match=r"holds 3 blocks, and [24] belong"):
        stated_depth(Checkpoint({}, config), 3, "num_blocks", published=published)


def test_the_caller_decides() -> None:
    checkpoint = Checkpoint({}, {"depth": 12}, {"depth": 2})
    assert stated_depth(checkpoint, 3) == 2
