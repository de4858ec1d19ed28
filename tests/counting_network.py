"""A network that counts the windows it is given."""

from __future__ import annotations

from torch import Tensor, nn


class CountingNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return x
