from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from unetr_app.networks.recomputing import recompute


class _Counting(nn.Module):
    """A convolution and a batch norm that count their forward passes."""

    def __init__(self, momentum: float | None = 0.1):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3, momentum=momentum)
        self.passes = 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.norm(self.convolution(x)).square()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_gradients_and_statistics_are_those_of_one_pass(momentum: float | None) -> None:
    plain, frugal = _Counting(momentum), _Counting(momentum)
    for _ in range(2):
        image = torch.randn(4, 2, 6, 6)
        plain(image).mean().backward()
        recompute(frugal, frugal, image).mean().backward()
    assert (plain.passes, frugal.passes) == (2, 4)
    assert frugal.norm.momentum == momentum
    torch.testing.assert_close(frugal.convolution.weight.grad, plain.convolution.weight.grad)
    for ours, theirs in zip(frugal.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_statistics_are_learned_again_after_an_error_in_the_second_pass() -> None:
    module = _Counting()
    loss = recompute(module, module, torch.randn(4, 2, 6, 6)).mean()
    del module.convolution
    with pytest.raises(AttributeError):
        loss.backward()
    assert module.norm.momentum == 0.1
    assert module.norm.num_batches_tracked.item() == 1
