"""A card tells of an encoder what building and running it would show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.small_encoders import roi_for, small_encoder, small_options
from tests.vit_files import write_vit
from unetr_app.errors import InvalidRequest
from unetr_app.networks import ENCODERS, encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import LAYOUTS
from unetr_app.networks.zoo import FAMILIES, encoder_card, layouts_of

TOKENS: dict[str, Any] = {"embed_dim": 8, "depth": 2, "num_heads": 2}


def test_every_encoder_has_a_family_and_a_paper():
    assert FAMILIES.keys() == ENCODERS.keys()
    assert all(family and paper.startswith("arXiv:") for family, paper in FAMILIES.values())


@pytest.mark.parametrize("name", sorted(ENCODERS))
@pytest.mark.parametrize("dims", [2, 3])
def test_a_card_says_what_the_encoder_is(name: str, dims: int):
    options, roi_size = small_options(name, dims), roi_for(dims)
    card = encoder_card(name, in_channels=2, roi_size=roi_size, spatial_dims=dims, **options)
    encoder: Any = small_encoder(name, dims, in_channels=2)
    assert (card.name, card.roi_size) == (name, roi_size)
    assert card.parameters == sum(tensor.numel() for tensor in encoder.parameters())
    assert (card.channels, card.strides) == (encoder.channels, encoder.strides)
    assert card.flops > card.parameters / 4  # weights meet many places, positions none


def test_operations_of_a_vision_transformer_by_hand():
    tokens, width, hidden, blocks = 3 * 4 * 5, 16, 40, 3
    sizes = {"embed_dim": width, "mlp_dim": hidden, "depth": blocks, "num_heads": 4}
    card = encoder_card("vit", in_channels=2, roi_size=(12, 16, 20), patch_size=4, **sizes)
    embedding = tokens * width * 2 * 4**3
    linears = tokens * (3 * width * width + width * width + 2 * width * hidden)
    attention = 2 * tokens * tokens * width  # queries by keys, then by values
    assert card.flops == 2 * (embedding + blocks * (linears + attention))
    norms = 2 * width * (2 * blocks + 1)
    biases = width + blocks * (3 * width + width + hidden + width)
    weights = 128 * width + blocks * (4 * width * width + 2 * width * hidden)
    assert card.parameters == weights + biases + norms + tokens * width  # positions


def test_operations_of_convolutions_by_hand():
    sizes: dict[str, Any] = {"embed_dim": 6, "depth": 2, "patch_size": (2, 4, 4)}
    card = encoder_card("convmixer", roi_size=(8, 16, 24), kernel_size=5, **sizes)
    places = 4 * 4 * 6
    embedding = places * 6 * 2 * 4 * 4
    block = places * (6 * 5**3 + 6 * 6)  # depth-wise, then point-wise
    assert card.flops == 2 * (embedding + 2 * block)


def test_a_card_is_of_96_voxels_or_the_next_number_that_fits():
    assert encoder_card("vit", **TOKENS).roi_size == (96, 96, 96)
    assert encoder_card("vit", patch_size=7, **TOKENS).roi_size == (98, 98, 98)
    with pytest.raises(InvalidRequest, match=r"roi_size \(96, 96, 96\)"):
        encoder_card("vit", patch_size=500, **TOKENS)


def test_a_card_needs_no_memory():
    card = encoder_card("vit", roi_size=16, embed_dim=8192, num_heads=64, depth=64)
    assert card.parameters > 5e10  # more than 200 GB


def test_modules_built_later_have_memory():
    encoder_card("vit", roi_size=32, **TOKENS)
    assert nn.Linear(2, 2).weight.device.type == "cpu"
    with pytest.raises(InvalidRequest):
        encoder_card("vit", roi_size=32, embed_dim=7, num_heads=2)
    assert nn.Linear(2, 2).weight.device.type == "cpu"


def test_names_that_are_none_are_refused():
    with pytest.raises(InvalidRequest, match=r"there is no encoder 'vitt'.*xcit"):
        encoder_card("vitt")


def test_an_encoder_without_a_row_has_the_name_of_its_class(monkeypatch: pytest.MonkeyPatch):
    class Mean(nn.Module):
        channels, strides = (1,), ((2, 2, 2),)

        def __init__(self, in_channels: int, roi_size: tuple[int, ...], *, spatial_dims: int = 3):
            super().__init__()
            self.weigh = nn.Conv3d(in_channels, 1, 2, stride=2, bias=False)

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [self.weigh(x)]

    monkeypatch.setitem(ENCODERS, "mean", Mean)
    card = encoder_card("mean")
    assert (card.family, card.paper, card.layouts) == ("Mean", "", ())
    assert (card.parameters, card.flops) == (8, 2 * 8 * 48**3)


def test_layouts_name_encoders_that_there_are():
    for layout in LAYOUTS:
        assert layout.FILLS
        assert set(layout.FILLS) <= ENCODERS.keys()
        assert layout.NAME in layouts_of(layout.FILLS[0])


def test_own_layouts_come_first():
    assert layouts_of("timesformer")[:2] == ("Facebook TimeSformer", "transformers TimeSformer")
    assert "timm ViT" in layouts_of("timesformer")[2:]
    assert layouts_of("resnet") == ()


def test_what_a_layout_says_it_fills_it_fills(tmp_path: Path):
    folder = write_vit(tmp_path / "vit")
    serving = [name for name in ENCODERS if "timm ViT" in layouts_of(name)]
    assert serving == ["timesformer", "vit"]
    for name in serving:
        _, report = encoder_from_checkpoint(folder, encoder=name)
        assert (report.layout, report.encoder, report.coverage) == ("timm ViT", name, 1.0)


def test_what_layouts_of_published_files_say_they_fill_they_fill(shared: Path):
    seen: set[str] = set()
    for folder in sorted((shared / "fixtures" / "encoders").glob("*_*/")):
        if folder.name == "hf_mask2former":
            continue
        _, report = encoder_from_checkpoint(folder)
        layout = next(each for each in LAYOUTS if report.layout == each.NAME)
        assert report.encoder in layout.FILLS
        for name in layout.FILLS:
            _, other = encoder_from_checkpoint(folder, encoder=name)
            assert other.encoder == name
            assert math.isclose(other.coverage, 1.0)
        seen.add(report.layout)
    assert len(seen) >= 9
