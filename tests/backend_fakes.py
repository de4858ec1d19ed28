"""Small networks, and libraries that run them as a test wants; for tests of backends."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from unetr_app.inference.backends.backend import Library, Runner
from unetr_app.inference.backends.conversion import Conversion
from unetr_app.networks import build_network

WINDOW = (1, 1, 16, 24, 16)


def small_network(encoder: str = "vit") -> nn.Module:
    torch.manual_seed(0)
    return build_network(
        encoder, "unetr", out_channels=3, roi_size=WINDOW[2:], patch_size=8, embed_dim=24, depth=2,
        num_heads=2, feature_size=4,
    ).eval()  # fmt: skip


class Slow(nn.Module):
    """Twice the window; takes its time and counts."""

    def __init__(self, seconds: float = 0.03):
        super().__init__()
        self.calls = [object()]  # an attribute that changes must not be plain
        self.seconds = seconds

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(object())
        time.sleep(self.seconds)
        return torch.cat([x, 2 * x], dim=1)


@dataclass
class Fake:
    """What a fake library does.

    Args:
        seconds: Of a window.
        factor: Of its logits; 1 is right.
        converted: Conversions so far.
    """

    seconds: float = 0.0
    factor: float = 1.0
    converted: list[Path] = field(default_factory=list)

    def convert(self, conversion: Conversion, folder: Path) -> None:
        self.converted.append(folder)
        (folder / "factor.txt").write_text(str(self.factor))

    def load(self, folder: Path, threads: int, streams: int) -> Runner:
        factor = float((folder / "factor.txt").read_text())

        def run(window: Tensor) -> Tensor:
            time.sleep(self.seconds)
            return torch.cat([window, 2 * factor * window], dim=1)

        return run


@dataclass(frozen=True)
class FakeLibrary(Library):
    """One that is always installed."""

    version: str = "1.0"

    def require(self) -> str:
        return self.version


def fake_library(name: str, fake: Fake, version: str = "1.0") -> FakeLibrary:
    return FakeLibrary(name, name, fake.convert, fake.load, version)
