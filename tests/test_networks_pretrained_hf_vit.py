from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.vit_reference import (
    HEADS,
    WIDTH,
    State,
    require_parity,
    vit_features,
    vit_state,
    write_checkpoint,
)
from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import hf_vit

_TOKENS = {
    "cls_token": "embeddings.cls_token", "dist_token": "embeddings.distillation_token",
    "register_tokens": "embeddings.register_tokens", "pos_embed": "embeddings.position_embeddings",
}  # fmt: skip
_SHARED = (
    (r"patch_embed\.proj", "embeddings.patch_embeddings.projection"),
    (r"head", "classifier"),
    (r"norm\.", "layernorm."),
)
_VIT = (
    (r"norm1", "layernorm_before"), (r"norm2", "layernorm_after"),
    (r"attn\.proj", "attention.output.dense"), (r"mlp\.fc1", "intermediate.dense"),
    (r"mlp\.fc2", "output.dense"),
)  # fmt: skip
_DINOV2 = ((r"attn\.proj", "attention.output.dense"), (r"ls(\d)\.gamma", r"layer_scale\1.lambda1"))
_IN_MEMORY = ((r"attn\.proj", "attention.o_proj"), (r"ls(\d)\.gamma", r"layer_scale\1.lambda1"))


def _renamed(state: State, kind: str) -> State:
    """timm's tensors under transformers' names: ``vit``, ``dinov2`` or as they are in memory."""
    block = {"vit": "encoder.layer", "dinov2": "encoder.layer", "memory": "layers"}[kind]
    inner = {"vit": _VIT, "dinov2": _DINOV2, "memory": _IN_MEMORY}[kind]
    parts = ("q_proj", "k_proj", "v_proj") if kind == "memory" else ("query", "key", "value")
    middle = "attention." if kind == "memory" else "attention.attention."
    found: State = {}
    for name, tensor in state.items():
        if name in _TOKENS:
            found[_TOKENS[name]] = tensor
            continue
        theirs = re.sub(r"^blocks", block, name)
        for old, new in inner if theirs.startswith(block) else _SHARED:
            theirs = re.sub(old, new, theirs)
        if "attn.qkv" in theirs:
            for part, piece in zip(parts, tensor.chunk(3), strict=True):
                found[theirs.replace("attn.qkv", middle + part)] = piece
        else:
            found[theirs] = tensor
    return found


def _config(eps: float = 1e-12, **said: Any) -> dict[str, Any]:
    sizes = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": 2}
    return {**sizes, "layer_norm_eps": eps, "hidden_act": "gelu", **said}


def _image(size: tuple[int, int] = (12, 12), channels: int = 3) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["hf_vit", "hf_dinov2"])
def test_the_shared_fixtures(name: str, shared: Path) -> None:
    folder = shared / "fixtures/encoders" / name
    image = load_file(folder / "input.safetensors")["input"]
    require_parity(folder, image, load_file(folder / "expected.safetensors")["final"])


VARIANTS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "vit": ("vit", {}, {}),
    "vit in memory": ("memory", {}, {}),
    "deit": ("vit", {"prefix": {"cls_token": 1, "dist_token": 1}}, {}),
    "no class token": ("vit", {"prefix": {}}, {}),
    "dinov2": ("dinov2", {"scaled": True}, {"eps": 1e-6}),
    "dinov2 in memory": ("memory", {"scaled": True}, {"eps": 1e-6}),
    "registers": (
        "dinov2",
        {"prefix": {"cls_token": 1, "register_tokens": 3}, "placed": 1, "scaled": True},
        {"eps": 1e-6, "num_register_tokens": 3},
    ),
    "no bias of queries": ("vit", {"qkv_bias": False}, {"qkv_bias": False}),
    "not square": ("vit", {"grid": (2, 5)}, {"image_size": [8, 20]}),
    "nor the patch": ("dinov2", {"grid": (4, 2), "patch": (3, 5)}, {"image_size": [12, 10]}),
    "grey": ("vit", {"channels": 1}, {"num_channels": 1}),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("prefix", ["", "vit.", "model.dinov2_with_registers."])
def test_every_variant_gives_the_references_features(
    variant: str, prefix: str, tmp_path: Path
) -> None:
    kind, options, said = VARIANTS[variant]
    state, config = vit_state(**options), _config(**said)
    patch, grid = options.get("patch", (4, 4)), options.get("grid", (3, 3))
    image = _image((grid[0] * patch[0], grid[1] * patch[1]), options.get("channels", 3))
    named = {
        name if name.startswith("classifier") else prefix + name: tensor
        for name, tensor in _renamed(state, kind).items()
    }
    expected = vit_features(state, image, eps=config["layer_norm_eps"])
    require_parity(write_checkpoint(tmp_path, named, config), image, expected)


