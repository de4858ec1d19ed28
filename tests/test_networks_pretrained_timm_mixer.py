from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import timm_mixer

State = dict[str, Tensor]


def _state(
    grid: tuple[int, int] = (3, 3), patch: tuple[int, int] = (4, 4), *, blocks: int = 2,
    gated: bool = False, stem_norm: bool = False,
) -> State:  # fmt: skip
    """Random tensors under timm's names: 12 channels, 5 and 20 hidden values."""
    torch.manual_seed(0)
    tokens, rows = grid[0] * grid[1], 2 if gated else 1
    shapes: dict[str, tuple[int, ...]] = {
        "stem.proj.weight": (12, 3, *patch),
        "head.weight": (7, 12),
    }
    if stem_norm:
        shapes["stem.norm.weight"] = (12,)
    for n in range(blocks):
        shapes |= {
            f"blocks.{n}.norm1.weight": (12,),
            f"blocks.{n}.mlp_tokens.fc1.weight": (5 * rows, tokens),
            f"blocks.{n}.mlp_tokens.fc2.weight": (tokens, 5),
            f"blocks.{n}.norm2.weight": (12,),
            f"blocks.{n}.mlp_channels.fc1.weight": (20 * rows, 12),
            f"blocks.{n}.mlp_channels.fc2.weight": (12, 20),
        }
    shapes["norm.weight"] = (12,)
    state = {name: 0.3 * torch.randn(shape) for name, shape in shapes.items()}
    biases = {
        name.replace("weight", "bias"): 0.3 * torch.randn(len(w)) for name, w in state.items()
    }
    return state | biases


def _reference(state: State, image: Tensor) -> Tensor:
    """The last map, written out over timm's tensors."""

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return functional.layer_norm(x, (12,), state[f"{name}.weight"], state[f"{name}.bias"], 1e-6)

    def perceptron(x: Tensor, name: str) -> Tensor:
        hidden = linear(x, f"{name}.fc1")
        if hidden.shape[-1] == 2 * state[f"{name}.fc2.weight"].shape[1]:
            through, gates = hidden.chunk(2, dim=-1)
            return linear(through * functional.silu(gates), f"{name}.fc2")
        return linear(functional.gelu(hidden), f"{name}.fc2")

    kernel = state["stem.proj.weight"]
    embedded = functional.conv2d(
        image, kernel, state["stem.proj.bias"], stride=tuple(kernel.shape[2:])
    )
    x = embedded.flatten(2).mT
    if "stem.norm.weight" in state:
        x = norm(x, "stem.norm")
    for n in range(sum(name.endswith(".norm1.weight") for name in state)):
        x = x + perceptron(norm(x, f"blocks.{n}.norm1").mT, f"blocks.{n}.mlp_tokens").mT
        x = x + perceptron(norm(x, f"blocks.{n}.norm2"), f"blocks.{n}.mlp_channels")
    return norm(x, "norm").mT.reshape(embedded.shape)


def _assert_parity(path: Path, image: Tensor, expected: Tensor, **overrides: Any) -> None:
    """In two dimensions, and on volumes that are constant along depth in three."""
    channels, size = image.shape[1], tuple(image.shape[2:])
    encoder, report = encoder_from_checkpoint(
        path, spatial_dims=2, in_channels=channels, roi_size=size, **overrides
    )
    with torch.no_grad():
        torch.testing.assert_close(encoder(image)[-1], expected, atol=2e-5, rtol=0)
    assert report.coverage == 1
    for slices, thickness in ((1, 4), (3, 4), (4, 2)):
        patch = (thickness, *encoder.strides[0])
        deep, report = encoder_from_checkpoint(
            path, in_channels=channels, roi_size=(slices * thickness, *size), patch_size=patch,
            **overrides,
        )  # fmt: skip
        assert report.coverage == 1
        volume = image.unsqueeze(2).repeat(1, 1, slices * thickness, 1, 1)
        with torch.no_grad():
            features = deep(volume)[-1]
        wanted = expected.unsqueeze(2).expand(-1, -1, slices, -1, -1)
        torch.testing.assert_close(features, wanted, atol=5e-5, rtol=0)


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/timm_mixer"
    image = load_file(folder / "input.safetensors")["input"]
    _assert_parity(folder, image, load_file(folder / "expected.safetensors")["final"])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gated": True},
        {"stem_norm": True, "blocks": 1},
        {"grid": (2, 4), "patch": (8, 4)},
        {"grid": (5, 2), "gated": True},
    ],
)
def test_any_configuration_gives_the_references_features(
    options: dict[str, Any], tmp_path: Path
) -> None:
    state = _state(**options)
    grid, patch = options.get("grid", (3, 3)), options.get("patch", (4, 4))
    size = (grid[0] * patch[0], grid[1] * patch[1])
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"img_size": size}}))
    image = torch.randn(2, 3, *size)
    _assert_parity(tmp_path, image, _reference(state, image))


