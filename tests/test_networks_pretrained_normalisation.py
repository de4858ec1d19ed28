from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.vit_reference import HEADS, vit_state, write_checkpoint
from unetr_app.errors import InvalidRequest
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.normalisation import (
    can_fold,
    fold_normalisation,
    stated_normalisation,
)
from unetr_app.networks.pretrained.source import Checkpoint, Source

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CONFIG = {"pretrained_cfg": {"mean": MEAN, "std": STD}, "model_args": {"num_heads": HEADS}}


def _normalised(grey: torch.Tensor) -> torch.Tensor:
    """A grey image from 0 to 1 as the checkpoint saw images: (B, 1, ...) to (B, 3, ...)."""
    shape = (1, 3) + (1,) * (grey.ndim - 2)
    mean, std = torch.tensor(MEAN).reshape(shape), torch.tensor(STD).reshape(shape)
    return (grey.repeat(1, 3, *([1] * (grey.ndim - 2))) - mean) / std


@pytest.mark.parametrize("dims", [2, 3])
def test_grey_from_0_to_1_gives_what_the_normalised_image_gave(dims: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, vit_state(), CONFIG)
    grey_encoder, report = encoder_from_checkpoint(folder, spatial_dims=dims)
    rgb_encoder, rgb_report = encoder_from_checkpoint(folder, spatial_dims=dims, in_channels=3)
    grey = torch.rand(2, 1, *(12, 12, 12)[:dims])
    with torch.no_grad():
        for found, wanted in zip(grey_encoder(grey), rgb_encoder(_normalised(grey)), strict=True):
            torch.testing.assert_close(found, wanted, atol=2e-5, rtol=0)
    assert "grey, 0 to 1" in report.input_note
    assert "0.485" in rgb_report.input_note
    assert "0.225" in rgb_report.input_note


@pytest.mark.parametrize("dims", [2, 3])
def test_left_out_the_image_is_normalised_before(dims: int, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, vit_state(), CONFIG)
    encoder, report = encoder_from_checkpoint(folder, spatial_dims=dims, fold_normalisation=False)
    whole, _ = encoder_from_checkpoint(folder, spatial_dims=dims, in_channels=3)
    grey = torch.rand(2, 1, *(12, 12, 12)[:dims])
    with torch.no_grad():
        alike = whole(grey.expand(-1, 3, *grey.shape[2:]))[-1]
        torch.testing.assert_close(encoder(grey)[-1], alike, atol=2e-5, rtol=0)
    assert "0.485" in report.input_note
    assert "0.225" in report.input_note


def test_with_as_many_channels_as_the_checkpoint_the_embedding_is_untouched(
    tmp_path: Path,
) -> None:
    for channels in (1, 3, 4):
        state = vit_state(channels=channels)
        folder = write_checkpoint(tmp_path / str(channels), state, CONFIG)
        encoder, _ = encoder_from_checkpoint(folder, spatial_dims=2, in_channels=channels)
        kernel = encoder.get_parameter("embed.weight")
        assert torch.equal(kernel, state["patch_embed.proj.weight"])
        assert torch.equal(encoder.get_parameter("embed.bias"), state["patch_embed.proj.bias"])


def test_what_is_stated_for_another_number_of_channels_is_left_aside(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, vit_state(channels=4), CONFIG)
    encoder, report = encoder_from_checkpoint(folder, spatial_dims=2)
    assert report.input_note == ""
    kernel = vit_state(channels=4)["patch_embed.proj.weight"].sum(dim=1, keepdim=True)
    torch.testing.assert_close(encoder.get_parameter("embed.weight"), kernel)


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}, {}, (0.5, 0.2)),
        ({"mean": [0.5] * 3, "std": [0.2] * 3}, {}, (0.5, 0.2)),
        ({"pretrained_cfg": {"mean": [0.5] * 3, "std": [0.2] * 3}}, {}, (0.5, 0.2)),
        ({"mean": [0.5] * 3, "std": [0.2] * 3}, {"image_mean": [0, 0, 0]}, (0.0, 0.2)),
        ({}, {"image_mean": (1, 1, 1), "image_std": (2, 2, 2)}, (1.0, 2.0)),
        ({"mean": [0.5] * 3}, {}, None),
        ({"mean": [0.5] * 3, "std": [0.2, 0.0, 0.2]}, {}, None),
        ({"mean": 0.5, "std": 0.2}, {}, None),
        ({"mean": "abc", "std": "abc"}, {}, None),
        ({"mean": [0.5], "std": [0.2]}, {}, None),
        ({}, {}, None),
    ],
)
def test_where_a_normalisation_is_stated(
    config: dict[str, Any], given: dict[str, Any], expected: tuple[float, float] | None
) -> None:
    found = stated_normalisation(Checkpoint({}, config, given), 3)
    assert found == (None if expected is None else ((expected[0],) * 3, (expected[1],) * 3))


@pytest.mark.parametrize(
    "given",
    [
        {"image_mean": (0.5, 0.5, 0.5)},
        {"image_mean": 0.5, "image_std": 0.2},
        {"image_mean": (0.5, 0.5), "image_std": (0.2, 0.2)},
        {"image_mean": (0.5, 0.5, 0.5), "image_std": (0.2, 0.0, 0.2)},
    ],
)
def test_what_the_caller_says_is_never_left_aside_in_silence(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest, match="no normalisation of 3 channels") as caught:
        stated_normalisation(Checkpoint({}, {}, given), 3)
    assert "image_std" in caught.value.cure


def _source(stem: str = "embed.weight", **tensors: torch.Tensor) -> Source:
    named = {name.replace("_", "."): tensor for name, tensor in tensors.items()}
    return Source("any", "vit", 2, 3, {}, named, dict.fromkeys(named, "x"), {}, stem=stem)


def test_it_folds_where_no_padding_is_read_and_there_is_a_bias() -> None:
    whole = _source(embed_weight=torch.zeros(4, 3, 2, 2), embed_bias=torch.zeros(4))
    assert can_fold(nn.Conv2d(1, 4, 2, stride=2), whole)
    assert can_fold(nn.Conv3d(1, 4, 2, stride=1), whole)
    assert not can_fold(nn.Conv2d(1, 4, 3, padding=1), whole)
    assert not can_fold(nn.Conv2d(1, 4, 3, padding="same"), whole)
    assert not can_fold(nn.Linear(3, 4), whole)
    assert not can_fold(nn.Conv2d(1, 4, 2, bias=False), _source(embed_weight=torch.zeros(1)))


def test_folding_changes_the_stem_alone_and_not_the_source() -> None:
    state = {name: torch.randn(4, *shape) for name, shape in (("w", (3, 2, 2)), ("b", ()))}
    source = _source(embed_weight=state["w"], embed_bias=state["b"], norm_bias=torch.ones(4))
    folded = fold_normalisation(source, (MEAN, STD))
    assert folded.tensors["embed.weight"].shape == (4, 1, 2, 2)
    assert folded.tensors["norm.bias"] is source.tensors["norm.bias"]
    assert source.tensors["embed.weight"] is state["w"]
    grey = torch.rand(1, 1, 6, 6)
    found = nn.functional.conv2d(grey, folded.tensors["embed.weight"], folded.tensors["embed.bias"])
    wanted = nn.functional.conv2d(_normalised(grey), state["w"], state["b"])
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