@pytest.mark.parametrize("eps", [1e-12, 1e-6, 1e-2])
def test_the_epsilon_of_norms_is_said_by_the_configuration_alone(
    eps: float, tmp_path: Path
) -> None:
    state, image = vit_state(), _image()
    for n in range(2):
        state[f"blocks.{n}.norm1.weight"] *= 3
    expected = vit_features(state, image, eps=eps)
    folder = write_checkpoint(tmp_path / "said", _renamed(state, "vit"), _config(eps))
    require_parity(folder, image, expected)
    bare = write_checkpoint(tmp_path / "bare", _renamed(state, "vit"))
    require_parity(bare, image, expected, num_heads=HEADS, norm_eps=eps)


def test_without_a_configuration_the_epsilon_is_the_usual_one_of_the_kind(tmp_path: Path) -> None:
    for kind, scaled, eps in (("vit", False, 1e-12), ("dinov2", True, 1e-6)):
        folder = write_checkpoint(tmp_path / kind, _renamed(vit_state(scaled=scaled), kind))
        encoder, _ = encoder_from_checkpoint(folder, num_heads=HEADS)
        assert encoder.get_submodule("norm").eps == eps


@pytest.mark.parametrize(
    ("said", "approximate"),
    [("gelu", "none"), ("gelu_new", "tanh"), ("gelu_pytorch_tanh", "tanh")],
)
def test_the_activations_that_there_are(said: str, approximate: str, tmp_path: Path) -> None:
    state, image = vit_state(), _image()
    for n in range(2):
        state[f"blocks.{n}.mlp.fc1.weight"] *= 3
    folder = write_checkpoint(tmp_path, _renamed(state, "vit"), _config(hidden_act=said))
    require_parity(folder, image, vit_features(state, image, eps=1e-12, approximate=approximate))


def test_a_gated_feed_forward_joined_and_in_parts(tmp_path: Path) -> None:
    state, image = vit_state(gated=True, scaled=True), _image()
    expected = vit_features(state, image)
    config = _config(1e-6, use_swiglu_ffn=True, hidden_act="silu")
    whole = _renamed(state, "dinov2")
    joined = {
        k.replace("fc1", "weights_in").replace("fc2", "weights_out"): v for k, v in whole.items()
    }
    require_parity(write_checkpoint(tmp_path / "joined", joined, config), image, expected)
    apart: State = {}
    for name, tensor in whole.items():
        if "fc1" in name:
            gate, up = tensor.chunk(2)
            apart[name.replace("fc1", "gate_proj")] = gate
            apart[name.replace("fc1", "up_proj")] = up
        else:
            apart[name.replace("fc2", "down_proj")] = tensor
    require_parity(write_checkpoint(tmp_path / "apart", apart, config), image, expected)


