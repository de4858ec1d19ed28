from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

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
from unetr_app.networks.pretrained.layouts import LAYOUTS, hf_segformer


def _on_disk(state: State) -> State:
    state = split_keys_and_values(
        state, "attn.kv.", ("attention.self.key.", "attention.self.value.")
    )
    return renamed(
        state,
        (r"^head\.", "classifier."),
        (r"^patch_embed(\d)\.", lambda m: f"encoder.patch_embeddings.{int(m[1]) - 1}."),
        (r"^block(\d)\.(\d)\.", lambda m: f"encoder.block.{int(m[1]) - 1}.{m[2]}."),
        (r"^norm(\d)\.", lambda m: f"encoder.layer_norm.{int(m[1]) - 1}."),
        (r"(patch_embeddings\.\d\.)norm\.", r"\1layer_norm."),
        (r"attn\.norm\.", "attention.self.layer_norm."),
        (r"attn\.sr\.", "attention.self.sr."),
        (r"attn\.q\.", "attention.self.query."),
        (r"attn\.proj\.", "attention.output.dense."),
        (r"(block\.\d\.\d\.)norm(\d)", r"\1layer_norm_\2"),
        (r"mlp\.fc(\d)", r"mlp.dense\1"),
    )


def _in_memory(state: State) -> State:
    return renamed(
        _on_disk(state),
        (r"encoder\.patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
        (r"encoder\.block\.(\d+)\.", r"stages.\1.blocks."),
        (r"encoder\.layer_norm\.(\d+)", r"stages.\1.layer_norm"),
        (r"self\.(q|k|v)(?:uery|ey|alue)\.", r"\1_proj."),
        (r"self\.sr\.", "sequence_reduction.sequence_reduction."),
        (r"self\.layer_norm\.", "sequence_reduction.layer_norm."),
        (r"output\.dense\.", "o_proj."),
        (r"mlp\.dense", "mlp.fc"),
        (r"layer_norm_1", "layernorm_before"),
        (r"layer_norm_2", "layernorm_after"),
    )


def _write(folder: Path, state: State, **changes: Any) -> None:
    config = {
        "model_type": "segformer", "depths": DEPTHS, "hidden_sizes": WIDTHS, "strides": STRIDES,
        "num_attention_heads": HEADS, "sr_ratios": RATIOS, "mlp_ratios": [2, 3, 4, 4],
        "patch_sizes": [7, 3, 3, 3], "num_encoder_blocks": 4, "hidden_act": "gelu",
        "layer_norm_eps": 0.1,
    }  # fmt: skip
    save_file({name: t.contiguous() for name, t in state.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | changes))


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/hf_segformer"
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")
    assert_parity(folder, image, [expected[f"stage{n}"] for n in range(4)])


@pytest.mark.parametrize("names", [_on_disk, _in_memory])
@pytest.mark.parametrize("prefix", ["", "segformer.", "model.segformer."])
def test_its_names_give_its_features_with_the_epsilon_that_it_uses(
    names: Any, prefix: str, tmp_path: Path
) -> None:
    state = authors_state()
    theirs = {
        name if name.startswith("classifier") else prefix + name: tensor
        for name, tensor in names(state).items()
    }
    _write(tmp_path, theirs)
    image = torch.randn(1, 3, 32, 64)
    assert_parity(tmp_path, image, reference_maps(state, image, norm_eps=1e-5))


@pytest.mark.parametrize("names", [_on_disk, _in_memory])
def test_its_names_are_known_and_nobody_elses(names: Any) -> None:
    keys = names(authors_state()).keys()
    assert [layout for layout in LAYOUTS if layout.recognises(keys)] == [hf_segformer]


def test_the_configuration_guards_against_lost_blocks(tmp_path: Path) -> None:
    state = _on_disk(authors_state())
    _write(tmp_path, {k: v for k, v in state.items() if ".block.1.1." not in k})
    with pytest.raises(UnusableWeights, match=r"\(1, 1, 1, 1\) blocks a stage, and \(1, 2, 1, 1\)"):
        encoder_from_checkpoint(tmp_path)


def test_what_no_tensor_says_is_asked_for(tmp_path: Path) -> None:
    save_file(_contiguous(_on_disk(authors_state())), tmp_path / "model.safetensors")
    with pytest.raises(UnusableWeights, match="num_heads"):
        encoder_from_checkpoint(tmp_path)


def _contiguous(state: State) -> State:
    return {name: tensor.contiguous() for name, tensor in state.items()}


@pytest.mark.parametrize("kind", ["SegformerModel", "SegformerForImageClassification"])
@pytest.mark.parametrize("on_disk", [True, False])
def test_transformers_itself(kind: str, on_disk: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    heads, strides = [1, 2, 3], [2, 2, 1]
    config = transformers.SegformerConfig(
        depths=[2, 1, 1], hidden_sizes=[6, 8, 12], num_attention_heads=heads, sr_ratios=[4, 2, 1],
        strides=strides, patch_sizes=[5, 3, 3], mlp_ratios=[2, 2, 3], num_encoder_blocks=3,
        num_channels=4,
    )  # fmt: skip
    reference = getattr(transformers, kind)(config).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    path, given = tmp_path, {}
    if on_disk:
        reference.save_pretrained(tmp_path)
    else:
        path, given = tmp_path / "model.pt", {"num_heads": heads, "patch_strides": strides}
        torch.save(reference.state_dict(), path)
    image = torch.randn(1, 4, 32, 48)
    encoder, report = encoder_from_checkpoint(path, spatial_dims=2, in_channels=4, **given)
    bare = getattr(reference, "segformer", reference)
    with torch.no_grad():
        expected = bare(image, output_hidden_states=True).hidden_states
        for ours, theirs in zip(encoder(image), expected, strict=True):
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)
    assert report.coverage == 1