def test_the_input_shape_of_images_that_are_not_square_is_asked_for(tmp_path: Path) -> None:
    state = _state((2, 5))
    save_file(state, tmp_path / "mixer.safetensors")
    with pytest.raises(UnusableWeights, match="10 tokens lie along 2 axes") as caught:
        encoder_from_checkpoint(tmp_path / "mixer.safetensors", spatial_dims=2, in_channels=3)
    assert "image_size" in caught.value.cure
    image = torch.randn(1, 3, 8, 20)
    _assert_parity(
        tmp_path / "mixer.safetensors", image, _reference(state, image), image_size=(8, 20)
    )


def test_another_roi_resizes_the_token_mixing(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "mixer.safetensors")
    encoder, report = encoder_from_checkpoint(
        tmp_path / "mixer.safetensors", roi_size=(8, 16, 24), taps=[1, 2]
    )
    assert [m.shape for m in encoder(torch.zeros(1, 1, 8, 16, 24))] == [(1, 12, 2, 4, 6)] * 2
    assert report.coverage == 1
    assert {r.name for r in report.of("inflated")} >= {
        "blocks.0.token_mixing.expand.weight", "blocks.1.token_mixing.contract.bias",
    }  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.model."])
def test_wrapped_checkpoints_are_unwrapped(prefix: str, tmp_path: Path) -> None:
    state = _state()
    torch.save({"state_dict": {prefix + k: v for k, v in state.items()}}, tmp_path / "mixer.pth")
    image = torch.randn(1, 3, 12, 12)
    _assert_parity(tmp_path / "mixer.pth", image, _reference(state, image))


def _without(state: State, part: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(part)}


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("blocks.0", "missing"),
        ("blocks.1.", "holds 3 blocks but not number 1"),
        ("stem.", "stem.proj.weight"),
        ("blocks.2.", "holds 2 blocks, and 3 belong"),
    ],
)
def test_files_that_are_not_whole_are_refused(part: str, what: str, tmp_path: Path) -> None:
    save_file(_without(_state(blocks=3), part), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_args": {"num_blocks": 3}}))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(tmp_path)


def test_a_published_name_tells_how_many_blocks_there_are(tmp_path: Path) -> None:
    save_file(_state(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "mixer_b16_224"}))
    with pytest.raises(UnusableWeights, match="2 blocks, and 12 belong") as caught:
        encoder_from_checkpoint(tmp_path)
    assert "depth=" in caught.value.cure
    encoder, _ = encoder_from_checkpoint(tmp_path, depth=1)
    assert len(encoder.get_submodule("blocks")._modules) == 1


def test_blocks_for_another_grid_are_refused_by_name(tmp_path: Path) -> None:
    state = _state() | {"blocks.1.mlp_tokens.fc1.weight": torch.zeros(5, 16)}
    save_file(state, tmp_path / "mixer.safetensors")
    with pytest.raises(UnusableWeights, match=r"blocks.1.token_mixing.expand.weight is 5 x 16"):
        encoder_from_checkpoint(tmp_path / "mixer.safetensors")


def test_relatives_with_other_blocks_are_not_taken_for_it() -> None:
    assert timm_mixer.recognises(_state())
    for name in ("blocks.0.linear_tokens.weight", "blocks.0.mlp_channels.gate.proj.weight"):
        assert not timm_mixer.recognises({"stem.proj.weight", name})
