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
    WIDTHS,
    State,
    assert_parity,
    authors_state,
    reference_maps,
    renamed,
)
from unetr_app.errors import UnusableWeights
from unetr_app.networks import encoder_from_checkpoint
from unetr_app.networks.pretrained.layouts import LAYOUTS, timm_pvt


def _timm(state: State) -> State:
    return renamed(
        state,
        (r"^patch_embed1\.", "patch_embed."),
        (r"^patch_embed(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.downsample."),
        (r"^block(\d)\.(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.blocks.{m[2]}."),
        (r"^norm(\d)\.", lambda m: f"stages.{int(m[1]) - 1}.norm."),
        (r"dwconv\.dwconv", "dwconv"),
    )


def _write(folder: Path, state: State, **changes: Any) -> Path:
    arguments = {
        "depths": DEPTHS, "embed_dims": WIDTHS, "num_heads": HEADS, "sr_ratios": RATIOS,
        "mlp_ratios": [2, 3, 4, 4],
    }  # fmt: skip
    save_file(state, folder / "model.safetensors")
    config = {"architecture": "pvt_v2", "model_args": arguments | changes}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_the_shared_fixture(shared: Path) -> None:
    folder = shared / "fixtures/encoders/timm_pvtv2"
    image = load_file(folder / "input.safetensors")["input"]
    expected = load_file(folder / "expected.safetensors")
    assert_parity(folder, image, [expected[f"stage{n}"] for n in range(4)])


@pytest.mark.parametrize("linear", [False, True])
@pytest.mark.parametrize("qkv_bias", [False, True])
def test_timms_names_give_its_features(linear: bool, qkv_bias: bool, tmp_path: Path) -> None:
    state = authors_state(linear=linear, qkv_bias=qkv_bias)
    image = torch.randn(1, 3, 32, 64)
    _write(tmp_path, _timm(state), linear=linear, qkv_bias=qkv_bias)
    assert_parity(tmp_path, image, reference_maps(state, image))


def test_timms_names_are_known_and_nobody_elses() -> None:
    names = _timm(authors_state()).keys()
    assert [layout for layout in LAYOUTS if layout.recognises(names)] == [timm_pvt]


def test_one_channel_gets_the_sum_of_three(tmp_path: Path) -> None:
    state = authors_state()
    _write(tmp_path, _timm(state))
    encoder, report = encoder_from_checkpoint(tmp_path, spatial_dims=2, in_channels=1)
    grey = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        maps = encoder(grey)
    expected = reference_maps(state, grey.repeat(1, 3, 1, 1))
    torch.testing.assert_close(maps[0], expected[0], atol=2e-5, rtol=0)
    assert report.of("inflated")[0].name == "stages.0.embed.weight"


def test_the_configuration_guards_against_lost_blocks(tmp_path: Path) -> None:
    state = {
        k: v for k, v in _timm(authors_state()).items() if not k.startswith("stages.1.blocks.1.")
    }
    _write(tmp_path, state)
    with pytest.raises(UnusableWeights, match=r"\(1, 1, 1, 1\) blocks a stage, and \(1, 2, 1, 1\)"):
        encoder_from_checkpoint(tmp_path)
    encoder, _ = encoder_from_checkpoint(tmp_path, spatial_dims=2, depths=(1, 1, 1, 1))
    assert [len(stage.blocks) for stage in encoder.stages] == [1, 1, 1, 1]  # pyright: ignore


def test_a_lost_stage_is_refused(tmp_path: Path) -> None:
    state = {k: v for k, v in _timm(authors_state()).items() if not k.startswith("stages.3.")}
    _write(tmp_path, state)
    with pytest.raises(UnusableWeights, match="blocks a stage"):
        encoder_from_checkpoint(tmp_path)


def test_strides_that_are_not_timms_are_asked_for(tmp_path: Path) -> None:
    state = _timm(authors_state())
    state["patch_embed.proj.weight"] = state["patch_embed.proj.weight"][..., 1:6, 1:6].clone()
    _write(tmp_path, state)
    with pytest.raises(UnusableWeights, match="patch_strides"):
        encoder_from_checkpoint(tmp_path)
    encoder, _ = encoder_from_checkpoint(tmp_path, spatial_dims=2, patch_strides=(2, 2, 2, 2))
    assert encoder.strides[-1] == (16, 16)  # pyright: ignore


def test_tensors_that_a_block_should_not_have_are_refused(tmp_path: Path) -> None:
    state = _timm(authors_state())
    state["stages.0.blocks.0.attn.bias_table"] = torch.zeros(3)
    _write(tmp_path, state)
    with pytest.raises(UnusableWeights, match="bias_table"):
        encoder_from_checkpoint(tmp_path)
