"""Windows go through the network once, constant ones once for all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from unetr_app.errors import UnusableBundle
from unetr_app.inference.window_logits import WindowLogits
from unetr_app.inference.window_plan import Member, WindowPlan, members_of

CPU = torch.device("cpu")
PLAN = WindowPlan((8, 8, 32), (8, 8, 8), (0.0, 0.0, 0.0), members=members_of((2,)))


class Counted:
    """A network that is no function of voxels alone, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        ramp = torch.linspace(-1, 1, x[0, 0].numel()).reshape(x.shape[2:])
        return torch.cat([x + ramp, x * ramp - x.mean()], dim=1)


def _all(image: Tensor, *, skip: bool) -> tuple[Tensor, int]:
    network = Counted()
    logits_of = WindowLogits(lambda *_: network, CPU, skip=skip).of(PLAN, image)
    found = [logits_of(m, (0, 0, s)).clone() for s in (0, 8, 16, 24) for m in PLAN.members]
    return torch.stack(found), network.calls


def test_constant_windows_give_the_same_and_are_computed_once() -> None:
    image = torch.zeros(1, 8, 8, 32)
    image[..., 8:16] = torch.randn(8, 8, 8)
    image[..., 24:] = 3.0
    skipped, few = _all(image, skip=True)
    plain, many = _all(image, skip=False)
    assert torch.equal(skipped, plain)
    assert many == 8
    assert few == 4  # air, two mirror images of what is there, and threes


def test_what_is_kept_is_not_changed_by_the_caller() -> None:
    network = Counted()
    logits_of = WindowLogits(lambda *_: network, CPU).of(PLAN, torch.zeros(1, 8, 8, 32))
    first = logits_of(Member(), (0, 0, 0))
    before = first.clone()
    first.zero_()
    assert torch.equal(logits_of(Member(), (0, 0, 8)), before)


def test_the_probe_tells_channels_and_runs_the_network_once() -> None:
    network = Counted()
    windows = WindowLogits(lambda *_: network, CPU)
    assert windows.probe(PLAN, 1)[0] == 2
    windows.probe(PLAN, 1)
    assert network.calls == 1


def test_logits_of_other_voxels_are_refused() -> None:
    windows = WindowLogits(lambda *_: lambda x: x[..., :4], CPU)
    logits_of = windows.of(PLAN, torch.zeros(1, 8, 8, 32))
    with pytest.raises(UnusableBundle, match="must have the same voxels"):
        logits_of(Member(), (0, 0, 0))
