"""Mix-FFN: a feed-forward in which neighbouring tokens meet."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from unetr_app.networks.tokens import to_map, to_tokens


class MixFeedForward(nn.Module):
    """A depth-wise convolution between two linear layers, then GELU.

    Xie et al. 2021 (SegFormer, arXiv:2105.15203, equation 3) and Wang et al. 2021 (PVT v2,
    arXiv:2106.13797, "convolutional feed-forward"). Its zero padding is all that tells tokens their
    place.

    Args:
        width: Channels in and out.
        hidden: Channels between.
        spatial_dims: 2 or 3.
        rectify: Is there a ReLU before the convolution, as in PVT v2's linear variant?
    """

    def __init__(self, width: int, hidden: int, spatial_dims: int, *, rectify: bool = False):
        super().__init__()
        convolution: Any = nn.Conv3d if spatial_dims == 3 else nn.Conv2d
        self.rectify = rectify
        self.expand = nn.Linear(width, hidden)
        self.mix = convolution(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor, grid: list[int]) -> Tensor:
        """(B, N, C) on a grid to (B, N, C)."""
        expanded = self.expand(tokens)  # (B, N, hidden)
        if self.rectify:
            expanded = functional.relu(expanded)
        mixed = to_tokens(self.mix(to_map(expanded, grid)))
        return self.contract(functional.gelu(mixed))
