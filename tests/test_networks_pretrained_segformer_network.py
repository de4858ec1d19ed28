from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from tests.pyramid_files import (
    DEPTHS,
    HEADS,
    STRIDES,
    WIDTHS,
    State,
    authors_state,
    reference_maps,
    renamed,
)
from unetr_app.errors import InvalidRequest, UnetrError, UnusableWeights
from unetr_app.networks import network_from_checkpoint
from unetr_app.networks.decoders import MlpDecoder

WIDTH, LABELS = 6, 3


def _head_state() -> State:
    """Random tensors of a decode head under mmsegmentation's names."""
    torch.manual_seed(1)
    state: State = {
        "linear_fuse.conv.weight": 0.2 * torch.randn(WIDTH, 4 * WIDTH, 1, 1),
        "linear_fuse.bn.running_mean": torch.randn(WIDTH),
        "linear_fuse.bn.running_var": torch.rand(WIDTH) + 0.5,
        "linear_fuse.bn.num_batches_tracked": torch.tensor(7),
        "linear_pred.weight": torch.randn(LABELS, WIDTH, 1, 1),
        "conv_seg.weight": torch.randn(LABELS, WIDTH, 1, 1),
    }
    for what in ("linear_fuse.bn.weight", "linear_fuse.bn.bias"):
        state[what] = torch.randn(WIDTH)
    for what in ("linear_pred.bias", "conv_seg.bias"):
        state[what] = torch.randn(LABELS)
    for n, width in enumerate(WIDTHS):
        state[f"linear_c{n + 1}.proj.weight"] = torch.randn(WIDTH, width)
        state[f"linear_c{n + 1}.proj.bias"] = torch.randn(WIDTH)
    return state


def _mmseg() -> State:
    backbone = {
        f"backbone.{name}": tensor
        for name, tensor in authors_state().items()
        if not name.startswith("head.")
    }
    return backbone | {f"decode_head.{name}": tensor for name, tensor in _head_state().items()}


def _reference_logits(image: Tensor) -> Tensor:
    """At stride 4, step by step over mmsegmentation's tensors."""
    head = _head_state()
    levels: list[Tensor] = []
    maps = reference_maps(authors_state(), image)
    for n, feature in enumerate(maps):
        weights = head[f"linear_c{n + 1}.proj.weight"], head[f"linear_c{n + 1}.proj.bias"]
        level = functional.linear(feature.flatten(2).mT, *weights).mT.unflatten(
            2, feature.shape[2:]
        )
        levels.insert(0, functional.interpolate(level, maps[0].shape[2:], mode="bilinear"))
    fused = functional.conv2d(torch.cat(levels, dim=1), head["linear_fuse.conv.weight"])
    running = (head[f"linear_fuse.bn.running_{what}"] for what in ("mean", "var"))
    affine = (head[f"linear_fuse.bn.{what}"] for what in ("weight", "bias"))
    fused = functional.relu(functional.batch_norm(fused, *running, *affine))
    return functional.conv2d(fused, head["linear_pred.weight"], head["linear_pred.bias"])


def _assert_logits(
    path: Path, image: Tensor, expected: Tensor, *, slices: int = 32, **overrides: Any
) -> None:
    """At the decoder's stride and at the image's, in two and in three dimensions."""
    size = image.shape[2:]
    volume = image.unsqueeze(2).repeat(1, 1, slices, 1, 1)
    full = functional.interpolate(expected, size, mode="bilinear", align_corners=False)
    for dims, given in ((2, image), (3, volume)):
        network = network_from_checkpoint(path, spatial_dims=dims, **overrides)
        coarse, fine = (expected, full) if dims == 2 else (expected[:, :, None], full[:, :, None])
        with torch.no_grad():
            features = network.decoder(given, network.encoder(given))
            logits = network.head(features[0])
            torch.testing.assert_close(logits, coarse.expand_as(logits), atol=5e-5, rtol=0)
            logits = network(given)
            assert logits.shape == (*full.shape[:2], *given.shape[2:])
            torch.testing.assert_close(logits, fine.expand_as(logits), atol=5e-5, rtol=0)


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/hf_segformer"
    image = load_file(folder / "input.safetensors")["input"]
    _assert_logits(folder, image, load_file(folder / "expected.safetensors")["logits"])


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_mmsegmentations_names(prefix: str, tmp_path: Path) -> None:
    state = {prefix + name: tensor for name, tensor in _mmseg().items()}
    torch.save({"state_dict": state, "meta": {"epoch": 3}}, tmp_path / "segformer.pth")
    image = torch.randn(1, 3, 32, 64)
    _assert_logits(tmp_path / "segformer.pth", image, _reference_logits(image), num_heads=HEADS)


def test_sizes_are_those_of_the_file_and_overridable(tmp_path: Path) -> None:
    torch.save(_mmseg(), tmp_path / "segformer.pth")
    network = network_from_checkpoint(tmp_path / "segformer.pth", num_heads=HEADS)
    assert isinstance(network.decoder, MlpDecoder)
    assert network.encoder.strides == ((4, 4), (8, 8), (16, 16), (32, 32))
    assert not network.training
    grey = network_from_checkpoint(
        tmp_path / "segformer.pth", num_heads=HEADS, spatial_dims=3, in_channels=1,
        patch_strides=((1, 4, 4), (1, 2, 2), (1, 2, 2), (1, 2, 2)),
    )  # fmt: skip
    volume = torch.randn(1, 1, 1, 32, 64).expand(-1, -1, 5, -1, -1)
    with torch.no_grad():
        expected = network(volume[:, :, 0].expand(-1, 3, -1, -1))
        torch.testing.assert_close(
            grey(volume), expected.unsqueeze(2).expand(-1, -1, 5, -1, -1), atol=5e-5, rtol=0
        )


