from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from unetr_app.errors import UnetrError, UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_convmixer

State = dict[str, Tensor]


def _state(
    kernel: int = 3, patch: tuple[int, int] = (4, 4), *, blocks: int = 2, width: int = 6
) -> State:
    """Random tensors under timm's names."""
    torch.manual_seed(0)
    convolutions = {"stem.0": (width, 3, *patch)}
    norms = ["stem.2"]
    for n in range(blocks):
        convolutions[f"blocks.{n}.0.fn.0"] = (width, 1, kernel, kernel)
        convolutions[f"blocks.{n}.1"] = (width, width, 1, 1)
        norms += [f"blocks.{n}.0.fn.2", f"blocks.{n}.3"]
    state = {"head.weight": torch.randn(7, width), "head.bias": torch.randn(7)}
    for name, shape in convolutions.items():
        state |= {f"{name}.weight": torch.randn(shape) / 3, f"{name}.bias": torch.randn(width)}
    for name in norms:
        state |= {f"{name}.{leaf}": torch.randn(width) for leaf in ("weight", "bias")}
        state[f"{name}.running_mean"] = torch.randn(width)
        state[f"{name}.running_var"] = torch.rand(width) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(11)
    return state


def _reference(state: State, image: Tensor, activation: Any = functional.gelu) -> Tensor:
    """The last map, written out over timm's tensors."""

    def norm(x: Tensor, name: str) -> Tensor:
        leaves = ("running_mean", "running_var", "weight", "bias")
        return functional.batch_norm(x, *(state[f"{name}.{leaf}"] for leaf in leaves))

    def convolution(x: Tensor, name: str, **options: Any) -> Tensor:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        return activation(functional.conv2d(x, weight, bias, **options))

    stride = tuple(state["stem.0.weight"].shape[2:])
    x = norm(convolution(image, "stem.0", stride=stride), "stem.2")
    kernel = state["blocks.0.0.fn.0.weight"].shape[2]
    for n in range(sum(name.endswith(".fn.0.weight") for name in state)):
        before, after = (kernel - 1) // 2, kernel // 2
        padded = functional.pad(x, (before, after, before, after))
        spatial = convolution(padded, f"blocks.{n}.0.fn.0", groups=x.shape[1])
        x = x + norm(spatial, f"blocks.{n}.0.fn.2")
        x = norm(convolution(x, f"blocks.{n}.1"), f"blocks.{n}.3")
    return x


def _assert_parity(path: Path, image: Tensor, expected: Tensor, **overrides: Any) -> None:
    """In two dimensions, and on volumes that are constant along depth in three."""
    channels = image.shape[1]
    encoder, report = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=channels, **overrides
    )
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[-1], expected, atol=2e-5, rtol=0)
    assert report.coverage == 1
    for slices, thickness in ((1, 4), (3, 4), (4, 2)):
        patch = (thickness, *encoder.strides[0])
        deep, report = encoder_from_checkpoint(
            path, in_channels=channels, patch_size=patch, **overrides
        )
        assert report.coverage == 1
        volume = image.unsqueeze(2).repeat(1, 1, slices * thickness, 1, 1)
        with torch.no_grad():
            features = deep(volume)[-1]
        wanted = expected.unsqueeze(2).expand(-1, -1, slices, -1, -1)
        torch.testing.assert_close(features, wanted, atol=2e-5, rtol=0)


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/timm_convmixer"
    image = load_file(folder / "input.safetensors")["input"]
    _assert_parity(folder, image, load_file(folder / "expected.safetensors")["final"])


@pytest.mark.parametrize(
    "options",
    [{}, {"kernel": 7, "blocks": 1}, {"kernel": 4}, {"patch": (2, 7)}, {"kernel": 1, "blocks": 3}],
)
def test_any_configuration_gives_the_references_features(
    options: dict[str, Any], tmp_path: Path
) -> None:
    state = _state(**options)
    save_file(state, tmp_path / "convmixer.safetensors")
    patch = options.get("patch", (4, 4))
    image = torch.randn(2, 3, 5 * patch[0], 3 * patch[1])
    _assert_parity(tmp_path / "convmixer.safetensors", image, _reference(state, image))


@pytest.mark.parametrize("said", ["relu", "ReLU", "torch.nn.ReLU"])
def test_the_configuration_says_the_activation(said: str, tmp_path: Path) -> None:
    state = _state()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"act_layer": said}}))
    image = torch.randn(2, 3, 12, 16)
    _assert_parity(tmp_path, image, _reference(state, image, functional.relu))


def test_the_caller_knows_better_than_the_configuration(tmp_path: Path) -> None:
    state = _state()
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"act_layer": "gelu"}}))
    image = torch.randn(2, 3, 12, 16)
    expected = _reference(state, image, functional.relu)
    _assert_parity(tmp_path, image, expected, activation="relu")


def test_an_activation_that_we_have_not_is_refused(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"act_layer": "mish"}}))
    with pytest.raises(UnetrError, match="no activation 'mish'"):
        encoder_from_checkpoint(tmp_path)


def test_the_published_size_with_relu_is_known_by_its_tensors(tmp_path: Path) -> None:
    state = _state(kernel=7, patch=(7, 7), blocks=32, width=768)
    state = {name: torch.zeros(()).expand(t.shape).clone() for name, t in state.items()}
    torch.save(state, tmp_path / "model.pth")
    encoder, _ = encoder_from_checkpoint(tmp_path / "model.pth", spatial_dims=2, in_channels=3)
    assert isinstance(encoder.get_submodule("activation"), torch.nn.ReLU)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_wrapped_checkpoints_are_unwrapped(prefix: str, tmp_path: Path) -> None:
    state = _state()
    torch.save({"model": {prefix + k: v for k, v in state.items()}}, tmp_path / "convmixer.pth")
    image = torch.randn(1, 3, 12, 12)
    _assert_parity(tmp_path / "convmixer.pth", image, _reference(state, image))


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("blocks.1.", "holds 3 blocks but not number 1"),
        ("stem.0", "stem.0.weight"),
        ("blocks.2.", "holds 2 blocks, and 3 belong"),
    ],
)
def test_files_that_are_not_whole_are_refused(part: str, what: str, tmp_path: Path) -> None:
    state = {k: v for k, v in _state(blocks=3).items() if not k.startswith(part)}
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"depth": 3}}))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(tmp_path)


def test_a_published_name_tells_how_many_blocks_there_are(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "convmixer_1024_20_ks9_p14.safetensors")
    with pytest.raises(UnusableWeights, match="2 blocks, and 20 belong"):
        encoder_from_checkpoint(tmp_path / "convmixer_1024_20_ks9_p14.safetensors")


def test_other_families_are_not_taken_for_it() -> None:
    assert timm_convmixer.recognises(_state())
    assert not timm_convmixer.recognises({"stem.0.weight", "blocks.0.0.weight", "stages.0.fn.0"})
