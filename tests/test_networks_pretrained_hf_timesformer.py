from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tests.timesformer_files import HUGGING_FACE, published_state, video_encoder
from unetr_app.errors import InvalidRequest, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint, load_pretrained
from unetr_app.networks.pretrained.layouts import hf_timesformer

CONFIG: dict[str, Any] = {
    "model_type": "timesformer", "num_attention_heads": 3, "num_hidden_layers": 3,
    "attention_type": "divided_space_time", "hidden_act": "gelu", "layer_norm_eps": 1e-6,
}  # fmt: skip


def _save(folder: Path, state: dict[str, Tensor], config: dict[str, Any] | None = CONFIG) -> Path:
    save_file(
        {name: t.contiguous().clone() for name, t in state.items()}, folder / "model.safetensors"
    )
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def _run(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return encoder(image)


def test_it_equals_the_reference(shared: Path) -> None:
    folder = shared / "fixtures/encoders/hf_timesformer"
    video = load_file(folder / "input.safetensors")["input"]  # (B, T, C, H, W)
    tokens = load_file(folder / "expected.safetensors")["tokens"]  # (B, h w T, C)
    encoder, report = encoder_from_checkpoint(folder, in_channels=3)
    feature = _run(encoder, video.transpose(1, 2))[-1]  # (B, C, T, h, w)
    assert report.coverage == 1
    found = feature.permute(0, 3, 4, 2, 1).reshape(tokens.shape)
    torch.testing.assert_close(found, tokens, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["divided_space_time", "joint_space_time", "space_only"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"image_size": 32, "patch_size": 8, "num_frames": 3, "num_attention_heads": 2},
        {"image_size": 36, "patch_size": 12, "num_frames": 5, "num_attention_heads": 6},
    ],
)
def test_it_equals_transformers(tmp_path: Path, attention: str, sizes: dict[str, int]) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.TimesformerConfig(
        hidden_size=24, num_hidden_layers=2, intermediate_size=40, attention_type=attention,
        num_channels=2, layer_norm_eps=1e-5, **sizes,
    )  # fmt: skip
    model = transformers.TimesformerForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path)
    frames, side = sizes["num_frames"], sizes["image_size"]
    video = torch.randn(2, frames, 2, side, side)
    with torch.no_grad():
        tokens = model.timesformer(video).last_hidden_state
    grid = side // sizes["patch_size"]
    if attention == "space_only":  # (B T, 1 + h w, C)
        expected = tokens[:, 1:].reshape(2, frames, grid, grid, 24).permute(0, 4, 1, 2, 3)
    else:  # (B, 1 + h w T, C)
        expected = tokens[:, 1:].reshape(2, grid, grid, frames, 24).permute(0, 4, 3, 1, 2)
    encoder, report = encoder_from_checkpoint(tmp_path, in_channels=2)
    assert report.coverage == 1
    assert {r.note for r in report.of("skipped")} <= {"classification head"}
    feature = _run(encoder, video.transpose(1, 2))[-1]
    torch.testing.assert_close(feature, expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("attention", ["divided", "joint", "space"])
@pytest.mark.parametrize("prefix", ["", "timesformer."])
def test_every_tensor_finds_its_place(tmp_path: Path, attention: str, prefix: str) -> None:
    encoder = video_encoder(attention=attention, qkv_bias=False, mlp_dim=20)
    state = published_state(encoder, HUGGING_FACE)
    state = {prefix + name: tensor for name, tensor in state.items()}
    state["classifier.weight"] = torch.zeros(2, 12)
    config = {"num_attention_heads": 3}
    found, report = encoder_from_checkpoint(_save(tmp_path, state, config), in_channels=3)
    assert report.layout == "transformers TimeSformer"
    assert [(r.name, r.note) for r in report.of("skipped")] == [
        ("classifier.weight", "classification head")
    ]
    image = torch.randn(1, 3, found.depth_positions.shape[2] if attention != "space" else 4, 16, 16)  # pyright: ignore
    for ours, expected in zip(_run(found, image), _run(encoder, image), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_positions_are_interpolated_for_another_input(tmp_path: Path) -> None:
    state = published_state(video_encoder(), HUGGING_FACE)
    found: Any = encoder_from_checkpoint(
        _save(tmp_path, state), in_channels=3, roi_size=(6, 24, 40), taps=[3]
    )[0]
    assert found.positions.shape == (1, 12, 3, 5)
    source = state["embeddings.time_embeddings"].transpose(1, 2)
    wanted = nn.functional.interpolate(source, 6, mode="linear")
    torch.testing.assert_close(found.depth_positions, wanted)
    assert len(_run(found, torch.randn(1, 3, 6, 24, 40))) == 1


def test_tokens_of_several_slices_are_exact_on_equal_slices(tmp_path: Path) -> None:
    folder = _save(tmp_path, published_state(video_encoder(), HUGGING_FACE))
    thin: Any = encoder_from_checkpoint(folder, in_channels=3, roi_size=(3, 16, 16))[0]
    thick: Any = encoder_from_checkpoint(
        folder, in_channels=3, roi_size=(6, 16, 16), patch_size=(2, 8, 8)
    )[0]
    image = torch.randn(1, 3, 3, 16, 16)
    expected = _run(thin, image)[-1]
    doubled = _run(thick, image.repeat_interleave(2, dim=2))[-1]
    torch.testing.assert_close(doubled, expected, atol=1e-5, rtol=1e-5)


def test_an_image_is_one_slice_of_it(tmp_path: Path) -> None:
    folder = _save(tmp_path, published_state(video_encoder(), HUGGING_FACE))
    flat, report = encoder_from_checkpoint(folder, in_channels=3, spatial_dims=2)
    assert report.coverage == 1
    volume, _ = encoder_from_checkpoint(folder, in_channels=3, roi_size=(1, 16, 16))
    image = torch.randn(2, 3, 16, 16)
    expected = _run(volume, image.unsqueeze(2))[-1].squeeze(2)
    torch.testing.assert_close(_run(flat, image)[-1], expected, atol=1e-5, rtol=1e-5)


def test_an_encoder_that_is_there_is_filled(tmp_path: Path) -> None:
    encoder = video_encoder()
    folder = _save(tmp_path, published_state(encoder, HUGGING_FACE))
    fresh = type(encoder)(3, (3, 16, 16), patch_size=8, embed_dim=12, depth=3, num_heads=3).eval()
    assert load_pretrained(fresh, folder).coverage == 1
    image = torch.randn(1, 3, 3, 16, 16)
    torch.testing.assert_close(_run(fresh, image), _run(encoder, image), atol=1e-5, rtol=1e-5)


def test_what_no_tensor_tells_is_asked_for_by_name(tmp_path: Path) -> None:
    folder = _save(tmp_path, published_state(video_encoder(), HUGGING_FACE), config=None)
    with pytest.raises(UnusableWeights, match="num_heads") as caught:
        encoder_from_checkpoint(folder, in_channels=3)
    assert "num_heads=" in caught.value.cure
    encoder_from_checkpoint(folder, in_channels=3, num_heads=3)


def test_a_file_that_is_not_whole_builds_no_smaller_network(tmp_path: Path) -> None:
    state = published_state(video_encoder(), HUGGING_FACE)
    cut = {name: t for name, t in state.items() if not name.startswith("encoder.layer.2.")}
    with pytest.raises(UnusableWeights, match="2 blocks, and 3 belong"):
        encoder_from_checkpoint(_save(tmp_path, cut), in_channels=3)
    gap = {name: t for name, t in state.items() if not name.startswith("encoder.layer.1.")}
    with pytest.raises(UnusableWeights, match="not number 1"):
        encoder_from_checkpoint(_save(tmp_path, gap), in_channels=3)
    still = {name: t for name, t in state.items() if "temporal_attention" not in name}
    with pytest.raises(UnusableWeights, match=r"fills .* less than"):
        encoder_from_checkpoint(_save(tmp_path, still), in_channels=3)
    del state["embeddings.cls_token"]
    with pytest.raises(UnusableWeights, match="missing"):
        encoder_from_checkpoint(_save(tmp_path, state), in_channels=3)


def test_what_computes_something_else_is_refused(tmp_path: Path) -> None:
    state = published_state(video_encoder(), HUGGING_FACE)
    with pytest.raises(UnusableWeights, match="activation is 'relu'"):
        encoder_from_checkpoint(_save(tmp_path, state, CONFIG | {"hidden_act": "relu"}))
    with pytest.raises(InvalidRequest, match="no attention 'sparse'"):
        encoder_from_checkpoint(_save(tmp_path, state, CONFIG | {"attention_type": "sparse"}))
    state["encoder.layer.0.rotary.angles"] = torch.zeros(4)
    with pytest.raises(UnusableWeights, match=r"encoder\.layer\.0\.rotary\.angles"):
        encoder_from_checkpoint(_save(tmp_path, state), in_channels=3)


def test_no_other_layout_is_taken_for_it() -> None:
    names = published_state(video_encoder(), HUGGING_FACE)
    assert hf_timesformer.recognises(names)
    assert not hf_timesformer.recognises(["encoder.layer.0.attention.attention.query.weight"])
    assert not hf_timesformer.recognises(["blocks.0.attn.qkv.weight", "patch_embed.proj.weight"])
