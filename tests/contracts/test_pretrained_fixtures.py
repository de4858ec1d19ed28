"""Published checkpoints give the features of their references: every layout, images and volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from tests.encoder_fixtures import (
    ENCODERS_ALONE,
    FIXTURES,
    NOT_ASKED,
    OF_IMAGES,
    OF_VOLUMES,
    folder_of,
    read_expected,
    read_input,
    require_equal,
    require_expected,
    run,
)
from unetr_app.errors import InvalidRequest
from unetr_app.networks import encoder_from_checkpoint, load_pretrained, network_from_checkpoint

NETWORKS = ["hf_segformer", "monai_unetr"]
POOLED = sorted(name for name, row in FIXTURES.items() if row.pool)


def test_no_fixture_is_forgotten_here(shared: Path) -> None:
    folders = {path.name for path in (shared / "fixtures" / "encoders").iterdir() if path.is_dir()}
    assert folders - NOT_ASKED == set(FIXTURES)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_images_give_the_features_of_the_reference(name: str, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    encoder, report = encoder_from_checkpoint(
        folder, spatial_dims=2, in_channels=3, roi_size=read_input(folder).shape[2:], **row.options
    )
    assert report.encoder == row.encoder
    assert report.coverage == 1
    assert report.of("missing") == ()
    require_expected(encoder, folder)


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("tokens", [1, 2, 5])
def test_volumes_constant_along_depth_give_them_in_every_slice(
    name: str, tokens: int, shared: Path
) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    slices = tokens * row.stride
    roi_size = (slices, *read_input(folder).shape[2:])
    encoder, report = encoder_from_checkpoint(
        folder, in_channels=3, roi_size=roi_size, **row.options
    )
    assert report.coverage == 1
    require_expected(encoder, folder, slices=slices)


@pytest.mark.parametrize("name", [name for name in OF_IMAGES if FIXTURES[name].thin])
@pytest.mark.parametrize("tokens", [1, 3])
def test_tokens_of_fewer_slices_do_so_too(name: str, tokens: int, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    assert row.thin is not None
    thin, stride = row.thin
    slices = tokens * stride
    roi_size = (slices, *read_input(folder).shape[2:])
    encoder: Any = encoder_from_checkpoint(
        folder, in_channels=3, roi_size=roi_size, **row.options, **thin
    )[0]
    assert encoder.strides[-1][0] == stride
    require_expected(encoder, folder, slices=slices)


@pytest.mark.parametrize("name", [n for n in OF_IMAGES if FIXTURES[n].encoder != "mixer"])
def test_depths_that_the_encoder_was_not_laid_out_for_too(name: str, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    encoder, _ = encoder_from_checkpoint(folder, in_channels=3, **row.options)
    if name == "timm_xcit":  # the reference's input is larger than its configuration says
        assert read_input(folder).shape[-1] == 64
    for tokens in (1, 3):
        require_expected(encoder, folder, slices=tokens * row.stride)


@pytest.mark.parametrize("name", ["hf_timesformer", "torchvision_mvit3d"])
def test_volumes_give_the_features_of_a_volumetric_reference(name: str, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    roi_size = read_input(folder).shape[2:]
    encoder, report = encoder_from_checkpoint(
        folder, in_channels=3, roi_size=roi_size, **row.options
    )
    assert report.encoder == row.encoder
    assert report.coverage == 1
    require_expected(encoder, folder)


@pytest.mark.parametrize("name", ENCODERS_ALONE)
def test_an_encoder_that_is_there_already_is_filled(name: str, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    dims, roi_size = read_input(folder).ndim - 2, read_input(folder).shape[2:]
    encoder, _ = encoder_from_checkpoint(
        folder, spatial_dims=dims, in_channels=3, roi_size=roi_size, **row.options
    )
    with torch.no_grad():
        for tensor in (*encoder.parameters(), *encoder.buffers()):
            tensor.zero_()
    assert load_pretrained(encoder, folder).coverage == 1
    require_expected(encoder, folder)


@pytest.mark.parametrize("name", POOLED)
@pytest.mark.parametrize("slices", [0, 8, 40])
def test_pooled_features_are_those_of_the_reference(name: str, slices: int, shared: Path) -> None:
    folder, row = folder_of(shared, name), FIXTURES[name]
    image = read_input(folder)
    if slices:
        image = image.unsqueeze(2).expand(-1, -1, slices, -1, -1)
    encoder: Any = encoder_from_checkpoint(
        folder, spatial_dims=image.ndim - 2, in_channels=3, roi_size=image.shape[2:], pool=row.pool
    )[0]
    with torch.no_grad():
        require_equal(encoder.pooled(image), read_expected(folder)["pooled"])


def test_segformer_with_its_decode_head_gives_the_logits(shared: Path) -> None:
    folder = folder_of(shared, "hf_segformer")
    image, logits = read_input(folder), read_expected(folder)["logits"]  # logits at stride 4
    expected = functional.interpolate(logits, image.shape[2:], mode="bilinear")
    require_equal(run(network_from_checkpoint(folder), image), expected)
    for slices in (32, 64):
        volume = image.unsqueeze(2).expand(-1, -1, slices, -1, -1)
        network = network_from_checkpoint(folder, spatial_dims=3, roi_size=volume.shape[2:])
        found = run(network, volume)
        assert found.shape == (1, 4, *volume.shape[2:])
        require_equal(found, expected)


def test_unetr_gives_the_logits(shared: Path) -> None:
    folder = folder_of(shared, "monai_unetr")
    network = network_from_checkpoint(folder)
    require_equal(run(network, read_input(folder)), read_expected(folder)["logits"])


def test_unetrs_encoder_alone_gives_the_maps_of_the_whole(shared: Path) -> None:
    folder = folder_of(shared, "monai_unetr")
    image = read_input(folder)
    encoder, report = encoder_from_checkpoint(folder, in_channels=2)
    assert report.coverage == 1
    whole = network_from_checkpoint(folder).encoder
    for ours, theirs in zip(run(encoder, image), run(whole, image), strict=True):
        require_equal(ours, theirs)


def test_volumetric_weights_are_not_taken_for_images(shared: Path) -> None:
    for name in OF_VOLUMES:
        if name != "hf_timesformer":  # for which an image is a volume of one slice
            with pytest.raises(InvalidRequest, match="volumetric"):
                encoder_from_checkpoint(folder_of(shared, name), spatial_dims=2)