@pytest.mark.parametrize("on_disk", [True, False])
def test_transformers_itself(on_disk: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(2)
    heads, strides = [1, 2, 3, 2], [2, 2, 2, 2]
    config = transformers.SegformerConfig(
        depths=[1, 2, 1, 1], hidden_sizes=[6, 8, 12, 8], num_attention_heads=heads,
        sr_ratios=[4, 2, 2, 1], strides=strides, patch_sizes=[5, 3, 3, 3], mlp_ratios=[2, 2, 3, 4],
        num_channels=2, decoder_hidden_size=10, num_labels=5, classifier_dropout_prob=0.3,
    )  # fmt: skip
    reference = transformers.SegformerForSemanticSegmentation(config).eval()
    _shake(reference)
    path, given = tmp_path, {}
    if on_disk:
        reference.save_pretrained(tmp_path)
        assert network_from_checkpoint(path).decoder.dropout.p == 0.3  # pyright: ignore
    else:
        path, given = tmp_path / "model.pt", {"num_heads": heads, "patch_strides": strides}
        torch.save(reference.state_dict(), path)
    image = torch.randn(1, 2, 32, 48)
    with torch.no_grad():
        expected = reference(image).logits
    _assert_logits(path, image, expected, slices=16, **given)


def _shake(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for name, buffer in network.named_buffers():
            if name.endswith("running_var"):
                buffer.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"):
                buffer.normal_()


def _without(*parts: str) -> Callable[[State], State]:
    return lambda state: {k: v for k, v in state.items() if not any(p in k for p in parts)}


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (_without("linear_c2.proj.bias"), r"lacks decoder.linears.1.bias"),
        (_without("linear_pred.weight"), r"head.conv.conv.weight' is missing"),
        (_without("block2.1.attn.q.weight"), "lacks encoder.stages.1.blocks.1.attention.query"),
        (_without("norm4."), "lacks encoder.stages.3.norm"),
        (_without("patch_embed3."), "stages.2.embed.weight' is missing"),
        (_without("linear_fuse.bn.running_mean"), "lacks decoder.norm.running_mean"),
        (lambda s: s | {"decode_head.linear_c9.proj.weight": torch.zeros(1)}, "linear_c9"),
        (lambda s: s | {"decode_head.gate.weight": torch.zeros(1)}, "decode_head.gate.weight"),
        (
            lambda s: s | {"decode_head.linear_c3.proj.weight": torch.zeros(WIDTH, 5)},
            r"linear_c3.proj.weight \(6 x 5, not 6 x 24\)",
        ),
        (
            lambda s: s | {"decode_head.linear_pred.bias": torch.full((LABELS,), torch.nan)},
            "'decode_head.linear_pred.bias' holds values that are not finite",
        ),
    ],
)
def test_damage_is_refused_and_the_tensor_named(
    spoil: Callable[[State], State], what: str, tmp_path: Path
) -> None:
    torch.save(spoil(_mmseg()), tmp_path / "bad.pth")
    with pytest.raises(UnusableWeights, match=what) as caught:
        network_from_checkpoint(tmp_path / "bad.pth", num_heads=HEADS)
    assert "bad.pth" in str(caught.value)


def test_the_configuration_guards_against_lost_blocks(tmp_path: Path) -> None:
    state = {k: v for k, v in _mmseg().items() if "block2.1." not in k}
    save_file(state, tmp_path / "model.safetensors")
    config = {"depths": DEPTHS, "num_heads": HEADS, "strides": STRIDES}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnusableWeights, match="blocks a stage"):
        network_from_checkpoint(tmp_path)


def test_what_no_tensor_says_is_asked_for(tmp_path: Path) -> None:
    torch.save(_mmseg(), tmp_path / "segformer.pth")
    with pytest.raises(UnusableWeights, match="num_heads"):
        network_from_checkpoint(tmp_path / "segformer.pth")


def test_arguments_that_contradict_the_file_are_refused(tmp_path: Path) -> None:
    torch.save(_mmseg(), tmp_path / "segformer.pth")
    for overrides in ({"out_channels": 9}, {"width": 4}, {"roi_size": (20, 32)}):
        with pytest.raises(UnetrError):
            network_from_checkpoint(tmp_path / "segformer.pth", num_heads=HEADS, **overrides)
    with pytest.raises(InvalidRequest, match="spatial_dims 4"):
        network_from_checkpoint(tmp_path / "segformer.pth", num_heads=HEADS, spatial_dims=4)


def test_an_encoder_without_a_decode_head_is_no_network(tmp_path: Path) -> None:
    torch.save(renamed(authors_state(), ("^", "backbone.")), tmp_path / "mit.pth")
    with pytest.raises(UnusableWeights, match="no layout") as caught:
        network_from_checkpoint(tmp_path / "mit.pth")
    assert "encoder_from_checkpoint" in caught.value.cure
