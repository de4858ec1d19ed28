from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint, load_pretrained
from unetr_app.networks.encoders.timesformer import TimeSformer
from unetr_app.networks.encoders.vit import VisionTransformer
from unetr_app.networks.pretrained.fit import fit
from unetr_app.networks.pretrained.image_to_video import image_to_video
from unetr_app.networks.pretrained.source import Source

IMAGES = (
    "timm_vit_gap",
    "timm_vit_map",
    "timm_vit_cls",
    "timm_vit_dino_reg",
    "hf_vit",
    "hf_dinov2",
)


def _image_network(**options: Any) -> tuple[VisionTransformer, Source]:
    """A vision transformer for images, nothing in it zero by accident, and itself as a source."""
    torch.manual_seed(0)
    told: dict[str, Any] = {
        "patch_size": (8, 4), "embed_dim": 12, "depth": 3, "num_heads": 2, "mlp_dim": 20,
    }  # fmt: skip
    told |= options
    network = VisionTransformer(2, (16, 24), spatial_dims=2, **told).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    state = network.state_dict()
    source = Source(
        layout="a test", encoder="vit", spatial_dims=2, in_channels=2, options=told, tensors=state,
        origins={name: f"their.{name}" for name in state}, skipped={"head.weight": "head"},
        image_size=(16, 24),
    )  # fmt: skip
    return network, source


def _video_network(source: Source, roi: tuple[int, ...], **options: Any) -> TimeSformer:
    told = {**source.options, "patch_size": (4, 8, 4)[-len(roi) :]}  # as layouts tell it
    video = image_to_video(replace(source, options=told))
    encoder = TimeSformer(2, roi, spatial_dims=len(roi), **{**video.options, **options}).eval()
    assert encoder.strides[0] == (1, 8, 4)[-len(roi) :]
    state, report = fit(encoder, video)
    assert report.coverage == 1
    encoder.load_state_dict(state)
    return encoder


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"class_token": True},
    {"class_token": True, "register_tokens": 3},
    {"register_tokens": 2, "layer_scale": 0.5},
    {"gated": True, "qkv_bias": False, "norm_eps": 1e-3},
    {"final_norm": False, "pool": "average"},
    {"pool": "attention", "positions": "none"},
    {"taps": [1, 3]},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_every_slice_gets_at_first_what_the_image_network_gives(options: dict[str, Any]) -> None:
    flat, source = _image_network(**options)
    volume = torch.randn(2, 2, 5, 16, 24)  # every slice another
    for encoder in (
        _video_network(source, (5, 16, 24)),
        _video_network(source, (5, 16, 24), attention="space"),
    ):
        maps = _run(encoder, volume)
        for d in range(5):
            for feature, expected in zip(maps, _run(flat, volume[:, :, d]), strict=True):
                torch.testing.assert_close(feature[:, :, d], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", VARIANTS)
def test_an_image_too(options: dict[str, Any]) -> None:
    flat, source = _image_network(**options)
    image = torch.randn(2, 2, 16, 24)
    encoder = _video_network(source, (16, 24))
    torch.testing.assert_close(_run(encoder, image), _run(flat, image), atol=1e-5, rtol=1e-5)


def test_a_shared_class_token_is_exact_where_slices_are_equal_alone() -> None:
    flat, source = _image_network(class_token=True, register_tokens=1)
    encoder = _video_network(source, (5, 16, 24), shared_prefix=True)
    image = torch.randn(2, 2, 16, 24)
    expected = _run(flat, image)[-1]
    equal = _run(encoder, image.unsqueeze(2).repeat(1, 1, 5, 1, 1))[-1]
    torch.testing.assert_close(equal, expected.unsqueeze(2).expand_as(equal), atol=1e-5, rtol=1e-5)
    mixed = _run(encoder, torch.stack((image, torch.randn_like(image)), dim=2))[-1]
    assert (mixed[:, :, 0] - expected).abs().max() > 1e-3


def test_attention_over_depth_begins_as_a_copy_and_learns() -> None:
    _, source = _image_network(class_token=True, layer_scale=0.5)
    encoder: Any = _video_network(source, (5, 16, 24))
    for block in encoder.blocks:
        for copy, original in (
            (block.temporal_norm, block.norm1),
            (block.temporal_attention, block.attention),
        ):
            torch.testing.assert_close(copy.state_dict(), original.state_dict())
        assert not block.temporal_project.weight.any()
        assert not block.temporal_project.bias.any()
    assert not encoder.depth_positions.any()
    volume = torch.randn(2, 2, 5, 16, 24)
    before = _run(encoder, volume)[-1]
    optimiser = torch.optim.SGD(encoder.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        encoder(volume)[-1].pow(3).mean().backward()
        optimiser.step()
    still = [n for n, p in encoder.named_parameters() if not p.grad.any()]
    assert still == []  # after one step the projection lets gradients through
    assert (_run(encoder, volume)[-1] - before).abs().max() > 1e-4


def test_a_head_is_left_out_and_told() -> None:
    _, source = _image_network(pool="attention")
    video = image_to_video(source)
    assert video.encoder == "timesformer"
    assert not any(name.startswith("pooling.") for name in video.tensors)
    assert video.skipped["their.pooling.probe"] == "pooling head"
    assert video.skipped["head.weight"] == "head"


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"spatial_dims": 3}, "for 3 axes"),
        ({"encoder": "xcit"}, "holds xcit"),
        ({"options": {"positions": "rotary"}}, "positions are rotary"),
        ({"options": {"positions": "sinusoidal"}}, "positions are sinusoidal"),
    ],
)
def test_what_cannot_begin_as_an_image_network_is_refused(
    change: dict[str, Any], what: str
) -> None:
    _, source = _image_network()
    options = {**source.options, **change.pop("options", {})}
    with pytest.raises(UnusableWeights, match=what):
        image_to_video(replace(source, options=options, **change))


@pytest.mark.parametrize("name", IMAGES)
def test_published_image_networks_do_so(shared: Path, name: str) -> None:
    folder = shared / "fixtures/encoders" / name
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")["final"]
    encoder, report = encoder_from_checkpoint(folder, in_channels=3, encoder="timesformer")
    assert (report.encoder, report.coverage) == ("timesformer", 1)
    volume = torch.stack((torch.randn_like(image), image, image.flip(2)), dim=2)
    feature = _run(encoder, volume)[-1][:, :, 1]
    torch.testing.assert_close(feature, expected, atol=1e-5, rtol=1e-5)
    flat, _ = encoder_from_checkpoint(folder, in_channels=3, encoder="timesformer", spatial_dims=2)
    torch.testing.assert_close(_run(flat, image)[-1], expected, atol=1e-5, rtol=1e-5)


def test_a_timesformer_that_is_there_is_filled_from_images(shared: Path) -> None:
    folder = shared / "fixtures/encoders/timm_vit_cls"
    sizes = {"patch_size": (2, 8, 8), "embed_dim": 64, "depth": 4, "num_heads": 2}
    encoder = TimeSformer(1, (6, 24, 24), shared_prefix=False, **sizes)
    report = load_pretrained(encoder, folder)
    assert report.coverage == 1
    assert {record.name for record in report.of("resized")} == {"positions"}
    averaging = TimeSformer(1, (6, 24, 24), **sizes)
    with pytest.raises(UnusableWeights, match="shared_prefix is True here and False there"):
        load_pretrained(averaging, folder)
    assert load_pretrained(averaging, folder, shared_prefix=True).coverage == 1