def test_the_normalisation_stands_in_a_file_of_its_own(tmp_path: Path) -> None:
    state = vit_state()
    folder = write_checkpoint(tmp_path, _renamed(state, "vit"), _config())
    said = {"do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    encoder, report = encoder_from_checkpoint(folder, spatial_dims=2)
    assert "0 to 1" in report.input_note
    grey = torch.rand(1, 1, 12, 12)
    expected = vit_features(state, ((grey - 0.5) / 0.25).expand(-1, 3, -1, -1), eps=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(encoder(grey)[-1], expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("change", "said", "what"),
    [
        ({}, {"hidden_act": "relu"}, "activation is 'relu'"),
        ({}, {"num_hidden_layers": 3}, "holds 2 blocks, and 3 belong"),
        ({}, {"num_register_tokens": 4}, "0 register tokens, and 4 belong"),
        ({"encoder.layer.0.lambda_1": torch.ones(WIDTH)}, {}, "lambda_1"),
        ({"embeddings.detection_tokens": torch.ones(1, 5, WIDTH)}, {}, "detection_tokens"),
        ({"encoder.mid_position_embeddings": torch.ones(1)}, {}, "mid_position_embeddings"),
        ({"encoder.layer.0.attention.attention.key.bias": None}, {}, "needs 3 parts"),
        ({"encoder.layer.0.output.dense.weight": None}, {}, "contract.weight' is missing"),
        ({"embeddings.cls_token": None}, {}, "10 tokens lie along 2 axes"),
    ],
)
def test_what_is_not_whole_or_computes_something_else_is_refused(
    change: dict[str, Tensor | None], said: dict[str, Any], what: str, tmp_path: Path
) -> None:
    state = {**_renamed(vit_state(), "vit"), **change}
    kept = {name: tensor for name, tensor in state.items() if tensor is not None}
    folder = write_checkpoint(tmp_path, kept, _config(**said))
    with pytest.raises(UnusableWeights, match=what):
        encoder_from_checkpoint(folder)


@pytest.mark.parametrize(
    "gone",
    ["layernorm.weight", "layernorm.bias", "encoder.layer.0.layer_scale1.lambda1"],
)
def test_one_tensor_that_is_gone_is_missed_and_changes_no_option(gone: str, tmp_path: Path) -> None:
    state = _renamed(vit_state(scaled=True), "dinov2")
    del state[gone]
    folder = write_checkpoint(tmp_path, state, _config())
    with pytest.raises(UnusableWeights, match="the file lacks"):
        encoder_from_checkpoint(folder)
    encoder, report = encoder_from_checkpoint(folder, minimum_coverage=0.9)
    assert len(report.of("missing")) == 1
    assert {"norm.weight", "blocks.0.scale1.gamma"} <= set(encoder.state_dict())


def test_heads_that_nothing_says_are_asked_for(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, _renamed(vit_state(), "vit"), {"hidden_size": WIDTH})
    with pytest.raises(UnusableWeights, match="what num_heads is"):
        encoder_from_checkpoint(folder)


def test_relatives_are_not_taken_for_it() -> None:
    names = set(_renamed(vit_state(), "vit"))
    assert hf_vit.recognises(names)
    assert hf_vit.recognises({f"vit.{name}" for name in names})
    assert not hf_vit.recognises(names | {"encoder.layer.0.temporal_dense.weight"})
    assert not hf_vit.recognises(names | {"embeddings.time_embeddings"})
    assert not hf_vit.recognises(names - {"embeddings.position_embeddings"})


MODELS: dict[str, tuple[dict[str, Any], int]] = {
    "ViTModel": ({"intermediate_size": 40}, 1),
    "ViTForImageClassification": ({"intermediate_size": 40, "num_labels": 5}, 1),
    "ViTForMaskedImageModeling": ({"intermediate_size": 40, "encoder_stride": 4}, 1),
    "DeiTForImageClassificationWithTeacher": ({"intermediate_size": 40}, 2),
    "Dinov2Model": ({"mlp_ratio": 2}, 1),
    "Dinov2ForImageClassification": ({"use_swiglu_ffn": True}, 1),
    "Dinov2WithRegistersModel": ({"num_register_tokens": 3}, 4),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("saved", ["on disk", "in memory"])
@pytest.mark.parametrize("image_size", [12, (8, 20)])
def test_models_of_the_installed_transformers(
    name: str, saved: str, image_size: Any, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    said, before = MODELS[name]
    kind: Any = getattr(transformers, name)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": HEADS}
    if "Dinov2" in name and not isinstance(image_size, int):
        image_size = 12  # its positions are square
    torch.manual_seed(0)
    model = kind(kind.config_class(**sizes, image_size=image_size, patch_size=4, **said)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    size = (image_size,) * 2 if isinstance(image_size, int) else image_size
    image = _image(size)
    with torch.no_grad():
        tokens = model.base_model(image).last_hidden_state[:, before:]
    if saved == "on disk":
        model.save_pretrained(tmp_path)
    else:
        model.config.save_pretrained(tmp_path)
        state = {k: v.contiguous().clone() for k, v in model.state_dict().items()}
        save_file(state, tmp_path / "model.safetensors")
    require_parity(tmp_path, image, tokens.mT.reshape(2, WIDTH, size[0] // 4, size[1] // 4))


def test_inputs_of_another_size_as_transformers_dinov2_takes_them(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=HEADS, image_size=20,
        patch_size=4,
    )  # fmt: skip
    model = transformers.Dinov2Model(config).eval()
    torch.nn.init.normal_(model.embeddings.position_embeddings)
    model.save_pretrained(tmp_path)
    encoder, _ = encoder_from_checkpoint(tmp_path, spatial_dims=2, in_channels=3)
    for size in ((12, 32), (36, 8)):
        image = _image(size)
        with torch.no_grad():
            tokens = model(image).last_hidden_state[:, 1:]
            found = encoder(image)[-1]
        expected = tokens.mT.reshape(found.shape)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        require_parity(tmp_path, image, expected)
