"""Labels are made as the bundle's restoration says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetr_app.bundle.restoration import LabelStep, Restoration
from unetr_app.errors import UnusableBundle
from unetr_app.geometry import Geometry
from unetr_app.inference.cells import cells_of
from unetr_app.inference.labelling import Labelling, ready_for_logits
from unetr_app.inference.nearest import nearest_home
from unetr_app.inference.streaming import reduce_streaming
from unetr_app.inference.way_home import WayHome
from unetr_app.inference.window_plan import Member, Shape, WindowPlan
from unetr_app.labels import LabelSet
from unetr_app.resample import resample_array

MODEL = Geometry((10, 9, 8), np.diag([2.0, 2.0, 2.0, 1.0]))
NATIVE = Geometry((19, 8, 12), np.diag([1.0, 2.2, 1.3, 1.0]))
WAY = WayHome.plain(MODEL, NATIVE)
TABLE = LabelSet.from_names({1: "one", 2: "two"})


class _Step:
    """A transform of labels, by its function."""

    def __init__(self, apply: Any):
        self.apply = apply

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"pred": self.apply(data["pred"])}


def _logits(channels: int = 3) -> Tensor:
    return 3 * torch.randn(channels, *MODEL.shape, generator=torch.Generator().manual_seed(4))


def _labels(how: Restoration, logits: Tensor) -> NDArray[Any]:
    plan = WindowPlan(MODEL.shape, (6, 6, 6))

    def logits_of(member: Member, start: Shape) -> Tensor:
        return plan.place(plan.cut(logits, member, start)[0], member).clone()

    labelling = Labelling(how, WAY, plan.order)
    reduce_streaming(cells_of(plan), logits_of, [labelling.route], labelling.activation)
    return labelling.finish(TABLE)


def _home(array: NDArray[Any]) -> NDArray[Any]:
    return np.stack([resample_array(a, MODEL, NATIVE, edge=np.inf) for a in array])


def _agree(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    assert found.shape == wanted.shape
    assert (found == wanted).mean() > 0.999
    assert len(np.unique(wanted)) > 1


def test_logits_or_probabilities_go_home_and_the_largest_wins() -> None:
    logits = _logits()
    _agree(_labels(Restoration("exclusive"), logits), _home(logits.numpy()).argmax(axis=0))
    shares = logits.softmax(dim=0).numpy()
    found = _labels(Restoration("exclusive", activation="softmax"), logits)
    _agree(found, _home(shares).argmax(axis=0))
    assert found.dtype == np.uint8


def test_labels_that_are_made_first_go_home_by_the_nearest_voxel() -> None:
    logits = _logits()
    how = Restoration("exclusive", discrete_first=True, activation="softmax")
    wanted = nearest_home(logits.argmax(dim=0).numpy(), WAY)
    np.testing.assert_array_equal(_labels(how, logits), wanted)
    _agree(_labels(ready_for_logits(how), logits), _home(logits.numpy()).argmax(axis=0))


@pytest.mark.parametrize("threshold", [0.0, 0.7])
@pytest.mark.parametrize("activation", ["none", "sigmoid"])
def test_masks_by_a_threshold_on_the_logits_scale(activation: Any, threshold: float) -> None:
    logits = _logits(2)
    how = Restoration("overlapping", threshold=threshold, activation=activation)
    if activation == "sigmoid":
        wanted = _home(logits.sigmoid().numpy()) > 1 / (1 + np.exp(-threshold))
    else:
        wanted = _home(logits.numpy()) > threshold
    _agree(_labels(how, logits), wanted)


def test_masks_lie_in_the_order_of_the_label_table() -> None:
    logits = _logits(3)
    how = Restoration("overlapping", values=(2, 0, 1))
    plain = _home(logits.numpy()) > 0
    _agree(_labels(how, logits), plain[[2, 0]])


def test_steps_stand_on_the_grid_that_they_name() -> None:
    seen: list[tuple[int, ...]] = []

    def first(x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        assert x.dtype == torch.float32
        return torch.where(x == 2, 1.0, x)

    steps = (LabelStep(_Step(first), "model"), LabelStep(_Step(first), "native"))
    found = _labels(Restoration("exclusive", discrete_first=True, steps=steps), _logits())
    assert seen == [(1, *MODEL.shape), (1, *NATIVE.shape)]
    assert set(np.unique(found)) == {0, 1}
    seen.clear()
    _labels(Restoration("exclusive", steps=steps[1:]), _logits())
    assert seen == [(1, *NATIVE.shape)]


@pytest.mark.parametrize("value", [-1.0, 70000.0])
def test_numbers_that_are_no_labels_are_refused(value: float) -> None:
    wild = LabelStep(_Step(lambda x: torch.where(x == 1, value, x)), "native")
    with pytest.raises(UnusableBundle, match="which is no label"):
        _labels(Restoration("exclusive", steps=(wild,)), _logits())


def test_masks_may_be_merged_into_one_map() -> None:
    step = LabelStep(_Step(lambda x: torch.where(x[[1]] > 0, 2.0, x[[0]])), "native")
    logits = _logits(2)
    found = _labels(Restoration("overlapping", steps=(step,), merges=True), logits)
    masks = _home(logits.numpy()) > 0
    _agree(found, np.where(masks[1], 2, masks[0]))


def test_a_step_that_changes_the_grid_is_refused() -> None:
    step = LabelStep(_Step(lambda x: x[:, 1:]), "native")
    with pytest.raises(UnusableBundle, match="_Step made labels of shape"):
        _labels(Restoration("exclusive", steps=(step,)), _logits())
