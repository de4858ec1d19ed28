from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.pyramid_files import (
    DEPTHS,
    HEADS,
    RATIOS,
    STRIDES,
    WIDTHS,
    State,
    assert_parity,
    authors_state,
    reference_maps,
    renamed,
    split_keys_and_values,
)
from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import LAYOUTS, hf_pvt


def _transformers(state: State) -> State:
    state = split_keys_and_values(state, "attn.kv.", ("attention.key.", "attention.value."))
    return renamed(
        state,
        (r"^head\.", "classifier."),
        (r"^patch_embed(\d)\.", lambda m: f"encoder.layers.{int(m[1]) - 1}.patch_embedding."),
        (r"^block(\d)\.(\d)\.", lambda m: f"encoder.layers.{int(m[1]) - 1}.blocks.{m[2]}."),
        (r"^norm(\d)\.", lambda m: f"encoder.layers.{int(m[1]) - 1}.layer_norm."),
        (r"patch_embedding\.norm\.", "patch_embedding.layer_norm."),
        (r"attn\.norm\.", "attention.layer_norm."),
        (r"attn\.sr\.", "attention.spatial_reduction."),
        (r"attn\.q\.", "attention.query."),
        (r"attn\.proj\.", "attention.proj."),
        (r"(blocks\.\d\.)norm(\d)", r"\1layer_norm_\2"),
        (r"mlp\.fc(\d)", r"mlp.dense\1"),
    )


def _config(**changes: Any) -> dict[str, Any]:
    return {
        "model_type": "pvt_v2", "depths": DEPTHS, "hidden_sizes": WIDTHS, "strides": STRIDES,
        "num_attention_heads": HEADS, "sr_ratios": RATIOS, "mlp_ratios": [2, 3, 4, 4],
        "patch_sizes": [7, 3, 3, 3], "num_encoder_blocks": 4, "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
    } | changes  # fmt: skip


def _write(folder: Path, state: State, **changes: Any) -> None:
    save_file({name: t.contiguous() for name, t in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(_config(**changes)))


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("prefix", ["", "pvt_v2."])
def test_its_names_give_its_features(linear: bool, prefix: str, tmp_path: Path) -> None:
    state = authors_state(linear=linear)
    theirs = {
        name if name.startswith("classifier") else prefix + name: tensor
        for name, tensor in _transformers(state).items()
    }
    _write(tmp_path, theirs, linear_attention=linear, layer_norm_eps=1e-3)
    image = torch.randn(1, 3, 32, 64)
    expected = reference_maps(state, image, norm_eps=1e-3, conv_norm_eps=1e-3)
    assert_parity(tmp_path, image, expected)


def test_its_names_are_known_and_nobody_elses() -> None:
    names = _transformers(authors_state()).keys()
    assert [layout for layout in LAYOUTS if layout.recognises(names)] == [hf_pvt]


def test_values_without_keys_are_refused(tmp_path: Path) -> None:
    state = _transformers(authors_state())
    del state["encoder.layers.1.blocks.0.attention.key.weight"]
    _write(tmp_path, state)
    with pytest.raises(UnusableWeights, match="needs 2 parts"):
        encoder_from_checkpoint(tmp_path)


def test_another_activation_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, _transformers(authors_state()), hidden_act="relu")
    with pytest.raises(UnusableWeights, match="'relu'"):
        encoder_from_checkpoint(tmp_path)


@pytest.mark.parametrize("linear", [False, True])
def test_transformers_itself(linear: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    config = transformers.PvtV2Config(
        depths=[2, 1, 1], hidden_sizes=[6, 8, 12], num_attention_heads=[1, 2, 3],
        sr_ratios=[4, 2, 1], strides=[4, 2, 1], patch_sizes=[7, 3, 3], mlp_ratios=[2, 2, 3],
        num_encoder_blocks=3, num_channels=4, linear_attention=linear,
    )  # fmt: skip
    reference = transformers.PvtV2Model(config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    reference.save_pretrained(tmp_path)
    image = torch.randn(1, 4, 32, 48)
    encoder, report = encoder_from_checkpoint(tmp_path, spatial_dims=2, in_channels=4)
    with torch.no_grad():
        expected = reference(image, output_hidden_states=True).hidden_states
        for ours, theirs in zip(encoder(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert report.coverage == 1
